// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading swapksm on a running machine.

use std::ffi::CStr;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::common::{frames_become, joins, merged_crowd, same};
use super::prctl;
use super::stress;
use super::swapping::Crowd;
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::coverage;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "takeover/load_and_unload",
        "load takes over, unload gives back, stock KSM works again",
        load_unload,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/adopts",
        "processes that were mergeable before are merged after loading",
        adopts,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/adopts_from_full_group",
        "nobody is killed when processes are taken over whose control group has no room left",
        adopts_from_full_group,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/refuses_when_busy",
        "insmod is refused with one clear line while stock KSM has pages",
        refuses,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/unload_while_merged",
        "unloading with merged pages: contents and copies stay right",
        unload_merged,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/unload_while_out",
        "loading and unloading while merged pages are in swap",
        unload_swapped,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/load_twice",
        "a second load and a second unload fail with a clear message",
        twice,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/cycles",
        "50 times loaded and unloaded under a merge load",
        cycles,
    )
    .room(Room::Takeover)
    .seconds(1200),
];

/// There while the module is loaded.
pub const MODULE: &str = "/sys/module/swapksm";
/// There while it is in charge, or on its way there or back.
pub const PATCH: &str = "/sys/kernel/livepatch/swapksm";
/// What is loaded.
pub const FILE: &str = "swapksm.ko";
const PAGES: usize = 128;

/// Whether swapksm is loaded.
pub fn loaded() -> bool {
    Path::new(MODULE).exists()
}

/// Runs `./ksmctl` with `arguments`; its output when it fails.
pub fn ksmctl(arguments: &[&str]) -> Result<(), String> {
    let output = match Command::new("./ksmctl").args(arguments).output() {
        Ok(output) => output,
        Err(error) => return Err(format!("./ksmctl: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    Err(format!(
        "ksmctl {}: {}: {}",
        arguments.join(" "),
        output.status,
        text.trim()
    ))
}

/// Begins a case: not loaded, and the files to load are there.
pub fn begin() -> Outcome {
    for file in ["ksmctl", FILE] {
        if !Path::new(file).exists() {
            return skip(format!("{file} is not in the working directory"));
        }
    }
    if loaded() {
        unload().context("a case before this one left the module loaded")?;
    }
    Ok(())
}

/// Has `ksmctl` load swapksm.
pub fn load() -> Outcome {
    ksmctl(&["load", FILE]).or_else(fail)?;
    check!(loaded(), "ksmctl load succeeded, but there is no {MODULE}");
    Ok(())
}

/// Has `ksmctl` unload swapksm.
pub fn unload() -> Outcome {
    coverage::save()?;
    ksmctl(&["unload"]).or_else(fail)?;
    check!(
        !loaded(),
        "ksmctl unload succeeded, but {MODULE} is still there"
    );
    check!(!Path::new(PATCH).exists(), "the livepatch is still there");
    Ok(())
}

/// Whether whoever is at work merges, breaks and unmerges.
pub fn works(bench: &Bench, who: &str) -> Outcome {
    let mut sharers = merged_crowd(bench, 2, PAGES).context(who)?;
    sharers[0].write(3, 0x1_2345).context(who)?;
    sharer::verify(&mut sharers).context(who)?;
    bench.ksm.set("run", 2).context(who)?;
    frames_become(&sharers, 2 * PAGES).context(who)?;
    sharer::finish(sharers).context(who)
}

fn load_unload(bench: &Bench) -> Outcome {
    begin()?;
    works(bench, "stock KSM before")?;
    for round in 1..=2 {
        load()?;
        check!(bench.ksm.has("run"), "there is no file run after loading");
        works(bench, &format!("swapksm, round {round}"))?;
        unload()?;
        check!(bench.ksm.has("run"), "there is no file run after unloading");
        works(bench, &format!("stock KSM after unloading, round {round}"))?;
    }
    Ok(())
}

fn adopts(bench: &Bench) -> Outcome {
    begin()?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let mut by_prctl = Worker::start("process that asked by prctl", |steps| {
        prctl::merge_any(true)?;
        let region = Region::map(PAGES)?;
        region.fill(same);
        steps.step(region.addr() as u64)?;
        check!(prctl::is_on()?, "PR_GET_MEMORY_MERGE is 0 now");
        region.verify(same)
    })?;
    let addr = by_prctl.arrived()? as usize;
    let pid = by_prctl.pid();
    let together = |sharers: &[Sharer]| {
        joins(
            "the process that asked by prctl is merged with the others",
            &sharers[0],
            || pagemap::of(pid, addr, PAGES),
        )
    };
    together(&sharers).context("stock KSM before")?;
    load()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES).context("swapksm")?;
    together(&sharers).context("swapksm")?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    sharer::verify(&mut sharers)?;
    unload()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES).context("stock KSM after")?;
    together(&sharers).context("stock KSM after")?;
    by_prctl.finish()?;
    sharer::finish(sharers)?;
    bench.ksm.counter_becomes("pages_shared", 0)
}

/// Lines of the kernel log that name the module.
fn log_lines() -> Outcome<Vec<String>> {
    let output = Command::new("dmesg").output().context("dmesg")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .filter(|line| line.contains("swapksm: "))
        .map(str::to_owned)
        .collect())
}

fn adopts_from_full_group(bench: &Bench) -> Outcome {
    /// What is kept for them takes a page more than what each CPU may have left of a page that the group has paid for.
    const PROCESSES: usize = 120;
    const PAGES: usize = 4;
    begin()?;
    let group = Group::enter("full")?;
    group.set("memory.swap.max", 0)?;
    let mut sharers = Sharer::crowd(PROCESSES, PAGES, same)?;
    group.leave()?;
    group.close(0)?;
    group.drain()?;
    let paid = group.number("memory.current")?;
    load()?;
    // Not by its events: before 7.3 the kernel counts no charge that it refuses without having reclaimed.
    check!(
        group.number("memory.current")? <= paid,
        "the group had room: this case has not tested what it is for"
    );
    check_eq!(group.event("oom_kill")?, 0, "processes killed by loading");
    group.set("memory.max", "max")?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)?;
    unload()
}

fn refuses(bench: &Bench) -> Outcome {
    begin()?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let before = log_lines()?.len();
    let refused = insmod(FILE, c"");
    check_eq!(
        refused,
        Some(libc::EBUSY),
        "error of insmod while stock KSM has pages merged"
    );
    check!(!loaded(), "the module is there nevertheless");
    let lines = log_lines()?.split_off(before);
    check_eq!(lines.len(), 1, "lines in the kernel log ({lines:?})");
    check!(
        lines[0].contains("ksmctl load"),
        "the line does not say what to do: {}",
        lines[0]
    );
    sharer::verify(&mut sharers)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES).context("stock KSM goes on")?;
    sharer::finish(sharers)
}

/// Loads a module as insmod does, with `parameters`; its errno when refused.
pub fn insmod(file: &str, parameters: &CStr) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let file = match fs::File::open(file) {
        Ok(file) => file,
        Err(error) => return error.raw_os_error(),
    };
    let parameters = parameters.as_ptr() as usize;
    let arguments = [file.as_raw_fd() as usize, parameters, 0, 0, 0, 0];
    let result = crate::sys::syscall(libc::SYS_finit_module, arguments);
    result.err().and_then(|error| error.raw_os_error())
}

/// Removes a module that nothing uses, as rmmod does.
pub fn remove(module: &CStr) -> Outcome {
    let arguments = [module.as_ptr() as usize, 0, 0, 0, 0, 0];
    crate::sys::syscall(libc::SYS_delete_module, arguments)
        .context(format!("removing {module:?}"))
        .map(drop)
}

/// A module of the tests' own, there until it is dropped.
pub struct Helper(&'static CStr);

impl Helper {
    /// Loads `name`, whose file is in the working directory.
    pub fn load(name: &'static CStr, parameters: &CStr) -> Outcome<Helper> {
        let file = format!("{}.ko", name.to_string_lossy());
        match insmod(&file, parameters) {
            None => Ok(Helper(name)),
            Some(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                fail(format!("cannot load {file}: {error}"))
            }
        }
    }

    /// Sets a parameter of its.
    pub fn set(&self, parameter: &str, value: impl Display) -> Outcome {
        let path = format!(
            "/sys/module/{}/parameters/{parameter}",
            self.0.to_string_lossy()
        );
        fs::write(&path, value.to_string()).context(format!("writing {value} to {path}"))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = remove(self.0);
    }
}

fn unload_merged(bench: &Bench) -> Outcome {
    begin()?;
    load()?;
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    let child = sharers[1].fork()?;
    unload()?;
    let frames = sharer::frames(&sharers)?;
    let merged = pagemap::count_flag(&frames, FLAG_KSM)?;
    crate::runner::log(&format!(
        "{merged} of {} pages are still merged, without an owner; child {child}",
        frames.len()
    ));
    sharer::verify(&mut sharers)?;
    for index in 0..PAGES / 2 {
        sharers[0].write(index, 0x2_0000 + index as u64)?;
    }
    sharers[1].end_child()?;
    sharer::verify(&mut sharers)?;
    works(bench, "stock KSM after unloading")?;
    sharer::finish(sharers)
}

fn unload_swapped(bench: &Bench) -> Outcome {
    begin()?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    load().context("with stock KSM's pages in swap")?;
    crowd.verify()?;
    bench.ksm.start()?;
    frames_become(&crowd.sharers, PAGES)?;
    crowd.push_out()?;
    unload().context("with swapksm's pages in swap")?;
    crowd.verify()?;
    for index in 0..PAGES {
        crowd.sharers[index % 3].write(index, 0x3_0000 + index as u64)?;
    }
    crowd.verify()?;
    crowd.finish()
}

fn twice(_: &Bench) -> Outcome {
    begin()?;
    load()?;
    check!(ksmctl(&["load", FILE]).is_err(), "a second load succeeds");
    check!(loaded(), "the second load has unloaded the module");
    unload()?;
    check!(ksmctl(&["unload"]).is_err(), "a second unload succeeds");
    Ok(())
}

/// Objects in use of a slab cache, if there is one of this name.
///
/// Shrunk first: /proc/slabinfo counts the free objects in per-CPU slabs as used. A cache without this file is counted as it is.
pub fn slab(name: &str) -> Outcome<Option<i64>> {
    let _ = fs::write(format!("/sys/kernel/slab/{name}/shrink"), "1");
    let text = fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
    let line = text
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    Ok(line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|word| word.parse().ok()))
}

fn cycles(bench: &Bench) -> Outcome {
    const CYCLES: usize = 50;
    /// What ordinary activity may add.
    const SLACK: i64 = 40;
    begin()?;
    // One cycle before counting, for what is allocated once.
    load()?;
    unload()?;
    let caches = [
        "mm_struct",
        "ksm_rmap_item",
        "ksm_stable_node",
        "ksm_mm_slot",
        "mm_slot",
        "anon_vma",
    ];
    let count = || {
        caches
            .iter()
            .map(|name| slab(name))
            .collect::<Outcome<Vec<_>>>()
    };
    let before = count()?;
    let mut workers = Vec::new();
    for number in 0..3 {
        workers.push(Worker::start("load", |steps| {
            stress::live(steps, bench.seed + number)
        })?);
    }
    for cycle in 0..CYCLES {
        load().context(format!("cycle {cycle}"))?;
        bench.ksm.start()?;
        bench.ksm.set("sleep_millisecs", 0)?;
        stress::batch(&mut workers)?;
        unload().context(format!("cycle {cycle}"))?;
        bench.ksm.start()?;
        stress::batch(&mut workers)?;
    }
    stress::end_all(workers)?;
    bench.ksm.set("run", 2)?;
    for ((name, before), after) in caches.iter().zip(before).zip(count()?) {
        if let (Some(before), Some(after)) = (before, after) {
            check!(
                after - before < SLACK,
                "slab {name}: {before} objects before, {after} after {CYCLES} cycles"
            );
        }
    }
    works(bench, "stock KSM after all cycles")
}

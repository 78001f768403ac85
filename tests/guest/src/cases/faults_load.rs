// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading fail in the middle: at each place where they may, one after the other.

use std::fs;
use std::path::Path;

use super::common::{merged_crowd, same};
use super::takeover::{begin, insmod, load, loaded, remove, unload, works, FILE, PATCH};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::inject::{each, Injection, Scope, Series, Victim};
use crate::sharer::{self, Sharer};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/load",
        "each failure in turn while the module starts and takes over",
        loading,
    )
    .room(Room::Takeover)
    .seconds(600),
    Case::new(
        "faults/unload",
        "each failure in turn while merged pages are handed back",
        unloading,
    )
    .room(Room::Takeover)
    .seconds(600),
];

/// 622 were found; less what another kernel may have fewer of.
const LOADING: Series = Series::new(450, 1000);
/// 62 were found. Handing back is done by a worker of the kernel's; now and then by one that was not there yet when all were
/// told.
const UNLOADING: Series = Series {
    least: 40,
    most: 1000,
    misses: 4,
};
/// Whether merging works is tried after so many failures.
const EVERY: u32 = 10;
const PAGES: usize = 6;

fn loading(bench: &Bench) -> Outcome {
    begin()?;
    // What comes before is the kernel's reading of the file; our code is not there yet.
    let mut injection = Injection::prepare(Scope::Function("do_init_module"))?;
    // A cache without its files in /sys/kernel/slab works.
    injection.spare("sysfs_slab_add")?;
    let this = Victim::this()?;
    let (mut refused, mut bare, mut loads) = (0, 0, 0);
    each("loading", LOADING, |nth| {
        this.arm(nth)?;
        let asked = insmod(FILE, c"");
        let reached = this.disarm()?;
        match asked {
            Some(libc::ENOMEM | libc::EFAULT) if reached => {
                refused += 1;
                check!(!loaded(), "the module is there although it was refused");
            }
            Some(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                return fail(format!("failure reached: {reached}: {error}"));
            }
            None => {
                settled()?;
                bare += u32::from(!Path::new("/dev/ksm").exists());
                loads += 1;
                if loads % EVERY == 1 {
                    works(bench, "swapksm, loaded with a failure")?;
                }
                unload()?;
            }
        }
        check!(
            bench.ksm.has("run"),
            "the kernel's own directory ksm is gone"
        );
        if nth % EVERY == 0 {
            works(bench, "the kernel's KSM")?;
        }
        Ok(reached)
    })?;
    crate::ktap::tell(&format!(
        "loading: {refused} times refused, {loads} times done nevertheless, {bare} times without /dev/ksm"
    ));
    drop(injection);
    load()?;
    works(bench, "swapksm, loaded without a failure")?;
    unload()?;
    works(bench, "the kernel's KSM at the end")
}

/// Waits until no task is switching between the kernel's functions and ours.
fn settled() -> Outcome {
    wait::until("the transition ends", || {
        let state = fs::read_to_string(format!("{PATCH}/transition")).context("transition")?;
        Ok((state.trim() == "0", state))
    })
}

fn unloading(bench: &Bench) -> Outcome {
    begin()?;
    each("handing back", UNLOADING, |nth| {
        load()?;
        let injection = Injection::prepare(Scope::Module)?;
        let mut sharers = merged_crowd(bench, 3, PAGES)?;
        let victims = victims()?;
        for victim in &victims {
            victim.arm(nth)?;
        }
        let asked = fs::write(format!("{PATCH}/enabled"), "0");
        let gone = wait::until("swapksm has handed back", || {
            Ok((!Path::new(PATCH).exists(), ()))
        });
        let mut reached = false;
        for victim in &victims {
            // A worker may have ended meanwhile.
            reached |= victim.disarm_if_there()?;
        }
        drop(injection);
        asked.context("writing 0 to enabled")?;
        gone?;
        remove(c"swapksm")?;
        sharer::verify(&mut sharers)?;
        for (index, sharer) in sharers.iter_mut().enumerate() {
            sharer.write(index, 0x700 + index as u64)?;
        }
        sharer::verify(&mut sharers)?;
        sharers.push(Sharer::start(PAGES, same)?);
        sharer::finish(sharers)?;
        works(bench, "the kernel's KSM")?;
        Ok(reached)
    })
}

/// The calling thread and the kernel's workers: one of them does what follows the transition.
fn victims() -> Outcome<Vec<Victim>> {
    let mut victims = vec![Victim::this()?];
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let number = entry.file_name().to_string_lossy().parse();
        if let (true, Ok(number)) = (comm.starts_with("kworker/"), number) {
            // One that has ended meanwhile is none.
            victims.extend(Victim::thread(number).ok());
        }
    }
    Ok(victims)
}

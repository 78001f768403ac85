// SPDX-License-Identifier: GPL-2.0

//! Functions of swapksm's that may fail at any call (shims/injectable.c lists them) do so at one call after the other,
//! with each error that their contracts name; and a disk that fails to write every other page.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::common::{frames_become, joins, merged_crowd, same};
use super::faults_calls::{
    ioctl, open_device, own, register, CREATE_SHARED_MEMORY_AREA, REMOVE_MEMORY_REGION,
};
use super::faults_common::{in_order, prepare};
use super::prctl;
use super::swapping::{self, Crowd};
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::inject::{each, Function, Injection, Scope, Series};
use crate::ksm::DIRECTORY;
use crate::ktap;
use crate::pagemap::{self, FLAG_KSM};
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{self, HUGE, PAGE};
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/functions",
        "each function that merging may fail at fails in turn, at each of its calls",
        merge_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/lone_sharer",
        "a page whose partner is lost, and for whose copy there is no room, stays a merged one and is what others are merged with",
        lone_sharer,
    )
    .room(Room::Faults),
    Case::new(
        "faults/functions_unmerging",
        "the same of unmerging",
        unmerge_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/functions_reclaim",
        "the same of visiting those who share a page that is to be reclaimed",
        reclaim_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/functions_ending",
        "the same of ending memberships, and of asking about a process",
        end_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/functions_swapin",
        "the same of copying a page that comes from swap: no memory, and a broken page",
        fault_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/functions_device",
        "the same of what /dev/ksm does",
        device_functions,
    )
    .room(Room::Faults)
    .seconds(600),
    Case::new(
        "faults/swap_writes",
        "every other write to the swap disk fails",
        swap_writes,
    )
    .room(Room::Faults),
];

/// Pages of a process.
const PAGES: usize = 6;
/// Percent.
const EVERY_OTHER: u32 = 50;

/// More calls of a function than any scene should make.
const MOST: u32 = 300;

/// What a signal interrupts, for the kernel only: errno 512 (include/linux/errno.h).
const ERESTARTSYS: i32 = 512;

/// A function, what it may fail with (0: NULL or false), what comes to it, and how often it does at least: what was found,
/// less what chance may take from the large numbers.
type Trial = (&'static str, &'static [i32], Scene, u32);

/// Does what comes to a function, while its n-th call is the one that fails. Whether there was such a call.
type Scene = fn(&Bench, &mut Order<'_>) -> Outcome<bool>;

/// Of the scanner, and of those who ask for merging.
const MERGING: &[Trial] = &[
    ("swapksm_can_merge", &[0], merging, 6),
    ("swapksm_folio_trylock", &[0], merging, 10),
    ("swapksm_items_alloc", &[0], merging, 3),
    ("swapksm_mm_read_trylock", &[0], merging, 40),
    ("swapksm_object_alloc", &[0], merging, 25),
    ("swapksm_page_try_get", &[0], merging, 45),
    (
        "swapksm_merge_first",
        &[libc::EBUSY, libc::ESTALE],
        merging,
        6,
    ),
    (
        "swapksm_merge_into",
        &[libc::EBUSY, libc::ESTALE, libc::EINVAL],
        merging,
        12,
    ),
    ("swapksm_space_insert", &[libc::ENOMEM], merging, 3),
    (
        "swapksm_space_subscribe",
        &[libc::ENOMEM, libc::EAGAIN, libc::EBUSY],
        merging,
        3,
    ),
    ("swapksm_space_alloc", &[0], merging, 3),
    ("swapksm_split", &[0], splitting, 1),
];

/// Of those who want their pages back.
const UNMERGING: &[Trial] = &[
    (
        "swapksm_break_range",
        &[libc::ENOMEM, libc::EINTR, ERESTARTSYS],
        unmerging,
        1,
    ),
    (
        "swapksm_break_all",
        &[libc::ENOMEM, ERESTARTSYS],
        unmerging_all,
        3,
    ),
    ("swapksm_break_range", &[libc::ENOMEM], unmerging_all, 3),
    // Also called where nobody watches: it says so.
    ("swapksm_unshare_watched", &[libc::ENOMEM], unmerging, 1),
    (
        "swapksm_mm_read_lock_killable",
        &[libc::EINTR],
        unmerging_all,
        3,
    ),
    (
        "swapksm_unmark_all",
        &[libc::ENOMEM, libc::EINTR, ERESTARTSYS],
        leaving,
        1,
    ),
];

/// Of reclaim: an anon_vma whose lock somebody has ends the visit of a walker that only tries, and delays any other.
const PUSHING_OUT: &[Trial] = &[("swapksm_anon_vma_trylock", &[0], pushing_out, 30)];

/// Of the thread that ends memberships, and of who reads /proc/PID/ksm_stat.
const ENDING: &[Trial] = &[
    ("swapksm_mm_read_trylock", &[0], ending, 1),
    ("swapksm_mm_read_lock_killable", &[libc::EINTR], asking, 2),
];

/// Of page faults: NULL is out of memory.
const READING_BACK: &[Trial] = &[(
    "swapksm_swapin_copy",
    &[0, libc::EHWPOISON],
    reading_back,
    PAGES as u32,
)];

/// Of /dev/ksm.
const DEVICE: &[Trial] = &[
    (
        "swapksm_area_open",
        &[libc::ENOMEM, libc::EMFILE],
        device,
        1,
    ),
    ("swapksm_all_mapped", &[libc::EINTR], device, 1),
    (
        "swapksm_madvise",
        &[libc::ENOMEM, libc::EINTR, libc::EAGAIN],
        device,
        2,
    ),
    (
        "swapksm_any_mergeable",
        &[libc::EINTR],
        device_with_a_gap,
        1,
    ),
    (
        "swapksm_madvise",
        &[libc::ENOMEM, libc::EINTR, libc::EAGAIN],
        closing,
        2,
    ),
];

/// The order for one failure.
struct Order<'a> {
    injection: &'a mut Injection,
    errno: i32,
    nth: u32,
}

impl Order<'_> {
    /// The failure may come from now on.
    fn begin(&mut self) -> Outcome {
        self.injection.order("fail_function", self.nth)
    }

    /// It can come no more. Whether it has.
    fn end(&mut self) -> Outcome<bool> {
        self.injection.ordered("fail_function")
    }

    /// Takes the end of a call that had to succeed, or to fail because of the failure: whether it did.
    fn passed(&self, what: &str, reached: bool, result: io::Result<()>) -> Outcome<bool> {
        match result.map_err(|error| error.raw_os_error()) {
            Ok(()) => Ok(true),
            Err(Some(errno)) if reached && errno == self.errno => Ok(false),
            // Without memory for what the function was to do.
            Err(Some(libc::ENOMEM | libc::EAGAIN))
                if reached && [0, libc::ENOMEM].contains(&self.errno) =>
            {
                Ok(false)
            }
            Err(errno) => fail(format!(
                "{what}: errno {errno:?}; the function failed: {reached}, with {}",
                self.errno
            )),
        }
    }
}

fn merge_functions(bench: &Bench) -> Outcome {
    trials(bench, MERGING)
}

fn lone_sharer(bench: &Bench) -> Outcome {
    let mut injection = prepare(bench, Scope::Task)?;
    let mut sharers = Sharer::crowd(2, PAGES, same)?;
    let before = sharer::frames(&sharers)?;
    // Partners are lost after the first pages have become merged ones.
    let lost = Function::choose("swapksm_merge_into", libc::EBUSY)?;
    let _full = Function::choose("swapksm_has_spare_page", 0)?;
    injection.count("fail_function")?;
    injection.by_chance("fail_function", 100)?;
    bench.ksm.start()?;
    bench.ksm.passes(4)?;
    bench.ksm.stop()?;
    injection.calm()?;
    let failures = injection.counted("fail_function")?;
    ktap::tell(&format!("{failures} calls have failed"));
    check!(
        failures >= 2 * PAGES as i64,
        "{failures} calls have failed, not two for each page"
    );
    check_eq!(sharer::frames(&sharers)?, before, "frames of all pages");
    let merged = pagemap::count_flag(&before, FLAG_KSM)?;
    check_eq!(merged, PAGES, "merged pages with one sharer");
    in_order(bench)?;
    drop(lost);
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    for frame in sharers[0].frames()? {
        check!(before.contains(&frame), "a page was copied");
    }
    sharer::verify(&mut sharers)?;
    in_order(bench)?;
    sharer::finish(sharers)?;
    bench.ksm.counter_becomes("pages_shared", 0)
}

fn unmerge_functions(bench: &Bench) -> Outcome {
    trials(bench, UNMERGING)
}

fn reclaim_functions(bench: &Bench) -> Outcome {
    trials(bench, PUSHING_OUT)
}

fn end_functions(bench: &Bench) -> Outcome {
    trials(bench, ENDING)
}

fn fault_functions(bench: &Bench) -> Outcome {
    trials(bench, READING_BACK)
}

fn device_functions(bench: &Bench) -> Outcome {
    trials(bench, DEVICE)
}

/// Lets each function fail at its first call, then at its second, and so on, with each of its errors.
fn trials(bench: &Bench, trials: &[Trial]) -> Outcome {
    let mut injection = prepare(bench, Scope::Task)?;
    for &(name, errnos, scene, least) in trials {
        for &errno in errnos {
            let _function = Function::choose(name, errno)?;
            let what = match errno {
                0 => name.to_owned(),
                errno => format!("{name}, errno {errno}"),
            };
            each(&what, Series::new(least, MOST), |nth| {
                let mut order = Order {
                    injection: &mut injection,
                    errno,
                    nth,
                };
                let reached = scene(bench, &mut order)?;
                in_order(bench)?;
                Ok(reached)
            })?;
        }
    }
    Ok(())
}

/// Three processes of which two are merged first; they open themselves to merging late, so that all is new of them.
fn merging(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut sharers: Vec<Sharer> = (0..3)
        .map(|_| Sharer::start_in(|| Region::map(PAGES), false, same))
        .collect::<Outcome<_>>()?;
    order.begin()?;
    let mut asked = Vec::new();
    for sharer in &mut sharers {
        asked.push(sharer.try_advise(0, PAGES, libc::MADV_MERGEABLE)?);
    }
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    let reached = order.end()?;
    for (sharer, errno) in sharers.iter_mut().zip(asked) {
        if !order.passed("MADV_MERGEABLE", reached, result(errno))? {
            sharer.advise(0, PAGES, libc::MADV_MERGEABLE)?;
        }
    }
    frames_become(&sharers, PAGES)?;
    bench.ksm.stop()?;
    sharer::verify(&mut sharers)?;
    in_order(bench)?;
    sharer::finish(sharers)?;
    bench.ksm.sync()?;
    Ok(reached)
}

/// A huge page with equal pages inside: it has to be split before they can be merged.
fn splitting(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    /// Different contents.
    const KINDS: usize = 8;
    let mut sharer = Sharer::start_in(
        || Region::map_huge(1),
        true,
        |index| 1 + (index % KINDS) as u64,
    )?;
    let huge = procfs::smaps(sharer.pid(), sharer.addr(), HUGE, "AnonHugePages")?;
    check!(huge > 0, "no huge page was given, so none can be split");
    order.begin()?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    let reached = order.end()?;
    sharer.verify()?;
    let sharers = vec![sharer];
    frames_become(&sharers, KINDS)?;
    bench.ksm.stop()?;
    sharer::finish(sharers)?;
    Ok(reached)
}

/// One of two processes asks for its pages back.
fn unmerging(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    bench.ksm.stop()?;
    order.begin()?;
    let errno = sharers[0].try_advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    let reached = order.end()?;
    check!(
        order.passed("MADV_UNMERGEABLE", reached, result(errno))? != reached,
        "MADV_UNMERGEABLE succeeded although its work failed"
    );
    sharer::verify(&mut sharers)?;
    if reached {
        sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    }
    frames_become(&sharers, 2 * PAGES)?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)?;
    Ok(reached)
}

/// `run` 2: whatever fails, it says so and `run` is 0; the second time all is unmerged.
fn unmerging_all(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    bench.ksm.stop()?;
    let path = format!("{DIRECTORY}/run");
    let run = File::options().write(true).open(&path).context(&path)?;
    order.begin()?;
    // One call: others would repeat it after EINTR.
    let asked = run.write_at(b"2", 0).map(drop);
    let reached = order.end()?;
    if !order.passed("writing 2 to run", reached, asked)? {
        check_eq!(
            bench.ksm.number("run")?,
            0,
            "run after writing 2 has failed"
        );
        sharer::verify(&mut sharers)?;
        in_order(bench)?;
        bench.ksm.set("run", 2)?;
    } else {
        check!(
            !reached,
            "writing 2 to run succeeded although its work failed"
        );
    }
    frames_become(&sharers, 3 * PAGES)?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)?;
    Ok(reached)
}

/// A process that had all of its memory merged wants none merged any more.
fn leaving(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut others = merged_crowd(bench, 1, PAGES)?;
    let mut worker = Worker::start("process that leaves", |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        prctl::merge_any(true)?;
        steps.step(region.addr() as u64)?;
        let left = sys::prctl(67, [0; 4]);
        let errno = left.err().and_then(|error| error.raw_os_error());
        steps.step(errno.unwrap_or(0) as u64)?;
        region.verify(same)?;
        if errno.is_some() {
            check!(
                prctl::is_on()?,
                "PR_GET_MEMORY_MERGE is 0 although turning it off has failed"
            );
            prctl::merge_any(false)?;
        }
        region.verify(same)?;
        steps.step(0).map(drop)
    })?;
    let addr = worker.arrived()? as usize;
    let pid = worker.pid();
    joins("the process is merged with the other", &others[0], || {
        pagemap::of(pid, addr, PAGES)
    })?;
    bench.ksm.stop()?;
    order.begin()?;
    let errno = worker.step(0)? as i32;
    let reached = order.end()?;
    check!(
        order.passed("PR_SET_MEMORY_MERGE 0", reached, result(errno))? != reached,
        "PR_SET_MEMORY_MERGE 0 succeeded although its work failed"
    );
    in_order(bench)?;
    worker.step(0)?;
    let own = pagemap::frames(&pagemap::of(pid, addr, PAGES)?);
    let rest = others[0].frames()?;
    check!(
        own.iter().all(|frame| !rest.contains(frame)),
        "pages are still merged after the process has left"
    );
    worker.finish()?;
    sharer::verify(&mut others)?;
    sharer::finish(others)?;
    Ok(reached)
}

/// All pages of a crowd are reclaimed and read again; whatever a walk has missed, they go out in the end and come back
/// shared.
fn pushing_out(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    order.begin()?;
    crowd.push_out()?;
    let reached = order.end()?;
    in_order(bench)?;
    crowd.verify()?;
    frames_become(&crowd.sharers, PAGES)?;
    crowd.finish()?;
    Ok(reached)
}

/// Pages go out and come back, are given up, written to and read, while the thread that ends memberships looks after each.
fn ending(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    order.begin()?;
    crowd.push_out()?;
    bench.ksm.sync()?;
    crowd.sharers[0].discard(0, 2)?;
    crowd.sharers[1].write(2, 0x300)?;
    crowd.sharers[2].touch(3)?;
    bench.ksm.sync()?;
    let reached = order.end()?;
    in_order(bench)?;
    crowd.verify()?;
    // Of three pages one of three mappings has gone.
    let sharing = (3 * PAGES - 3 - PAGES) as i64;
    bench.ksm.counter_becomes("pages_sharing", sharing)?;
    in_order(bench)?;
    crowd.finish()?;
    Ok(reached)
}

/// Somebody reads /proc/PID/ksm_stat of a process whose pages are out.
fn asking(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    let path = format!("/proc/{}/ksm_stat", crowd.sharers[0].pid());
    let read = || -> io::Result<String> {
        let mut text = [0; 1024];
        // One call: others would repeat it after EINTR.
        let count = File::open(&path)?.read_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text[..count]).into_owned())
    };
    let before = read().context(&path)?;
    order.begin()?;
    let asked = read();
    let reached = order.end()?;
    match asked {
        Ok(text) => check!(
            !reached && text == before,
            "{path} could be read although its work failed ({reached}): {text}"
        ),
        Err(error) => {
            order.passed(&path, reached, Err(error))?;
        }
    }
    check_eq!(
        read().context(&path)?,
        before,
        "{path} after it could not be read"
    );
    in_order(bench)?;
    crowd.verify()?;
    crowd.finish()?;
    Ok(reached)
}

/// A process that left while its pages were out gets a copy of each; one of them cannot be had.
fn reading_back(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    let mut reader = crowd.sharers.remove(0);
    reader.advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    let broken = order.nth as usize - 1;
    if broken == PAGES {
        // There is no such page, and no such call.
        return Ok(false);
    }
    order.begin()?;
    for index in 0..broken {
        reader.touch(index)?;
    }
    let reached = if order.errno == libc::EHWPOISON {
        // Its page is lost to the reader, as one that the memory has lost; nobody else has noticed.
        reader.dies_touching(broken, libc::SIGBUS)?;
        order.end()?
    } else {
        // The fault is tried again when memory was made.
        reader.touch(broken)?;
        let reached = order.end()?;
        reader.verify()?;
        reader.finish()?;
        reached
    };
    check!(reached, "page {broken} was read without a copy being made");
    crowd.verify()?;
    frames_become(&crowd.sharers, PAGES)?;
    in_order(bench)?;
    crowd.finish()?;
    Ok(reached)
}

/// Memory of this process is registered with an area of /dev/ksm, merged, and removed.
fn device(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    registered(bench, order, |calls, region, area| {
        calls.call("removing", || ioctl(&area, REMOVE_MEMORY_REGION, 0))?;
        region.verify(same)
    })
}

/// The same, with a page unmapped in between: whether anything is left to unmerge has to be asked then.
fn device_with_a_gap(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    registered(bench, order, |calls, region, area| {
        let gap = region.page(PAGES - 1) as usize;
        sys::syscall(libc::SYS_munmap, [gap, PAGE, 0, 0, 0, 0]).context("munmap")?;
        calls.call("removing", || ioctl(&area, REMOVE_MEMORY_REGION, 0))?;
        (0..PAGES - 1).try_for_each(|index| region.verify_page(index, same(index)))
    })
}

/// The same, with the area closed: nobody is told of a failure, the pages stay merged and can be had by madvise().
fn closing(bench: &Bench, order: &mut Order<'_>) -> Outcome<bool> {
    registered(bench, order, |calls, region, area| {
        let while_registering = calls.hit;
        drop(area);
        // The last reference goes when this task leaves the kernel, or in a worker's time.
        wait::until("the area is gone, or its end has failed", || {
            let merged = pagemap::count_flag(&pagemap::frames(&region.pagemap()?), FLAG_KSM)?;
            let failed = !while_registering && calls.over()?;
            Ok((merged == 0 || failed, merged))
        })?;
        region.verify(same)?;
        if !while_registering && calls.over()? {
            let merged = pagemap::count_flag(&pagemap::frames(&region.pagemap()?), FLAG_KSM)?;
            check_eq!(merged, PAGES, "merged pages after unmerging has failed");
            region
                .advise(libc::MADV_UNMERGEABLE)
                .context("MADV_UNMERGEABLE")?;
        }
        region.verify(same)
    })
}

/// Memory of this process is registered with an area of /dev/ksm and merged; after `end` it must be so no more.
fn registered(
    bench: &Bench,
    order: &mut Order<'_>,
    end: impl FnOnce(&mut Calls<'_, '_>, &Region, OwnedFd) -> Outcome,
) -> Outcome<bool> {
    let others = merged_crowd(bench, 1, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    let device = own(open_device().context("opening /dev/ksm")?);
    let mut calls = Calls { order, hit: false };
    calls.order.begin()?;
    let area = calls.call("creating an area", || {
        ioctl(&device, CREATE_SHARED_MEMORY_AREA, 0)
    })?;
    let area = own(area);
    calls.call("registering", || register(&area, &region))?;
    joins("the region is merged", &others[0], || region.pagemap())?;
    bench.ksm.stop()?;
    end(&mut calls, &region, area)?;
    let reached = calls.over()?;
    let rest = others[0].frames()?;
    let frames = pagemap::frames(&region.pagemap()?);
    check!(
        frames.iter().all(|frame| !rest.contains(frame)),
        "pages are still merged after their region was removed"
    );
    sharer::finish(others)?;
    Ok(reached)
}

/// Calls of which one may fail, and then succeeds when repeated.
struct Calls<'a, 'b> {
    order: &'a mut Order<'b>,
    hit: bool,
}

impl Calls<'_, '_> {
    fn call(&mut self, what: &str, mut call: impl FnMut() -> io::Result<usize>) -> Outcome<usize> {
        let error = match call() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let hit = !self.hit && self.over()?;
        self.order.passed(what, hit, Err(error))?;
        call().context(format!("{what}, repeated"))
    }

    /// Whether the failure has come.
    fn over(&mut self) -> Outcome<bool> {
        self.hit = self.hit || self.order.end()?;
        Ok(self.hit)
    }
}

/// An errno as the result it stands for.
fn result(errno: i32) -> io::Result<()> {
    match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn swap_writes(bench: &Bench) -> Outcome {
    /// The kernel writes as many as 32 at a time (SWAP_CLUSTER_MAX), so these are several writes.
    const PAGES: usize = 128;
    /// Failures that are enough, and crowds that have to bring them about.
    const FAILURES: i64 = 5;
    const ROUNDS: usize = 20;
    let mut injection = prepare(bench, Scope::Task)?;
    let device = swapping::device()?;
    let name = device.rsplit('/').next().unwrap_or("");
    let switch = format!("/sys/block/{name}/make-it-fail");
    if !Path::new(&switch).exists() {
        return skip("this kernel cannot have disks fail (CONFIG_FAIL_MAKE_REQUEST)");
    }
    let mut failed = 0;
    injection.count("fail_make_request")?;
    for _ in 0..ROUNDS {
        let mut crowd = Crowd::merged(bench, 3, PAGES)?;
        // This process is in the group, too; what it reads back may not fail.
        sys::lock_all().context("mlockall")?;
        injection.by_chance("fail_make_request", EVERY_OTHER)?;
        fs::write(&switch, "1").context(&switch)?;
        let reclaimed = (0..5).try_for_each(|_| crowd.group().reclaim(crowd.all() * PAGE));
        // Before anything is read.
        injection.calm()?;
        fs::write(&switch, "0").context(&switch)?;
        reclaimed?;
        failed = injection.counted("fail_make_request")?;
        in_order(bench)?;
        crowd.verify()?;
        bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
        crowd.push_out().context("when the disk works again")?;
        crowd.verify()?;
        in_order(bench)?;
        crowd.finish()?;
        if failed >= FAILURES {
            break;
        }
    }
    ktap::tell(&format!("writes to {device} failed {failed} times"));
    check!(
        failed >= FAILURES,
        "only {failed} writes to {device} have failed in {ROUNDS} rounds"
    );
    Ok(())
}

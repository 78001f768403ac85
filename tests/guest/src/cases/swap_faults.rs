// SPDX-License-Identifier: GPL-2.0

//! Swap devices and memory that break while merged pages are out.

use super::common::self_check;
use super::null_disk::NullDisk;
use super::poison::{break_page, BROKEN};
use super::small_swap::Area;
use super::swapping::{self, Crowd};
use crate::case::{skip, Bench, Case, Context, Outcome, Room, Stop};
use crate::kernel_log::KernelLog;
use crate::pagemap::{self, FLAG_HWPOISON};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/read_error",
        "a slot that cannot be read kills who reads it and loses nobody else's page",
        read_error,
    )
    .room(Room::Swap),
    Case::new(
        "swap/write_error",
        "a slot that cannot be written keeps the merged page in memory",
        write_error,
    )
    .room(Room::Swap),
    Case::new(
        "swap/poison_in_cache",
        "a merged page in the swap cache breaks: all read it from swap again",
        poison_in_cache,
    )
    .room(Room::Swap),
    Case::new(
        "swap/poison_and_swapoff",
        "swapoff leaves nobody what has broken in the swap cache, and takes nothing else",
        poison_and_swapoff,
    )
    .room(Room::Swap),
];

const PAGES: usize = 64;

/// Swapping on a disk that breaks, instead of on the device that was in use.
struct Breaking {
    usual: Area,
    area: Area,
    disk: NullDisk,
}

impl Breaking {
    fn take() -> Outcome<Breaking> {
        if swapping::zswap() {
            return skip("zswap keeps the pages, so the disk that is to break has none of them");
        }
        let mut usual = Area::new(&swapping::device()?, true);
        let disk = NullDisk::new(32)?;
        let mut area = Area::new(disk.path(), false);
        area.format(4096)?;
        area.on()?;
        usual.off()?;
        Ok(Breaking { usual, area, disk })
    }
}

impl Drop for Breaking {
    fn drop(&mut self) {
        for result in [self.usual.on(), self.area.off()] {
            if let Err(stop) = result {
                eprintln!("guest-tests: swap is not as it was: {stop}; later swap cases may fail");
            }
        }
    }
}

/// The page of the disk that a page of the crowd is in.
fn disk_page(crowd: &Crowd, index: usize) -> Outcome<u64> {
    match crowd.sharers[0].pagemap()?[index].slot() {
        // The area's number is in the lowest five bits.
        Some(slot) => Ok(slot >> 5),
        None => Err(Stop::Fail(format!("page {index} is not out"))),
    }
}

fn read_error(bench: &Bench) -> Outcome {
    let breaking = Breaking::take()?;
    // What is read with a broken page fails with it.
    let _cluster = swapping::page_cluster(0)?;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    let page = disk_page(&crowd, BROKEN)?;
    // Whatever is still in the swap cache need not be read.
    for _ in 0..3 {
        crowd.group().reclaim(crowd.all() * crate::sys::PAGE)?;
    }
    breaking.disk.break_page(page)?;
    for _ in 0..2 {
        let victim = crowd.sharers.pop().expect("four were started");
        victim.dies_touching(BROKEN, libc::SIGBUS)?;
    }
    for index in (0..PAGES).filter(|&index| index != BROKEN) {
        crowd.sharers[0].touch(index)?;
    }
    breaking.disk.mend_page(page)?;
    // The page that could not be read lies in the swap cache until reclaim drops it.
    crowd.push_out()?;
    for _ in 0..3 {
        crowd.group().reclaim(crowd.all() * crate::sys::PAGE)?;
    }
    crowd.verify().context("after the disk was mended")?;
    if bench.ours() {
        check_eq!(
            pagemap::distinct(&crate::sharer::frames(&crowd.sharers)?),
            PAGES,
            "frames of the pages of {} processes",
            crowd.sharers.len()
        );
        bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
        bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    }
    crowd.finish()?;
    drop(breaking);
    Ok(())
}

fn write_error(bench: &Bench) -> Outcome {
    let breaking = Breaking::take()?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    // All slots but the first few of each cluster of 16.
    for page in (1..4096).filter(|page| page % 16 >= 4) {
        breaking.disk.break_page(page)?;
    }
    let mut log = KernelLog::from_now()?;
    for round in 0..3 {
        for _ in 0..5 {
            crowd.group().reclaim(crowd.all() * crate::sys::PAGE)?;
        }
        crowd.verify().context(format!("round {round}"))?;
    }
    let told = log.count("Write-error on swap-device")?;
    crate::runner::log(&format!("{told} lines of the kernel's about failed writes"));
    check!(told > 0, "no write to the broken disk has failed");
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    for page in (1..4096).filter(|page| page % 16 >= 4) {
        breaking.disk.mend_page(page)?;
    }
    crowd.push_out().context("after the disk was mended")?;
    crowd.verify()?;
    for index in 0..PAGES {
        crowd.sharers[index % 3].write(index, 0x2200 + index as u64)?;
    }
    crowd.verify()?;
    crowd.finish()?;
    drop(breaking);
    Ok(())
}

/// Skips where memory does not break when asked to.
fn feigned_errors() -> Outcome {
    match std::path::Path::new("/proc/sys/vm/memory_failure_recovery").exists() {
        true => Ok(()),
        false => skip("this kernel cannot feign memory errors"),
    }
}

fn poison_in_cache(bench: &Bench) -> Outcome {
    feigned_errors()?;
    if swapping::zswap() {
        return skip("zswap keeps no copy of what it gave back, so all who use the page die");
    }
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].verify()?;
    let frame = crowd.sharers[0].frames()?[BROKEN];
    crowd.sharers[0].advise(BROKEN, 1, libc::MADV_HWPOISON)?;
    check!(
        pagemap::flags(frame)? & FLAG_HWPOISON != 0,
        "frame {frame} does not carry the HWPOISON flag"
    );
    // The page was not written to since it was read: it is read again, by all.
    crowd.verify()?;
    let frames = crate::sharer::frames(&crowd.sharers)?;
    check!(!frames.contains(&frame), "a process has the broken frame");
    bench.ksm.start()?;
    bench.ksm.passes(3)?;
    bench.ksm.stop()?;
    let frames = crate::sharer::frames(&crowd.sharers)?;
    check!(
        !frames.contains(&frame),
        "the scanner has merged pages with the broken frame"
    );
    crowd.push_out()?;
    crowd.verify()?;
    crowd.finish()
}

/// Of a page that was changed since it was written nothing else is left: it stays in the swap cache, broken. swapoff marks the
/// entries that name it, of which no notifier tells.
fn poison_and_swapoff(bench: &Bench) -> Outcome {
    feigned_errors()?;
    if !bench.ours() {
        return skip("the kernel's own KSM brings no page back merged");
    }
    let mut usual = Area::new(&swapping::device()?, true);
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].verify()?;
    bench.ksm.start()?;
    // Whoever is merged with a page makes it one that was changed.
    break_page(&crowd.sharers, libc::MADV_HWPOISON)?;
    bench.ksm.stop()?;
    if !crowd.sharers[1].pagemap()?[BROKEN].swapped() {
        return skip("the page was no longer in the swap cache");
    }
    usual.off()?;
    usual.on()?;
    for sharer in &crowd.sharers {
        let frame = sharer.pagemap()?[BROKEN].frame();
        check_eq!(frame, None, "frame of the broken page");
    }
    self_check(&bench.ksm)?;
    let sharing = 2 * (PAGES as i64 - 1);
    bench.ksm.counter_becomes("pages_sharing", sharing)?;
    for sharer in crowd.into_sharers() {
        sharer.dies_touching(BROKEN, libc::SIGBUS)?;
    }
    bench.ksm.counter_becomes("pages_shared", 0)
}

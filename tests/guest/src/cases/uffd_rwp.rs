// SPDX-License-Identifier: GPL-2.0

//! Unmerging what userfaultfd watches for any access (`UFFDIO_RWPROTECT`, since 7.3): a fault of the kernel's in such a page
//! waits for whoever watches, too, or fails.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::common::{joins, merged_crowd, same};
use super::{prctl, takeover, uffd};
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::pagemap::{self, FLAG_KSM, FLAG_ZERO};
use crate::region::Region;
use crate::sharer;
use crate::sys::PAGE;
use crate::userfault::{self, Faults};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "uffd/rwp_unmerge",
        "MADV_UNMERGEABLE unmerges what is watched for any access, and it stays watched",
        unmerge,
    ),
    Case::new(
        "uffd/rwp_unmerge_async",
        "the same with marks that an access takes away by itself: unmerging is no access",
        unmerge_async,
    ),
    Case::new(
        "uffd/rwp_prctl_off",
        "the same by PR_SET_MEMORY_MERGE 0",
        prctl_off,
    ),
    Case::new("uffd/rwp_run_2", "the same by run 2", run_2),
    Case::new(
        "uffd/rwp_mremap",
        "mremap takes along nothing that is merged",
        moved,
    ),
    Case::new(
        "uffd/rwp_zero",
        "the same for the zero page in place of merged zeroes",
        zero,
    ),
    Case::new(
        "uffd/rwp_run_2_races",
        "run 2 leaves nothing merged while somebody watches and lets go",
        races,
    ),
    Case::new(
        "takeover/unload_watched",
        "unloading leaves nothing merged of what userfaultfd watches for any access",
        unload,
    )
    .room(Room::Takeover),
];

const PAGES: usize = 64;

/// Every other page is watched: the rest must not suffer from it.
fn armed(index: usize) -> bool {
    index % 2 == 1
}

/// A userfaultfd registered for any access to a region.
struct Watch {
    faults: Faults,
    addr: usize,
}

impl Watch {
    fn new(region: &Region, features: u64) -> Outcome<Watch> {
        let faults = Faults::open(
            userfault::FEATURE_RWP | features,
            "protection from reads and writes",
        )?;
        faults.register(region, userfault::MODE_RWP)?;
        Ok(Watch {
            faults,
            addr: region.addr(),
        })
    }

    /// Watches `pages`, or lets go of them.
    fn set(&self, pages: Range<usize>, on: bool) -> io::Result<()> {
        let (start, len) = (self.addr + pages.start * PAGE, pages.len() * PAGE);
        self.faults.ioctl(
            userfault::RWPROTECT,
            &mut [start as u64, len as u64, u64::from(on)],
        )
    }

    /// Watches the pages that [`armed`] names.
    fn arm(&self) -> Outcome {
        for index in (0..PAGES).filter(|&index| armed(index)) {
            self.set(index..index + 1, true)
                .context("UFFDIO_RWPROTECT")?;
        }
        Ok(())
    }

    /// Lets accesses through as they come, counts them, until the process ends.
    fn answer(self, count: &AtomicUsize) -> io::Result<()> {
        loop {
            let index = (self.faults.next()? as usize - self.addr) / PAGE;
            count.fetch_add(1, Ordering::SeqCst);
            self.set(index..index + 1, false)?;
        }
    }
}

/// Every page of the region is its own, and those are watched that were before.
fn check_unmerged(region: &Region) -> Outcome {
    let entries = region.pagemap()?;
    let frames = pagemap::frames(&entries);
    check_eq!(pagemap::count_flag(&frames, FLAG_KSM)?, 0, "merged pages");
    check_eq!(
        pagemap::count_flag(&frames, FLAG_ZERO)?,
        0,
        "pages that are the zero page"
    );
    check_eq!(pagemap::distinct(&frames), PAGES, "frames");
    for (index, entry) in entries.iter().enumerate() {
        check_eq!(entry.watched(), armed(index), "page {index} is watched");
    }
    Ok(())
}

/// Each watched page is reported when it is read, once, and has its content; all can be written to then.
fn check_reports(region: &Region, watch: Watch, seed: impl Fn(usize) -> u64) -> Outcome {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let handler = std::thread::spawn(move || watch.answer(&counter));
    region.verify(&seed)?;
    check!(
        !handler.is_finished(),
        "the handler has ended with an error"
    );
    check_eq!(count.load(Ordering::SeqCst), PAGES / 2, "accesses reported");
    region.fill(|index| seed(index) + 1);
    region.verify(|index| seed(index) + 1)?;
    check_eq!(
        count.load(Ordering::SeqCst),
        PAGES / 2,
        "accesses reported after writing"
    );
    Ok(())
}

fn unmerge(bench: &Bench) -> Outcome {
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    region.unmergeable()?;
    check_unmerged(&region)?;
    check_reports(&region, watch, same)?;
    sharer::finish(others)
}

fn unmerge_async(bench: &Bench) -> Outcome {
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, userfault::FEATURE_RWP_ASYNC)?;
    watch.arm()?;
    region.unmergeable()?;
    check_unmerged(&region)?;
    region.verify(same)?;
    let watched = region.pagemap()?.iter().any(|entry| entry.watched());
    check!(!watched, "pages are watched after they were read");
    sharer::finish(others)
}

fn prctl_off(bench: &Bench) -> Outcome {
    // Somebody else keeps the scanner going.
    let others = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    prctl::merge_any(true)?;
    joins("the region is merged", &others[0], || region.pagemap())?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    prctl::merge_any(false)?;
    check_unmerged(&region)?;
    check_reports(&region, watch, same)?;
    sharer::finish(others)
}

fn run_2(bench: &Bench) -> Outcome {
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    bench.ksm.set("run", 2)?;
    check_unmerged(&region)?;
    check_reports(&region, watch, same)?;
    sharer::finish(others)
}

/// What moves away merged no walk over its mappings finds again. Its watch ends there.
fn moved(bench: &Bench) -> Outcome {
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    let region = region.move_away(PAGES)?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(pagemap::count_flag(&frames, FLAG_KSM)?, 0, "merged pages");
    region.verify(same)?;
    sharer::finish(others)
}

fn zero(bench: &Bench) -> Outcome {
    bench.ksm.set("use_zero_pages", 1)?;
    let region = Region::map(PAGES)?;
    // Writing makes frames of our own.
    region.fill(|_| 0);
    region.mergeable()?;
    bench.ksm.start()?;
    wait::until("pages become the zero page", || {
        let frames = pagemap::frames(&region.pagemap()?);
        let zero = pagemap::count_flag(&frames, FLAG_ZERO)?;
        Ok((zero == PAGES, zero))
    })?;
    bench.ksm.counter_becomes("ksm_zero_pages", PAGES as i64)?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    region.unmergeable()?;
    check_unmerged(&region)?;
    bench.ksm.counter_becomes("ksm_zero_pages", 0)?;
    check_reports(&region, watch, |_| 0)
}

/// Who watches needs the mmap lock for reading only, as run 2 does.
fn races(bench: &Bench) -> Outcome {
    const ROUNDS: usize = 30;
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, 0)?;
    let (racing, set) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (go, counter) = (racing.clone(), set.clone());
    // Until the process ends.
    std::thread::spawn(move || loop {
        let on = go.load(Ordering::SeqCst);
        if watch.set(0..PAGES, on).is_ok() && on {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        // What stays watched is not merged again.
        if watch.set(0..PAGES, false).is_err() || !on {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for round in 0..ROUNDS {
        racing.store(true, Ordering::SeqCst);
        let before = set.load(Ordering::SeqCst);
        wait::until("the region is being watched", || {
            Ok((set.load(Ordering::SeqCst) > before, ()))
        })?;
        bench.ksm.set("run", 2)?;
        racing.store(false, Ordering::SeqCst);
        let frames = pagemap::frames(&region.pagemap()?);
        let merged = pagemap::count_flag(&frames, FLAG_KSM)?;
        check_eq!(merged, 0, "merged pages after run 2, round {round}");
        bench.ksm.start()?;
        joins("the region is merged again", &others[0], || {
            region.pagemap()
        })?;
    }
    sharer::finish(others)
}

fn unload(bench: &Bench) -> Outcome {
    takeover::begin()?;
    takeover::load()?;
    let (others, region) = uffd::merged_region(bench)?;
    let watch = Watch::new(&region, 0)?;
    watch.arm()?;
    // Afterwards the scanner is as it was found: the kernel's own shall not merge anything anew.
    bench.ksm.stop()?;
    takeover::unload()?;
    check_unmerged(&region)?;
    check_reports(&region, watch, same)?;
    takeover::works(bench, "stock KSM after unloading")?;
    takeover::load().context("again")?;
    takeover::works(bench, "swapksm, loaded again")?;
    takeover::unload()?;
    sharer::finish(others)
}

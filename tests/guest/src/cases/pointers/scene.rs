// SPDX-License-Identifier: GPL-2.0

//! What the cases start from: pages of every kind with live pointers, and the scanner at rest.

use std::ops::Range;

use super::super::common::same;
use crate::case::{Bench, Context, Outcome};
use crate::pagemap::{self, Entry};
use crate::probe::{self, Item, State};
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sharer::Sharer;
use crate::sys::PAGE;
use crate::wait;
use crate::{check, check_eq};

/// Pages shared with another process.
pub const SHARED: Range<usize> = 0..32;
/// Pages of ours alone that stood still.
pub const STILL: Range<usize> = 32..48;
/// Pages of ours alone that changed lately.
pub const CHANGED: Range<usize> = 48..64;
/// All.
pub const PAGES: usize = 64;
/// Pages that a case does something to, some of each kind; the others must not notice.
pub const TAKEN: [Range<usize>; 3] = [8..24, 36..44, 52..60];

/// The region lies across the border between two page tables, in the midst of the shared pages that are taken.
const ADDRESS: usize = 0x6000_0020_0000 - 20 * PAGE;
/// Passes until everything has its state; merging may need some.
const PASSES: usize = 30;

/// Whether a case does something to page `index`.
pub fn is_taken(index: usize) -> bool {
    TAKEN.iter().any(|range| range.contains(&index))
}

/// Pages of some process.
#[derive(Clone, Copy)]
pub struct Place {
    /// Whose.
    pub pid: i32,
    /// From where.
    pub addr: usize,
    /// How many.
    pub pages: usize,
}

impl Place {
    /// Those of a region of the calling process.
    pub fn of(region: &Region) -> Place {
        Place {
            pid: std::process::id() as i32,
            addr: region.addr(),
            pages: region.pages(),
        }
    }

    /// Those of another process.
    pub fn of_sharer(sharer: &Sharer) -> Place {
        Place {
            pid: sharer.pid(),
            addr: sharer.addr(),
            pages: sharer.pages(),
        }
    }

    /// What swapksm knows of them.
    pub fn items(&self) -> Outcome<Vec<Item>> {
        probe::items(self.pid, self.addr, self.pages)
    }

    /// What the page tables say of them.
    pub fn pagemap(&self) -> Outcome<Vec<Entry>> {
        pagemap::of(self.pid, self.addr, self.pages)
    }

    /// Every pointer there is names the page that is mapped. Returns what is known.
    pub fn truth(&self) -> Outcome<Vec<Item>> {
        let (items, entries) = (self.items()?, self.pagemap()?);
        for (index, (item, entry)) in items.iter().zip(&entries).enumerate() {
            if !item.live() || item.pfn == entry.frame() {
                continue;
            }
            // Reclaim or compaction may have come between our two looks, and has cleared the pointer then.
            let again = probe::item(self.pid, self.addr + index * PAGE)?;
            check!(
                again.pfn != item.pfn,
                "FALSE POINTER: page {index} is {item:?}, the page table says {entry:?}"
            );
        }
        Ok(items)
    }

    /// All pages have live and true pointers.
    pub fn all_live(&self) -> Outcome {
        let items = self.truth()?;
        live(&items, |_| true)
    }
}

/// No page for which `which` says yes has a pointer.
pub fn empty(items: &[Item], which: impl Fn(usize) -> bool) -> Outcome {
    for (index, item) in items.iter().enumerate().filter(|(index, _)| which(*index)) {
        check!(!item.live(), "page {index} still has a pointer: {item:?}");
    }
    Ok(())
}

/// Each page for which `which` says yes has a pointer.
pub fn live(items: &[Item], which: impl Fn(usize) -> bool) -> Outcome {
    for (index, item) in items.iter().enumerate().filter(|(index, _)| which(*index)) {
        check!(item.live(), "page {index} has no pointer: {item:?}");
    }
    Ok(())
}

/// Each page for which `which` says yes is a sharer that nobody doubts.
pub fn sharers(items: &[Item], which: impl Fn(usize) -> bool) -> Outcome {
    for (index, item) in items.iter().enumerate().filter(|(index, _)| which(*index)) {
        check!(
            item.state == State::Stable && !item.suspect,
            "page {index} should be a sharer: {item:?}"
        );
    }
    Ok(())
}

/// Each page for which `which` says yes has no item any more.
pub fn ended(items: &[Item], which: impl Fn(usize) -> bool) -> Outcome {
    for (index, item) in items.iter().enumerate().filter(|(index, _)| which(*index)) {
        check!(item.ended(), "page {index} is still known: {item:?}");
    }
    Ok(())
}

/// Lets the scanner make passes, one at a time and at rest in between, until `done`.
pub fn passes_until(bench: &Bench, what: &str, mut done: impl FnMut() -> Outcome<bool>) -> Outcome {
    // So long that a batch, which ends with the pass, is followed by none.
    bench.ksm.set("sleep_millisecs", 600_000)?;
    let mut reached = done()?;
    for _ in 0..PASSES {
        if reached {
            return Ok(());
        }
        one_pass(bench)?;
        reached = done()?;
    }
    check!(reached, "{what}: not reached in {PASSES} passes");
    Ok(())
}

fn one_pass(bench: &Bench) -> Outcome {
    let before = bench.ksm.number("full_scans")?;
    bench.ksm.start()?;
    wait::until("a pass of the scanner", || {
        let now = bench.ksm.number("full_scans")?;
        Ok((now > before, now))
    })?;
    bench.ksm.stop()?;
    bench.ksm.sync()
}

/// What becomes of the items of pages that a case does something to, once deferred work is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// They end.
    Ended,
    /// They stay what they were.
    Kept,
}

/// A region of ours and one of another process. A third of ours is merged with the other's.
pub struct Scene<'a> {
    bench: &'a Bench,
    /// Ours.
    pub region: Region,
    /// The other process, which has the shared pages only.
    pub other: Sharer,
    /// What our pages hold; `None`: not to be read.
    pub seeds: Vec<Option<u64>>,
}

fn content(index: usize) -> u64 {
    match SHARED.contains(&index) {
        true => same(index),
        false => 0x4100_0000 + index as u64,
    }
}

impl<'a> Scene<'a> {
    /// Sets the scene: every page of ours and of the other has a live and true pointer, and the scanner is at rest.
    pub fn set(bench: &'a Bench) -> Outcome<Scene<'a>> {
        probe::available()?;
        // Before our pages exist, or they would be shared with it by the fork.
        let other = Sharer::start(SHARED.len(), same)?;
        let region = Region::map_at(ADDRESS, PAGES)?;
        region.fill(content);
        region.mergeable()?;
        let mut scene = Scene {
            bench,
            region,
            other,
            seeds: (0..PAGES).map(|index| Some(content(index))).collect(),
        };
        scene.settle()?;
        Ok(scene)
    }

    fn settle(&mut self) -> Outcome {
        let (ours, theirs) = (self.place(), self.others());
        let is = |items: &[Item], range: Range<usize>, state| {
            items[range]
                .iter()
                .all(|item| item.state == state && item.live() && !item.suspect)
        };
        passes_until(self.bench, "all pages have their state", || {
            let items = ours.items()?;
            Ok(is(&items, SHARED, State::Stable)
                && is(&items, STILL, State::Unstable)
                && is(&theirs.items()?, SHARED, State::Stable))
        })?;
        let (region, seeds, mut round) = (&self.region, &mut self.seeds, 0);
        passes_until(self.bench, "changed pages are volatile", || {
            let items = ours.items()?;
            if is(&items, CHANGED, State::Volatile) {
                return Ok(true);
            }
            round += 1 << 32;
            for index in CHANGED {
                let seed = content(index) + round;
                region.write(index, seed);
                seeds[index] = Some(seed);
            }
            Ok(false)
        })?;
        ours.all_live().context("before anything is done")?;
        theirs.all_live().context("the other's before")?;
        check_eq!(
            &pagemap::frames(&ours.pagemap()?)[SHARED],
            &pagemap::frames(&theirs.pagemap()?)[..],
            "frames of the shared pages"
        );
        self.counts(0, 0)
    }

    /// Our pages.
    pub fn place(&self) -> Place {
        Place::of(&self.region)
    }

    /// The other's pages.
    pub fn others(&self) -> Place {
        Place::of_sharer(&self.other)
    }

    /// The knobs.
    pub fn bench(&self) -> &'a Bench {
        self.bench
    }

    /// Does `act` to each range of pages that is taken, and sees at once that no pointer is left there.
    pub fn take(&mut self, mut act: impl FnMut(&mut Self, Range<usize>) -> Outcome) -> Outcome {
        for range in TAKEN {
            if !sabotage::is(Sabotage::NoEvent) {
                act(self, range.clone())?;
            }
            empty(&self.place().items()?, |index| range.contains(&index))
                .context("right after the call")?;
        }
        self.place().truth().map(drop)
    }

    /// The pages that nothing was done to have their pointers still, ours and the other's.
    pub fn rest_is_live(&self) -> Outcome {
        let items = self.place().truth()?;
        live(&items, |index| !is_taken(index)).context("nothing was done to it")?;
        self.others().all_live().context("the other process")
    }

    /// Deferred work is done: what became of the taken pages that were shared, and of those that were ours alone.
    pub fn settled(&self, shared: After, own: After) -> Outcome {
        self.bench.ksm.sync()?;
        let items = self.place().truth().context("after sync")?;
        let becomes = |after: After, range: Range<usize>, state: State| {
            let which = |index: usize| range.contains(&index) && is_taken(index);
            if after == After::Ended {
                return ended(&items, which);
            }
            for index in range.clone().filter(|&index| is_taken(index)) {
                let item = items[index];
                check!(
                    item.state == state && !item.suspect,
                    "page {index} should be {state:?} still: {item:?}"
                );
            }
            Ok(())
        };
        becomes(shared, SHARED, State::Stable)
            .and_then(|()| becomes(own, STILL, State::Unstable))
            .and_then(|()| becomes(own, CHANGED, State::Volatile))
            .context("after sync")?;
        let count = |after, range: Range<usize>| match after {
            After::Kept => 0,
            After::Ended => range.filter(|&index| is_taken(index)).count(),
        };
        self.counts(count(shared, SHARED), count(own, STILL))
    }

    /// The counters, with so many sharers and so many pages that stood still gone.
    pub fn counts(&self, shared: usize, still: usize) -> Outcome {
        for (file, count) in [
            ("pages_pending", 0),
            ("pages_shared", SHARED.len()),
            ("pages_sharing", SHARED.len() - shared),
            ("pages_unshared", STILL.len() - still),
        ] {
            check_eq!(self.bench.ksm.number(file)?, count as i64, "{file}");
        }
        Ok(())
    }

    /// Compares what every page holds, ours and the other's.
    pub fn verify(&mut self) -> Outcome {
        for (index, seed) in self.seeds.iter().enumerate() {
            if let Some(seed) = *seed {
                self.region.verify_page(index, seed)?;
            }
        }
        self.other.verify().context("the other process")
    }

    /// Compares a last time, ends the other process and lets the scanner go on over what is left.
    pub fn finish(mut self) -> Outcome {
        self.verify()?;
        self.bench.ksm.set("sleep_millisecs", 0)?;
        self.bench.ksm.start()?;
        self.bench.ksm.passes(2)?;
        self.verify().context("after two more passes")?;
        self.other.finish()
    }
}

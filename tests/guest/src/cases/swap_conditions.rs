// SPDX-License-Identifier: GPL-2.0

//! When a page that comes from swap may become a merged page again: a case for each condition of `revive` in
//! kmod/engine/swapin.rs, which fails when that condition is left out.
//!
//! | condition | case | what is seen without it |
//! | --- | --- | --- |
//! | 1 the page-table entry is the folio's | none | see below |
//! | 2 it is not exclusive | `swapin/exclusive_entry` | a process's write shows in another process |
//! | 3 a sharer, or a fork of one | `swapin/stranger_first`, `_after` | pages that no reclaim can push out again |
//! | 4 no other page in memory | `swapin/page_elsewhere` | a private page claims the node; the self-check fails |
//! | 5 the VMA is mergeable | `swapin/not_mergeable` | a process that left is merged again |
//! | 6 the content is the node's | `swapin/other_content` | a page of other content claims the node |
//!
//! Condition 1 cannot be violated on purpose from user space. The fault read the entry just before, without its lock,
//! and reads it once more under the lock afterwards; between the two lies no wait that a user could hold: who has to
//! wait for the folio's lock first gives up and reads the entry anew. What remains is to be preempted between two
//! instructions while another thread empties the entry and a third takes the slot. Without condition 1 a fault in that
//! window still maps nothing, as its second reading fails.
//!
//! Slots are made to be reused by a swap device that is full but for one. A node keeps a sharer that has left as long
//! as the reaper does not run, which is held back for that. All this needs a device that has written a page when it says
//! so: what a disk is still to write stays in the swap cache, where it is known as a private page.

use super::common::{frames_become, joins, merged_crowd, same};
use super::small_swap::SmallSwap;
use super::starve::{Starved, Starver, REAPER};
use super::swapping::{self, SwapIns};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swapin/exclusive_entry",
        "a freed slot that a private page of equal content got is not the merged page's any more",
        exclusive_entry,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/page_elsewhere",
        "the same for two processes' page, while the merged page is in memory",
        page_elsewhere,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/other_content",
        "a freed slot that a page of other content got is not the merged page's any more",
        other_content,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/equal_content",
        "a freed slot that two processes' page of equal content got gives both their content",
        equal_content,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/stranger_first",
        "pages that a fork moved while they were out come in for it first",
        stranger_first,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/stranger_after",
        "pages that a fork moved while they were out come in for it last",
        stranger_after,
    )
    .room(Room::Swap),
    Case::new(
        "swapin/not_mergeable",
        "who left while the pages were out gets pages of its own, the others stay merged",
        not_mergeable,
    )
    .room(Room::Swap),
];

/// Slots of the small swap device.
const SLOTS: usize = 64;
const LATER: u64 = 0x7777;

/// A merged page whose one sharer is the calling process, with a fork of it that has a private page in the same place.
struct Scene {
    swap: SmallSwap,
    page: Region,
    fork: Sharer,
    /// Keeps all other slots.
    _filler: Region,
    slot: u64,
    starver: Option<Starver>,
}

impl Scene {
    /// Sets it: the merged page is out, its slot known, and no other slot is free. The fork's page holds `seed`.
    fn set(bench: &Bench, seed: u64) -> Outcome<Scene> {
        bench.only_ours("sharing that survives swap")?;
        swapping::synchronous()?;
        let starver = Starver::prepare()?;
        let swap = SmallSwap::take(SLOTS)?;
        let page = Region::map(1)?;
        page.write(0, same(0));
        page.mergeable()?;
        let partner = Sharer::start(1, same)?;
        bench.ksm.start()?;
        wait::until("two processes' pages are merged", || {
            Ok((pagemap::frames(&page.pagemap()?) == partner.frames()?, ()))
        })?;
        bench.ksm.stop()?;
        drop(partner);
        bench.ksm.counter_becomes("pages_sharing", 0)?;
        let mut fork = Sharer::over(&page, vec![same(0)])?;
        fork.write(0, seed)?;
        let slot = push_out(&page)?;
        let filler = swap.fill()?;
        Ok(Scene {
            swap,
            page,
            fork,
            _filler: filler,
            slot,
            starver: Some(starver),
        })
    }

    /// Has the fork's page go to swap, where it must get the slot that the merged page had.
    fn reuse(&mut self) -> Outcome {
        for _ in 0..50 {
            self.fork.advise(0, 1, libc::MADV_PAGEOUT)?;
            if let Some(slot) = self.fork.pagemap()?[0].slot() {
                check_eq!(slot, self.slot, "slot of the private page");
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let (slots, used) = self.swap.area().slots()?;
        fail(format!(
            "the private page does not go to swap, of which {used} of {slots} slots are in use"
        ))
    }

    /// Discards the merged page while the reaper cannot see it, and gives its slot to the fork.
    fn reuse_unseen(&mut self, bench: &Bench) -> Outcome<Starved> {
        bench.ksm.sync()?;
        let starver = self.starver.take().expect("held once only");
        let held = starver.hold(REAPER)?;
        self.page
            .advise(libc::MADV_DONTNEED)
            .context("MADV_DONTNEED")?;
        self.reuse()?;
        Ok(held)
    }

    fn is_merged(&self) -> Outcome<bool> {
        let frames = self.fork.frames()?;
        check_eq!(frames.len(), 1, "pages of the fork in memory");
        Ok(pagemap::count_flag(&frames, FLAG_KSM)? == 1)
    }

    /// Merges the fork's page with one more process's, lets it write, and looks at both.
    fn write_after_merge(mut self, bench: &Bench) -> Outcome {
        let mut other = Sharer::start(1, same)?;
        bench.ksm.start()?;
        wait::until("the fork is merged with a newcomer", || {
            Ok((self.fork.frames()? == other.frames()?, ()))
        })?;
        bench.ksm.stop()?;
        self.fork.write(0, LATER)?;
        other.verify().context("after the fork has written")?;
        self.fork.verify()?;
        other.finish()?;
        self.fork.finish()
    }
}

/// Pushes a one-page region out; tells the slot.
fn push_out(page: &Region) -> Outcome<u64> {
    let mut slot = None;
    wait::until("the merged page is out", || {
        page.advise(libc::MADV_PAGEOUT).context("MADV_PAGEOUT")?;
        slot = page.pagemap()?[0].slot();
        if slot.is_none() {
            swapping::drain_lru()?;
        }
        Ok((slot.is_some(), ()))
    })?;
    // A disk may still be writing, and keeps the slot that long.
    std::thread::sleep(std::time::Duration::from_millis(50));
    Ok(slot.expect("waited for"))
}

fn exclusive_entry(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench, same(0))?;
    let before = SwapIns::now(bench, "swapin_miss_exclusive", scene.fork.pid())?;
    let held = scene.reuse_unseen(bench)?;
    check!(
        bench.ksm.number("pages_pending")? > 0,
        "nothing is pending although the reaper is held"
    );
    scene.swap.area().off()?;
    held.check()?;
    drop(held);
    bench.ksm.sync()?;
    scene.page.verify_page(0, 0)?;
    let merged = scene.is_merged()?;
    let misses = before.since(bench)?;
    scene.write_after_merge(bench)?;
    check!(!merged, "the private page had become the merged page");
    check_eq!(misses, 1, "swapin_miss_exclusive");
    Ok(())
}

fn page_elsewhere(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench, same(0))?;
    let before = SwapIns::now(bench, "swapin_miss_stale", scene.fork.pid())?;
    scene.page.verify_page(0, same(0))?;
    scene.reuse()?;
    // A fork's entry is not exclusive.
    scene.fork.fork()?;
    scene.fork.touch(0)?;
    let merged = scene.is_merged()?;
    check!(!merged, "a private page has become the merged page");
    check_eq!(before.since(bench)?, 1, "swapin_miss_stale");
    scene.fork.end_child()?;
    scene.page.verify_page(0, same(0))?;
    scene.write_after_merge(bench)
}

fn other_content(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench, LATER)?;
    let before = SwapIns::now(bench, "swapin_miss_hash", scene.fork.pid())?;
    let held = scene.reuse_unseen(bench)?;
    scene.fork.fork()?;
    scene.fork.touch(0)?;
    held.check()?;
    drop(held);
    let merged = scene.is_merged()?;
    scene.fork.end_child()?;
    scene.page.verify_page(0, 0)?;
    scene.fork.verify()?;
    check!(
        !merged,
        "a page of other content has become the merged page"
    );
    check_eq!(before.since(bench)?, 1, "swapin_miss_hash");
    scene.fork.finish()
}

/// All conditions hold here although the slot was reused: the page is shared, and its content is the merged page's.
fn equal_content(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench, same(0))?;
    let held = scene.reuse_unseen(bench)?;
    scene.fork.fork()?;
    scene.fork.touch(0)?;
    held.check()?;
    drop(held);
    bench.ksm.sync()?;
    scene.page.verify_page(0, 0)?;
    scene.fork.end_child()?;
    scene.write_after_merge(bench)
}

const PAGES: usize = 64;

/// Pushes everything out that the processes of [`stranger`] have; `mover` is the process and address of one of them.
fn all_out(group: &Group, sharers: &[Sharer], page: &Region, mover: (i32, usize)) -> Outcome {
    const ALL: usize = 3 * PAGES;
    wait::until("all pages are out", || {
        group.reclaim(ALL * PAGE)?;
        let mut out = sharer::swapped(sharers)?;
        for entries in [page.pagemap()?, pagemap::of(mover.0, mover.1, PAGES)?] {
            out += entries.iter().filter(|entry| entry.swapped()).count();
        }
        Ok((out == ALL, format!("{out} of {ALL}")))
    })
}

/// Who moved the merged pages to another place while they were out is no sharer that a reverse walk finds.
fn stranger(bench: &Bench, first: bool) -> Outcome {
    bench.only_ours("sharing that survives swap")?;
    swapping::device()?;
    let group = Group::enter("stranger")?;
    let mut sharers = merged_crowd(bench, 1, PAGES)?;
    let page = Region::map(PAGES)?;
    page.fill(same);
    page.mergeable()?;
    joins("the pages are merged", &sharers[0], || page.pagemap())?;
    bench.ksm.stop()?;
    let mut mover = Worker::start("mover", |steps| {
        steps.step(page.addr() as u64)?;
        let moved = Region::adopt(page.addr(), PAGES).move_away(PAGES)?;
        steps.step(moved.addr() as u64)?;
        moved.verify(same)?;
        steps.step(0)?;
        moved.verify(same)
    })?;
    let old = mover.arrived()? as usize;
    let pid = mover.pid();
    all_out(&group, &sharers, &page, (pid, old))?;
    let unknown = SwapIns::now(bench, "swapin_miss_unknown", pid)?;
    let new = mover.step(0)? as usize;
    if !first {
        sharers[0].verify()?;
    }
    mover.step(0)?;
    page.verify(same)?;
    sharers[0].verify()?;
    check_eq!(
        pagemap::frames(&page.pagemap()?),
        sharers[0].frames()?,
        "frames of the two sharers"
    );
    let counted = unknown.since(bench)?;
    all_out(&group, &sharers, &page, (pid, new))?;
    check_eq!(counted, PAGES as i64, "swapin_miss_unknown");
    page.verify(same)?;
    mover.finish()?;
    sharer::finish(sharers)
}

fn stranger_first(bench: &Bench) -> Outcome {
    stranger(bench, true)
}

fn stranger_after(bench: &Bench) -> Outcome {
    stranger(bench, false)
}

fn not_mergeable(bench: &Bench) -> Outcome {
    bench.only_ours("sharing that survives swap")?;
    let mut crowd = swapping::Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    let unknown = SwapIns::now(bench, "swapin_miss_unknown", crowd.sharers[0].pid())?;
    crowd.sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    crowd.verify()?;
    let own = crowd.sharers[0].frames()?;
    check_eq!(
        pagemap::count_flag(&own, FLAG_KSM)?,
        0,
        "merged pages of the process that left"
    );
    check_eq!(unknown.since(bench)?, PAGES as i64, "swapin_miss_unknown");
    frames_become(&crowd.sharers[1..], PAGES)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    for index in 0..PAGES {
        crowd.sharers[0].write(index, LATER + index as u64)?;
    }
    crowd.verify()?;
    crowd.finish()
}

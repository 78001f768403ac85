// SPDX-License-Identifier: GPL-2.0

//! MADV_FREE by one of two processes that have the same page.
//!
//! The kernel lets a page that is neither dirty nor in the swap cache be discarded without asking who else maps it: such
//! a page has nothing that could be lost. The copies that unmerging makes are such pages, and do have. The stock kernel
//! (7.2, 7.3) loses the other process's data here.

use super::common::{joins, merged_crowd, same};
use super::swapping;
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/freed_by_fork",
        "a fork's MADV_FREE of pages that were unmerged before takes nothing from its parent",
        unmerged,
    )
    .room(Room::Swap),
    Case::new(
        "swap/freed_merged",
        "MADV_FREE of merged pages takes nothing from the other processes",
        merged,
    )
    .room(Room::Swap),
];

const PAGES: usize = 64;

/// Reclaims for a while: what may be discarded is.
fn reclaim(group: &Group) -> Outcome {
    for _ in 0..10 {
        group.reclaim(4 * PAGES * PAGE)?;
    }
    Ok(())
}

/// A region of the calling process that is merged with one of another process.
fn merged_region(bench: &Bench) -> Outcome<(Region, Vec<Sharer>)> {
    let sharers = merged_crowd(bench, 1, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    joins("the pages are merged", &sharers[0], || region.pagemap())?;
    bench.ksm.stop()?;
    Ok((region, sharers))
}

fn unmerged(bench: &Bench) -> Outcome {
    if !bench.ours() {
        return skip("the kernel's own KSM loses the parent's pages here");
    }
    swapping::device()?;
    let group = Group::enter("freed-by-fork")?;
    let (region, mut sharers) = merged_region(bench)?;
    region.unmergeable()?;
    let mut fork = Sharer::over(&region, (0..PAGES).map(same).collect())?;
    fork.advise(0, PAGES, libc::MADV_FREE)?;
    swapping::drain_lru()?;
    reclaim(&group)?;
    region.verify(same).context("the parent")?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

fn merged(bench: &Bench) -> Outcome {
    swapping::device()?;
    let group = Group::enter("freed-merged")?;
    let (region, mut sharers) = merged_region(bench)?;
    let mut fork = Sharer::over(&region, (0..PAGES).map(same).collect())?;
    fork.advise(0, PAGES, libc::MADV_FREE)?;
    sharers[0].advise(0, PAGES / 2, libc::MADV_FREE)?;
    swapping::drain_lru()?;
    reclaim(&group)?;
    region.verify(same).context("who has not freed anything")?;
    // Who has may have lost it, and has it anew.
    for index in 0..PAGES / 2 {
        sharers[0].write(index, same(index))?;
    }
    reclaim(&group)?;
    sharer::verify(&mut sharers)?;
    region.verify(same)?;
    sharer::finish(sharers)
}

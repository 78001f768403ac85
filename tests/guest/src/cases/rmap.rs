// SPDX-License-Identifier: GPL-2.0

//! How long it takes to find all mappings of a merged page.

use std::time::{Duration, Instant};

use super::common::{frames_become, same};
use super::numa;
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::ktap;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::slow;
use crate::sys::{self, PAGE};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "rmap/many_mappings",
    "a walk over a merged page's mappings does not grow with the mappings of one anon_vma that cannot have it",
    many_mappings,
)
.room(Room::Numa)
.seconds(300)];

/// Merged pages that are moved.
const PAGES: usize = 64;

/// A region of which only the first pages are used, and whose other pages are mappings of their own of one anon_vma.
fn shattered(pages: usize) -> Outcome<Region> {
    let region = Region::map(pages)?;
    region.write(0, 1);
    for index in (PAGES..pages).step_by(2) {
        let addr = region.addr() + index * PAGE;
        // SAFETY: a page of our own mapping.
        sys::check(unsafe { libc::mprotect(addr as *mut _, PAGE, libc::PROT_READ) }.into())
            .context("mprotect")?;
    }
    // What is not used later is not written by the sharer either.
    let addr = region.release();
    Ok(Region::adopt(addr, PAGES))
}

/// Time it takes to move the pages of a process with `mappings` mappings, which are merged with another's.
fn walks(bench: &Bench, mappings: usize) -> Outcome<Duration> {
    let sharers = vec![
        Sharer::start_in(|| shattered(PAGES + mappings), true, same)?,
        Sharer::start(PAGES, same)?,
    ];
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    bench.ksm.stop()?;
    // Moving a page takes two walks: to unmap it everywhere, and to map it in its new place.
    let mut best = Duration::MAX;
    for node in [1, 0, 1, 0] {
        let start = Instant::now();
        let moved = numa::move_to(&sharers[1], node)?;
        best = best.min(start.elapsed());
        check_eq!(moved, vec![node; PAGES], "nodes after move_pages");
    }
    sharer::finish(sharers)?;
    Ok(best)
}

fn many_mappings(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    const MANY: usize = 40_000;
    // Making them takes most of the time.
    let more = MANY / slow::factor() as usize;
    let few = walks(bench, 2)?;
    let many = walks(bench, more)?;
    ktap::tell(&format!(
        "{PAGES} pages moved in {few:?}, with {more} more mappings of the anon_vma in {many:?}"
    ));
    check!(
        many < few * 10 + Duration::from_millis(20),
        "moving {PAGES} pages takes {many:?} with {more} more mappings, {few:?} without"
    );
    Ok(())
}

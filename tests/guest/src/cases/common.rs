// SPDX-License-Identifier: GPL-2.0

//! What several cases need.

use crate::case::{fail, Bench, Outcome};
use crate::ksm::Ksm;
use crate::pagemap::{self, Entry};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::wait;

/// Content that is the same in every process: page `index` differs from the other pages.
pub fn same(index: usize) -> u64 {
    0x5a00_0000 + index as u64
}

/// Waits until the pages of all `sharers` lie in exactly `goal` frames.
pub fn frames_become(sharers: &[Sharer], goal: usize) -> Outcome {
    wait::until(
        &format!("pages of all processes lie in {goal} frames"),
        || {
            let entries = sharer::entries(sharers)?;
            let frames = pagemap::frames(&entries);
            let distinct = pagemap::distinct(&frames);
            // While a huge page is split its pages have no frame for an instant.
            Ok((
                distinct == goal && !entries.iter().any(|entry| entry.moving()),
                format!("{} pages in {distinct} frames", frames.len()),
            ))
        },
    )
}

/// Waits until the pages that `entries` finds are those of `other`; `what` says so.
pub fn joins(what: &str, other: &Sharer, entries: impl Fn() -> Outcome<Vec<Entry>>) -> Outcome {
    wait::until(what, || {
        Ok((pagemap::frames(&entries()?) == other.frames()?, ()))
    })
}

/// Starts `count` processes of `pages` equal pages and waits until everything is merged.
pub fn merged_crowd(bench: &Bench, count: usize, pages: usize) -> Outcome<Vec<Sharer>> {
    merged_crowd_in(bench, count, pages, || Region::map(pages))
}

/// The same over regions of `pages` pages that `map` makes.
pub fn merged_crowd_in(
    bench: &Bench,
    count: usize,
    pages: usize,
    map: impl Fn() -> Outcome<Region>,
) -> Outcome<Vec<Sharer>> {
    let sharers = (0..count)
        .map(|_| Sharer::start_in(&map, true, same))
        .collect::<Outcome<Vec<_>>>()?;
    bench.ksm.start()?;
    frames_become(&sharers, pages)?;
    Ok(sharers)
}

/// In builds of swapksm that have it: page tables against what the module believes.
pub fn self_check(ksm: &Ksm) -> Outcome {
    const FILE: &str = "selfcheck";
    if !ksm.has(FILE) {
        return Ok(());
    }
    match ksm.text(FILE)?.as_str() {
        "ok" => Ok(()),
        found => fail(format!("the self-check found differences:\n{found}")),
    }
}

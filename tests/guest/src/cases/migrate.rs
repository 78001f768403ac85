// SPDX-License-Identifier: GPL-2.0

//! Migration of merged pages.

use super::common::{frames_become, merged_crowd, same};
use super::fragments::{self, Fragments};
use super::numa;
use crate::case::{skip, Bench, Case, Outcome, Room};
use crate::pagemap::{self, FLAG_KSM};
use crate::sharer::{self, Sharer};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "migrate/move_pages",
        "move_pages moves merged pages for all their sharers",
        move_pages,
    )
    .room(Room::Numa),
    Case::new(
        "migrate/forked_copies",
        "pages that only forked copies map move as well",
        forked,
    )
    .room(Room::Numa),
    Case::new(
        "migrate/while_scanning",
        "pages move to and fro while the scanner runs",
        to_and_fro,
    )
    .room(Room::Numa),
    Case::new(
        "migrate/compaction",
        "compaction keeps merged pages merged",
        compaction,
    ),
];

const PAGES: usize = 64;

fn move_pages(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let mut sharers = merged_crowd(bench, 4, PAGES)?;
    bench.ksm.stop()?;
    for node in [1, 0, 1] {
        check_eq!(
            numa::move_to(&sharers[0], node)?,
            vec![node; PAGES],
            "nodes after move_pages"
        );
        let frames = sharers[0].frames()?;
        for sharer in &sharers {
            check_eq!(
                sharer.frames()?,
                frames,
                "frames of another process after the move"
            );
        }
        check_eq!(
            pagemap::count_flag(&frames, FLAG_KSM)?,
            PAGES,
            "pages that are still merged"
        );
        sharer::verify(&mut sharers)?;
    }
    bench.ksm.start()?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64)?;
    // A newcomer is merged with the pages at their new place.
    let newcomer = Sharer::start(PAGES, super::common::same)?;
    sharers.push(newcomer);
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

fn forked(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    bench.ksm.stop()?;
    let child = sharers[0].fork()?;
    check_eq!(
        numa::move_to(&sharers[1], 1)?,
        vec![1; PAGES],
        "nodes after move_pages"
    );
    let frames = sharers[1].frames()?;
    check_eq!(
        pagemap::frames(&pagemap::of(child, sharers[0].addr(), PAGES)?),
        frames,
        "frames of the forked child"
    );
    check_eq!(sharers[0].frames()?, frames, "frames of its parent");
    sharers[0].end_child()?;
    sharer::finish(sharers)
}

fn to_and_fro(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    bench.ksm.set("sleep_millisecs", 0)?;
    let mut moved = 0;
    for round in 0..40 {
        let node = (round % 2) as i32;
        let before = numa::nodes(&sharers[round % 3])?;
        // Pages that the scanner holds at the moment may refuse to move.
        numa::move_to(&sharers[round % 3], node)?;
        let now = numa::nodes(&sharers[round % 3])?;
        let has_moved = |(old, new): &(&i32, &i32)| **old == 1 - node && **new == node;
        moved += before.iter().zip(&now).filter(has_moved).count();
        sharers[round % 3].write(round % PAGES, 0x9_0000 + round as u64)?;
        if round % 8 == 7 {
            sharer::verify(&mut sharers)?;
        }
    }
    crate::runner::log(&format!("{moved} times a page has gone to the other node"));
    check!(
        moved >= 10 * PAGES,
        "in 40 rounds of {PAGES} pages only {moved} times a page has gone to the other node"
    );
    sharer::finish(sharers)
}

fn compaction(bench: &Bench) -> Outcome {
    const MANY: usize = 1024;
    const ATTEMPTS: usize = 5;
    fragments::available()?;
    // What earlier attempts had stays, so that the next finds other frames.
    let mut fillers = Vec::new();
    for _ in 0..ATTEMPTS {
        let filler = Fragments::make()?;
        let mut sharers = Sharer::crowd(2, MANY, same)?;
        bench.ksm.start()?;
        frames_become(&sharers, MANY)?;
        filler.open()?;
        fillers.push(filler);
        let before = sharers[0].frames()?;
        for _ in 0..3 {
            fragments::compact()?;
            check_eq!(
                sharers[0].frames()?,
                sharers[1].frames()?,
                "frames of both processes after compaction"
            );
            sharer::verify(&mut sharers)?;
        }
        let moved = fragments::moved(&before, &sharers[0].frames()?);
        bench.ksm.counter_becomes("pages_shared", MANY as i64)?;
        bench.ksm.counter_becomes("pages_sharing", MANY as i64)?;
        sharer::finish(sharers)?;
        crate::runner::log(&format!("compaction has moved {moved} merged pages"));
        if moved > 0 {
            return Ok(());
        }
    }
    // `races/compaction` fails then.
    skip(format!(
        "compaction has moved none of {MANY} merged pages in {ATTEMPTS} attempts"
    ))
}

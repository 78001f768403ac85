// SPDX-License-Identifier: GPL-2.0

//! Undoing merges.

use super::common::{frames_become, merged_crowd, same};
use crate::case::{Bench, Case, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM};
use crate::sharer;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "unmerge/madvise",
        "MADV_UNMERGEABLE gives one process its own pages at once",
        madvise,
    ),
    Case::new(
        "unmerge/part_of_range",
        "MADV_UNMERGEABLE on a part leaves the rest merged",
        part,
    ),
    Case::new(
        "unmerge/run_2",
        "run 2 unmerges everything, contents stay",
        run_2,
    ),
    Case::new(
        "unmerge/run_2_then_1",
        "after run 2, run 1 merges again",
        run_2_then_1,
    ),
    Case::new(
        "unmerge/run_2_forks",
        "run 2 leaves nothing of pages that forks share which no scan has come to",
        run_2_forks,
    ),
];

fn madvise(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    let frames = sharers[0].frames()?;
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "merged pages right after the call"
    );
    check_eq!(pagemap::distinct(&frames), PAGES, "frames of the process");
    bench.ksm.passes(2)?;
    check_eq!(sharers[0].frames()?, frames, "frames two passes later");
    check_eq!(
        sharers[1].frames()?,
        sharers[2].frames()?,
        "frames of the others"
    );
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    sharer::finish(sharers)
}

fn part(bench: &Bench) -> Outcome {
    const PAGES: usize = 90;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let before = sharers[0].frames()?;
    sharers[0].advise(30, 30, libc::MADV_UNMERGEABLE)?;
    let after = sharers[0].frames()?;
    for index in 0..PAGES {
        let closed = (30..60).contains(&index);
        check_eq!(
            after[index] != before[index],
            closed,
            "page {index} has a frame of its own"
        );
    }
    sharer::finish(sharers)
}

fn run_2(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut sharers = merged_crowd(bench, 4, PAGES)?;
    bench.ksm.set("run", 2)?;
    check_eq!(bench.ksm.text("run")?, "2", "run");
    let frames = sharer::frames(&sharers)?;
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "merged pages after run 2"
    );
    check_eq!(pagemap::distinct(&frames), 4 * PAGES, "frames after run 2");
    for file in [
        "pages_shared",
        "pages_sharing",
        "pages_unshared",
        "pages_volatile",
    ] {
        check_eq!(bench.ksm.number(file)?, 0, "{file} after run 2");
    }
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

fn run_2_then_1(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let sharers = merged_crowd(bench, 2, PAGES)?;
    for _ in 0..3 {
        bench.ksm.set("run", 2)?;
        check_eq!(
            pagemap::distinct(&sharer::frames(&sharers)?),
            2 * PAGES,
            "frames after run 2"
        );
        bench.ksm.start()?;
        frames_become(&sharers, PAGES)?;
    }
    check_eq!(
        sharers[0].frames()?,
        sharers[1].frames()?,
        "frames page by page"
    );
    sharer::finish(sharers)
}

fn run_2_forks(bench: &Bench) -> Outcome {
    const PAGES: usize = 512;
    bench.ksm.set("max_page_sharing", 2)?;
    let mut sharers = sharer::Sharer::crowd(4, PAGES, same)?;
    bench.ksm.start()?;
    frames_become(&sharers, 2 * PAGES)?;
    bench
        .ksm
        .counter_becomes("stable_node_dups", 2 * PAGES as i64)?;
    bench.ksm.set("run", 0)?;
    for sharer in &mut sharers {
        sharer.fork()?;
    }
    bench.ksm.set("run", 2)?;
    for file in ["stable_node_chains", "stable_node_dups"] {
        check_eq!(bench.ksm.number(file)?, 0, "{file} after run 2");
    }
    check_eq!(
        pagemap::count_flag(&sharer::frames(&sharers)?, FLAG_KSM)?,
        0,
        "merged pages after run 2"
    );
    for sharer in &mut sharers {
        sharer.verify_child()?;
        sharer.end_child()?;
    }
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

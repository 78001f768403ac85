// SPDX-License-Identifier: GPL-2.0

//! `max_page_sharing` and the chains it makes.

use super::common::{frames_become, merged_crowd};
use crate::case::{Bench, Case, Outcome};
use crate::pagemap;
use crate::region::Region;
use crate::sharer;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "chains/limit",
        "no frame has more sharers than max_page_sharing",
        limit,
    ),
    Case::new(
        "chains/many_in_one_process",
        "1000 equal pages with max_page_sharing 100",
        many,
    ),
    Case::new(
        "chains/busy_while_merged",
        "max_page_sharing cannot be changed while pages are merged",
        busy,
    ),
    Case::new(
        "chains/one_again",
        "copies become one as soon as one has room for all sharers",
        one_again,
    ),
    Case::new("chains/go_away", "chains go away with their pages", go_away),
];

fn limit(bench: &Bench) -> Outcome {
    const PAGES: usize = 16;
    for (maximum, frames) in [(2, 4), (3, 3), (8, 1)] {
        bench.ksm.set("run", 2)?;
        bench.ksm.set("max_page_sharing", maximum)?;
        let sharers = sharer::Sharer::crowd(8, PAGES, super::common::same)?;
        bench.ksm.start()?;
        frames_become(&sharers, PAGES * frames)?;
        let most = pagemap::sharers(&sharer::frames(&sharers)?)
            .into_values()
            .max();
        check!(
            most <= Some(maximum),
            "a frame has {most:?} sharers with max_page_sharing {maximum}"
        );
        let chains = if frames > 1 { PAGES as i64 } else { 0 };
        bench.ksm.counter_becomes("stable_node_chains", chains)?;
        if chains > 0 {
            bench
                .ksm
                .counter_becomes("stable_node_dups", (PAGES * frames) as i64)?;
        }
        bench
            .ksm
            .counter_becomes("pages_shared", (PAGES * frames) as i64)?;
        bench
            .ksm
            .counter_becomes("pages_sharing", (PAGES * (8 - frames)) as i64)?;
        sharer::finish(sharers)?;
    }
    Ok(())
}

fn many(bench: &Bench) -> Outcome {
    bench.ksm.set("max_page_sharing", 100)?;
    let region = Region::map(1000)?;
    region.fill(|_| 4);
    region.mergeable()?;
    bench.ksm.start()?;
    wait::until("1000 equal pages lie in 10 frames", || {
        let distinct = pagemap::distinct(&pagemap::frames(&region.pagemap()?));
        Ok((distinct == 10, distinct))
    })?;
    let counts = pagemap::sharers(&pagemap::frames(&region.pagemap()?));
    check_eq!(counts.into_values().max(), Some(100), "sharers of a frame");
    region.verify(|_| 4)?;
    region.fill(|index| 1 + index as u64);
    region.verify(|index| 1 + index as u64)
}

fn busy(bench: &Bench) -> Outcome {
    let sharers = merged_crowd(bench, 2, 16)?;
    let refused = bench
        .ksm
        .try_set("max_page_sharing", "100")
        .err()
        .and_then(|error| error.raw_os_error());
    check_eq!(
        refused,
        Some(libc::EBUSY),
        "setting max_page_sharing while pages are merged"
    );
    check_eq!(
        bench.ksm.number("max_page_sharing")?,
        256,
        "max_page_sharing"
    );
    bench.ksm.set("run", 2)?;
    bench.ksm.set("max_page_sharing", 100)?;
    sharer::finish(sharers)
}

fn one_again(bench: &Bench) -> Outcome {
    const PAGES: usize = 16;
    bench.only_ours("copies that become one")?;
    bench.ksm.set("max_page_sharing", 4)?;
    let mut sharers = sharer::Sharer::crowd(7, PAGES, super::common::same)?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES * 2)?;
    // Of each page one copy has four sharers and the other three, whoever they are.
    sharer::finish(sharers.drain(..3).collect())?;
    frames_become(&sharers, PAGES)?;
    bench.ksm.counter_becomes("stable_node_chains", 0)?;
    bench.ksm.counter_becomes("stable_node_dups", 0)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64)?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

fn go_away(bench: &Bench) -> Outcome {
    const PAGES: usize = 16;
    bench.ksm.set("max_page_sharing", 2)?;
    bench.ksm.set("stable_node_chains_prune_millisecs", 100)?;
    let mut sharers = sharer::Sharer::crowd(6, PAGES, super::common::same)?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES * 3)?;
    // One process is left: nothing is shared any more, its content stays.
    let last = sharers.pop().expect("six were started");
    sharer::finish(sharers)?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    last.finish()?;
    bench.ksm.set("run", 2)?;
    bench.ksm.counter_becomes("stable_node_chains", 0)?;
    bench.ksm.counter_becomes("stable_node_dups", 0)
}

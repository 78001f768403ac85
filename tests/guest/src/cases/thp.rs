// SPDX-License-Identifier: GPL-2.0

//! Transparent huge pages.

use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{HUGE, PAGE};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "thp/equal_huge_pages",
        "equal huge pages are split and merged",
        equal,
    ),
    Case::new(
        "thp/different_stay_huge",
        "huge pages with nothing to merge stay huge",
        different,
    ),
    Case::new(
        "thp/one_equal_page",
        "one equal base page in a huge page is merged",
        one_equal,
    ),
    Case::new(
        "thp/same_page_inside",
        "equal base pages inside one huge page are merged",
        inside,
    ),
];

const PAGES: usize = HUGE / PAGE;
/// Kilobytes of a huge page.
const KILOBYTES: i64 = HUGE as i64 >> 10;

/// A process with one huge page; skips when the machine gives none.
fn huge_sharer(seed: impl Fn(usize) -> u64) -> Outcome<Sharer> {
    let sharer = Sharer::start_in(|| Region::map_huge(1), true, seed)?;
    if huge_kilobytes(&sharer)? != KILOBYTES {
        return skip("no huge page was given for an aligned 2 MiB range");
    }
    Ok(sharer)
}

fn huge_kilobytes(sharer: &Sharer) -> Outcome<i64> {
    procfs::smaps(sharer.pid(), sharer.addr(), HUGE, "AnonHugePages")
}

fn content(index: usize) -> u64 {
    0x7000 + index as u64
}

fn equal(bench: &Bench) -> Outcome {
    let sharers = vec![huge_sharer(content)?, huge_sharer(content)?];
    bench.ksm.start()?;
    super::common::frames_become(&sharers, PAGES)?;
    for sharer in &sharers {
        check_eq!(huge_kilobytes(sharer)?, 0, "AnonHugePages after merging");
    }
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    sharer::finish(sharers)
}

fn different(bench: &Bench) -> Outcome {
    let mut sharers = Vec::new();
    for number in 1..=3 {
        sharers.push(huge_sharer(|index| number << 32 | index as u64)?);
    }
    bench.ksm.start()?;
    bench.ksm.passes(4)?;
    for sharer in &sharers {
        check_eq!(
            huge_kilobytes(sharer)?,
            KILOBYTES,
            "AnonHugePages with nothing to merge"
        );
    }
    check_eq!(bench.ksm.number("pages_sharing")?, 0, "pages_sharing");
    sharer::finish(sharers)
}

fn one_equal(bench: &Bench) -> Outcome {
    let own = |number: u64| {
        move |index: usize| {
            if index == 100 {
                7
            } else {
                number << 32 | index as u64
            }
        }
    };
    let sharers = vec![huge_sharer(own(1))?, huge_sharer(own(2))?];
    bench.ksm.start()?;
    wait::until("page 100 of both processes is one frame", || {
        // While a huge page is being split its entries say nothing.
        let frame =
            |sharer: &Sharer| -> Outcome<Option<u64>> { Ok(sharer.pagemap()?[100].frame()) };
        let (one, other) = (frame(&sharers[0])?, frame(&sharers[1])?);
        Ok((one.is_some() && one == other, ()))
    })?;
    let frames = sharer::frames(&sharers)?;
    check_eq!(pagemap::distinct(&frames), 2 * PAGES - 1, "frames of both");
    sharer::finish(sharers)
}

fn inside(bench: &Bench) -> Outcome {
    let sharer = huge_sharer(|index| 1 + index as u64 % 8)?;
    bench.ksm.start()?;
    wait::until("the huge page's base pages lie in 8 frames", || {
        let distinct = pagemap::distinct(&sharer.frames()?);
        Ok((distinct == 8, distinct))
    })?;
    sharer.finish().context("process")
}

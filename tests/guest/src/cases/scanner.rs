// SPDX-License-Identifier: GPL-2.0

//! The scanner and its pace.

use super::common::merged_crowd;
use crate::case::{Bench, Case, Outcome};
use crate::sharer::{self, Sharer};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "scanner/smart_scan",
        "smart_scan 1 skips pages that never merge, 0 does not",
        smart_scan,
    ),
    Case::new(
        "scanner/smart_scan_still_merges",
        "skipped pages are merged when they get an equal",
        still_merges,
    ),
    Case::new(
        "scanner/advisor",
        "the scan-time advisor sets pages_to_scan, which is then read-only",
        advisor,
    ),
    Case::new(
        "scanner/pace",
        "pages_to_scan and sleep_millisecs bound the pages scanned in a time",
        pace,
    ),
    Case::new(
        "scanner/sleep_change_wakes",
        "a shorter sleep_millisecs takes effect at once",
        sleep_change,
    ),
    Case::new(
        "scanner/cut_short",
        "a pass that was stopped half-way, and that others have joined since, is followed by one that counts",
        cut_short,
    ),
    Case::new(
        "scanner/counters",
        "the counters of pages add up to the pages watched",
        counters,
    ),
];

/// Content without an equal.
fn unique(index: usize) -> u64 {
    0x4_0000 + index as u64
}

fn smart_scan(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let sharer = Sharer::start(PAGES, unique)?;
    bench.ksm.start()?;
    let before = bench.ksm.number("pages_skipped")?;
    bench.ksm.passes(8)?;
    check_eq!(
        bench.ksm.number("pages_skipped")?,
        before,
        "pages_skipped with smart_scan 0"
    );
    bench.ksm.set("smart_scan", 1)?;
    bench.ksm.passes(10)?;
    let skipped = bench.ksm.number("pages_skipped")? - before;
    check!(
        skipped >= PAGES as i64,
        "pages_skipped grew by {skipped} in 10 passes over {PAGES} pages"
    );
    sharer.finish()
}

fn still_merges(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    bench.ksm.set("smart_scan", 1)?;
    let mut sharers = vec![Sharer::start(PAGES, unique)?];
    bench.ksm.start()?;
    bench.ksm.passes(12)?;
    sharers.push(Sharer::start(PAGES, unique)?);
    super::common::frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

fn advisor(bench: &Bench) -> Outcome {
    let sharer = Sharer::start(64, unique)?;
    check_eq!(
        bench.ksm.text("advisor_mode")?,
        "[none] scan-time",
        "advisor_mode"
    );
    bench.ksm.set("advisor_min_pages_to_scan", 555)?;
    bench.ksm.set("advisor_mode", "scan-time")?;
    check_eq!(
        bench.ksm.number("pages_to_scan")?,
        555,
        "pages_to_scan at the advisor's start"
    );
    check_eq!(
        bench.ksm.text("advisor_mode")?,
        "none [scan-time]",
        "advisor_mode"
    );
    let refused = bench
        .ksm
        .try_set("pages_to_scan", "123")
        .err()
        .and_then(|error| error.raw_os_error());
    check_eq!(
        refused,
        Some(libc::EINVAL),
        "setting pages_to_scan under the advisor"
    );
    bench.ksm.set("advisor_max_pages_to_scan", 777)?;
    bench.ksm.start()?;
    wait::until(
        "the advisor goes to its maximum, for so few pages are scanned in no time",
        || {
            let now = bench.ksm.number("pages_to_scan")?;
            Ok((now == 777, now))
        },
    )?;
    bench.ksm.set("advisor_mode", "none")?;
    bench.ksm.set("pages_to_scan", 123)?;
    check_eq!(
        bench.ksm.number("pages_to_scan")?,
        123,
        "pages_to_scan without the advisor"
    );
    sharer.finish()
}

fn pace(bench: &Bench) -> Outcome {
    let sharer = Sharer::start(64, unique)?;
    bench.ksm.set("pages_to_scan", 10)?;
    bench.ksm.set("sleep_millisecs", 100)?;
    let before = bench.ksm.number("pages_scanned")?;
    let start = std::time::Instant::now();
    bench.ksm.start()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    bench.ksm.stop()?;
    let scanned = bench.ksm.number("pages_scanned")? - before;
    // One batch at the start, then at most one every 100 ms.
    let most = 10 * (2 + start.elapsed().as_millis() as i64 / 100);
    check!(
        scanned > 0 && scanned <= most,
        "{scanned} pages scanned, at most {most} are allowed"
    );
    sharer.finish()
}

fn sleep_change(bench: &Bench) -> Outcome {
    let sharer = Sharer::start(64, unique)?;
    bench.ksm.set("sleep_millisecs", 3_600_000)?;
    bench.ksm.set("pages_to_scan", 10)?;
    let before = bench.ksm.number("pages_scanned")?;
    bench.ksm.start()?;
    wait::until("the first batch is scanned", || {
        let now = bench.ksm.number("pages_scanned")?;
        Ok((now >= before + 10, now - before))
    })?;
    bench.ksm.set("sleep_millisecs", 10)?;
    bench.ksm.passes(2)?;
    sharer.finish()
}

fn cut_short(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let first = Sharer::start(PAGES, unique)?;
    // No second batch by itself.
    bench.ksm.set("sleep_millisecs", 600_000)?;
    bench.ksm.set("pages_to_scan", 10)?;
    let scanned = bench.ksm.number("pages_scanned")?;
    bench.ksm.start()?;
    wait::until("ten pages are scanned", || {
        let now = bench.ksm.number("pages_scanned")? - scanned;
        Ok((now >= 10, now))
    })?;
    bench.ksm.stop()?;
    let second = Sharer::start(PAGES, |index| unique(PAGES + index))?;
    bench.ksm.set("pages_to_scan", 20_000)?;
    let before = bench.ksm.number("full_scans")?;
    bench.ksm.start()?;
    wait::until("a pass counts", || {
        let now = bench.ksm.number("full_scans")?;
        Ok((now > before, now))
    })?;
    sharer::finish(vec![first, second])
}

fn counters(bench: &Bench) -> Outcome {
    const PAGES: i64 = 64;
    let sharers = merged_crowd(bench, 3, PAGES as usize)?;
    let single = Sharer::start(PAGES as usize, unique)?;
    bench.ksm.counter_becomes("pages_unshared", PAGES)?;
    check_eq!(bench.ksm.number("pages_shared")?, PAGES, "pages_shared");
    check_eq!(
        bench.ksm.number("pages_sharing")?,
        2 * PAGES,
        "pages_sharing"
    );
    bench.ksm.counter_becomes("pages_volatile", 0)?;
    single.finish()?;
    bench.ksm.counter_becomes("pages_unshared", 0)?;
    sharer::finish(sharers)
}

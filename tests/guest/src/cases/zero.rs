// SPDX-License-Identifier: GPL-2.0

//! Pages of zeroes.

use crate::case::{Bench, Case, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM, FLAG_ZERO};
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "zero/to_zero_page",
        "use_zero_pages 1 maps the kernel's zero page",
        to_zero_page,
    ),
    Case::new(
        "zero/merged_as_others",
        "use_zero_pages 0 merges zeroes as any content",
        merged,
    ),
    Case::new(
        "zero/write_after",
        "writes to merged zero pages are counted off",
        write_after,
    ),
    Case::new(
        "zero/unmerge",
        "MADV_UNMERGEABLE and run 2 give zero pages back",
        unmerge,
    ),
    Case::new(
        "zero/process_end",
        "the count of zero pages ends with the process",
        process_end,
    ),
    Case::new(
        "zero/fork",
        "zero pages of forked copies are counted and counted off",
        fork,
    ),
];

const PAGES: usize = 128;

/// A region of written zeroes, opened to merging.
fn zeroes() -> Outcome<Region> {
    let region = Region::map(PAGES)?;
    // Writing makes frames of our own.
    region.fill(|_| 0);
    region.mergeable()?;
    Ok(region)
}

fn wait_for_zero_page(region: &Region, count: usize) -> Outcome {
    wait::until("pages become the zero page", || {
        let frames = pagemap::frames(&region.pagemap()?);
        let zero = pagemap::count_flag(&frames, FLAG_ZERO)?;
        Ok((zero == count, zero))
    })
}

fn to_zero_page(bench: &Bench) -> Outcome {
    bench.ksm.set("use_zero_pages", 1)?;
    let region = zeroes()?;
    let me = std::process::id() as i32;
    bench.ksm.start()?;
    wait_for_zero_page(&region, PAGES)?;
    region.verify(|_| 0)?;
    bench.ksm.counter_becomes("ksm_zero_pages", PAGES as i64)?;
    check_eq!(bench.ksm.number("pages_shared")?, 0, "pages_shared");
    check_eq!(
        procfs::ksm_stat(me, "ksm_zero_pages")?,
        PAGES as i64,
        "zero pages of the process"
    );
    Ok(())
}

fn merged(bench: &Bench) -> Outcome {
    let region = zeroes()?;
    bench.ksm.start()?;
    wait::until("zero pages lie in one frame", || {
        let distinct = pagemap::distinct(&pagemap::frames(&region.pagemap()?));
        Ok((distinct == 1, distinct))
    })?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        PAGES,
        "merged pages"
    );
    check_eq!(
        pagemap::count_flag(&frames, FLAG_ZERO)?,
        0,
        "zero pages of the kernel"
    );
    check_eq!(bench.ksm.number("ksm_zero_pages")?, 0, "ksm_zero_pages");
    region.verify(|_| 0)
}

fn write_after(bench: &Bench) -> Outcome {
    bench.ksm.set("use_zero_pages", 1)?;
    let region = zeroes()?;
    bench.ksm.start()?;
    wait_for_zero_page(&region, PAGES)?;
    bench.ksm.stop()?;
    for index in 0..PAGES / 2 {
        region.write(index, 0x1000 + index as u64);
    }
    let half = PAGES as i64 / 2;
    bench.ksm.counter_becomes("ksm_zero_pages", half)?;
    check_eq!(
        procfs::ksm_stat(std::process::id() as i32, "ksm_zero_pages")?,
        half,
        "of the process"
    );
    region.verify(|index| {
        if index < PAGES / 2 {
            0x1000 + index as u64
        } else {
            0
        }
    })
}

fn unmerge(bench: &Bench) -> Outcome {
    bench.ksm.set("use_zero_pages", 1)?;
    let region = zeroes()?;
    bench.ksm.start()?;
    wait_for_zero_page(&region, PAGES)?;
    region.advise_pages(0..PAGES / 2, libc::MADV_UNMERGEABLE)?;
    wait_for_zero_page(&region, PAGES / 2)?;
    check_eq!(
        bench.ksm.number("ksm_zero_pages")?,
        PAGES as i64 / 2,
        "ksm_zero_pages after half"
    );
    bench.ksm.set("run", 2)?;
    wait_for_zero_page(&region, 0)?;
    check_eq!(
        bench.ksm.number("ksm_zero_pages")?,
        0,
        "ksm_zero_pages after run 2"
    );
    region.verify(|_| 0)
}

fn process_end(bench: &Bench) -> Outcome {
    bench.ksm.set("use_zero_pages", 1)?;
    let sharers = Sharer::crowd(2, PAGES, |_| 0)?;
    bench.ksm.start()?;
    bench
        .ksm
        .counter_becomes("ksm_zero_pages", 2 * PAGES as i64)?;
    sharer::finish(sharers)?;
    bench.ksm.counter_becomes("ksm_zero_pages", 0)
}

fn fork(bench: &Bench) -> Outcome {
    bench.only_ours("a count of zero pages that survives fork (it goes below zero)")?;
    bench.ksm.set("use_zero_pages", 1)?;
    let mut sharer = Sharer::start(PAGES, |_| 0)?;
    bench.ksm.start()?;
    bench.ksm.counter_becomes("ksm_zero_pages", PAGES as i64)?;
    sharer.fork()?;
    sharer.end_child()?;
    bench.ksm.counter_becomes("ksm_zero_pages", PAGES as i64)?;
    sharer.finish()?;
    bench.ksm.counter_becomes("ksm_zero_pages", 0)
}

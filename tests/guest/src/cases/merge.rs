// SPDX-License-Identifier: GPL-2.0

//! Which pages are merged and which are not.

use super::common::{frames_become, same};
use crate::case::{Bench, Case, Outcome};
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "merge/one_process",
        "identical pages of one process become one frame",
        one_process,
    ),
    Case::new(
        "merge/two_processes",
        "identical pages of two processes become one frame each",
        two_processes,
    ),
    Case::new(
        "merge/four_processes_half",
        "of 4 processes the equal half is merged, the unique half stays",
        half,
    ),
    Case::new(
        "merge/last_byte_differs",
        "pages that differ in their last byte are not merged",
        last_byte,
    ),
    Case::new(
        "merge/late_process",
        "a process that comes later joins the merged pages",
        late,
    ),
    Case::new(
        "merge/only_where_advised",
        "memory without MADV_MERGEABLE is left alone",
        only_advised,
    ),
    Case::new(
        "merge/stopped_scanner",
        "run 0 merges nothing and keeps what is merged",
        stopped,
    ),
    Case::new(
        "merge/volatile_pages",
        "pages that change in every pass are not merged",
        volatile,
    ),
];

fn one_process(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let region = Region::map(PAGES)?;
    region.fill(|index| 1 + index as u64 % 4);
    region.mergeable()?;
    bench.ksm.start()?;
    wait::until("256 pages of four contents lie in 4 frames", || {
        let distinct = pagemap::distinct(&pagemap::frames(&region.pagemap()?));
        Ok((distinct == 4, distinct))
    })?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(frames.len(), PAGES, "present pages");
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        PAGES,
        "pages the kernel shows as KSM"
    );
    region.verify(|index| 1 + index as u64 % 4)?;
    bench.ksm.counter_becomes("pages_shared", 4)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64 - 4)
}

fn two_processes(bench: &Bench) -> Outcome {
    const PAGES: usize = 512;
    let mut sharers = Sharer::crowd(2, PAGES, same)?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    check_eq!(
        sharers[0].frames()?,
        sharers[1].frames()?,
        "frames of both processes, page by page"
    );
    sharer::verify(&mut sharers)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    bench.ksm.counter_becomes("pages_unshared", 0)?;
    sharer::finish(sharers)
}

/// Content of page `index` of process `number`: the first half is everybody's, the rest its own.
fn half_unique(number: u64, index: usize, pages: usize) -> u64 {
    if index < pages / 2 {
        return same(index);
    }
    (number + 1) << 40 | index as u64
}

fn half(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut sharers = Vec::new();
    for number in 0..4 {
        sharers.push(Sharer::start(PAGES, |index| {
            half_unique(number, index, PAGES)
        })?);
    }
    bench.ksm.start()?;
    frames_become(&sharers, PAGES / 2 + 4 * PAGES / 2)?;
    bench.ksm.passes(2)?;
    let frames = sharer::frames(&sharers)?;
    check_eq!(
        pagemap::distinct(&frames),
        PAGES / 2 + 4 * PAGES / 2,
        "frames two passes later"
    );
    sharer::verify(&mut sharers)?;
    bench
        .ksm
        .counter_becomes("pages_shared", PAGES as i64 / 2)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64 / 2)?;
    bench
        .ksm
        .counter_becomes("pages_unshared", 4 * PAGES as i64 / 2)?;
    sharer::finish(sharers)
}

fn last_byte(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let region = Region::map(PAGES)?;
    region.fill(|_| 9);
    for index in 0..PAGES {
        region.poke(index, 4095, index as u8);
    }
    region.mergeable()?;
    bench.ksm.start()?;
    bench.ksm.passes(4)?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(
        pagemap::distinct(&frames),
        PAGES,
        "frames of pages that all differ"
    );
    for index in 0..PAGES {
        check_eq!(
            region.peek(index, 4095),
            index as u8,
            "last byte of page {index}"
        );
    }
    check_eq!(bench.ksm.number("pages_sharing")?, 0, "pages_sharing");
    Ok(())
}

fn late(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = super::common::merged_crowd(bench, 2, PAGES)?;
    let before = sharers[0].frames()?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    check_eq!(sharers[2].frames()?, before, "frames of the late process");
    sharer::finish(sharers)
}

fn only_advised(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = Sharer::crowd(2, PAGES, same)?;
    let mut other = Sharer::start_in(|| Region::map(PAGES), false, same)?;
    let before = other.frames()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    bench.ksm.passes(2)?;
    check_eq!(
        other.frames()?,
        before,
        "frames of the process that did not ask"
    );
    check_eq!(
        pagemap::count_flag(&before, FLAG_KSM)?,
        0,
        "its pages that are KSM"
    );
    other.verify()?;
    sharer::verify(&mut sharers)
}

fn stopped(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let sharers = Sharer::crowd(2, PAGES, same)?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    check_eq!(
        pagemap::distinct(&sharer::frames(&sharers)?),
        2 * PAGES,
        "frames while run is 0"
    );
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    bench.ksm.stop()?;
    let scans = bench.ksm.number("pages_scanned")?;
    let late = Sharer::start(PAGES, same)?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    check_eq!(
        bench.ksm.number("pages_scanned")?,
        scans,
        "pages_scanned after run 0"
    );
    check_eq!(
        pagemap::distinct(&sharer::frames(&sharers)?),
        PAGES,
        "frames of what is merged"
    );
    check_eq!(
        pagemap::count_flag(&late.frames()?, FLAG_KSM)?,
        0,
        "merged pages of the late process"
    );
    sharer::finish(sharers)
}

fn volatile(bench: &Bench) -> Outcome {
    const PAGES: usize = 16;
    let regions = [Region::map(PAGES)?, Region::map(PAGES)?];
    bench.ksm.set("sleep_millisecs", 50)?;
    let start = bench.ksm.number("full_scans")?;
    let (mut seed, mut looks) = (1, 0);
    regions.iter().try_for_each(Region::mergeable)?;
    bench.ksm.start()?;
    // Both regions stay equal to each other and change all the time.
    let deadline = std::time::Instant::now() + wait::patience();
    while bench.ksm.number("full_scans")? < start + 10 || looks == 0 {
        check!(
            std::time::Instant::now() < deadline,
            "10 passes, and a look at pages within one of them, took longer than {:?}",
            wait::patience()
        );
        seed += 1;
        let pass = bench.ksm.number("full_scans")?;
        regions
            .iter()
            .for_each(|region| region.fill(|index| seed << 16 | index as u64));
        let mut merged = 0;
        for region in &regions {
            merged += pagemap::count_flag(&pagemap::frames(&region.pagemap()?), FLAG_KSM)?;
            region.verify(|index| seed << 16 | index as u64)?;
        }
        // The scanner has come by once at most: a page is merged when it has not changed between two visits.
        if bench.ksm.number("full_scans")? == pass {
            looks += 1;
            check_eq!(merged, 0, "merged pages right after a write");
        }
    }
    Ok(())
}

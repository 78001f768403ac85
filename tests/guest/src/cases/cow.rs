// SPDX-License-Identifier: GPL-2.0

//! Copy on write of merged pages.

use std::os::unix::net::UnixStream;

use super::common::{joins, merged_crowd, same};
use crate::case::{Bench, Case, Context, Outcome};
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "cow/writer_only",
        "a write changes the writer's page only",
        writer_only,
    ),
    Case::new(
        "cow/one_byte",
        "a write of one byte keeps the rest of the page",
        one_byte,
    ),
    Case::new(
        "cow/everybody_writes",
        "all sharers write, each sees its own",
        everybody,
    ),
    Case::new(
        "cow/kernel_writes",
        "read(2) into a merged page changes the caller's page only",
        kernel_writes,
    ),
    Case::new(
        "cow/equal_again",
        "pages that become equal again are merged again",
        equal_again,
    ),
];

fn writer_only(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    bench.ksm.stop()?;
    let before = sharers[0].frames()?;
    for index in (0..PAGES).step_by(2) {
        sharers[1].write(index, 0x7700 + index as u64)?;
    }
    let written = sharers[1].frames()?;
    for (index, (now, then)) in written.iter().zip(&before).enumerate() {
        check_eq!(
            now == then,
            index % 2 == 1,
            "page {index} of the writer is still shared"
        );
    }
    check_eq!(
        sharers[0].frames()?,
        before,
        "frames of a process that did not write"
    );
    check_eq!(
        sharers[2].frames()?,
        before,
        "frames of another that did not write"
    );
    bench
        .ksm
        .counter_becomes("pages_shared", PAGES as i64)
        .or_else(|_| {
            // The kernel's own KSM notices a write when the scanner comes by.
            bench.ksm.start()?;
            bench.ksm.counter_becomes("pages_shared", PAGES as i64)
        })?;
    sharer::finish(sharers)
}

fn one_byte(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let regions = [Region::map(PAGES)?, Region::map(PAGES)?];
    for region in &regions {
        region.fill(same);
        region.mergeable()?;
    }
    bench.ksm.start()?;
    crate::wait::until("both regions share frames", || {
        let frames = (regions[0].pagemap()?, regions[1].pagemap()?);
        Ok((pagemap::frames(&frames.0) == pagemap::frames(&frames.1), ()))
    })?;
    bench.ksm.stop()?;
    for index in 0..PAGES {
        let old = regions[1].peek(index, 100 + index);
        regions[0].poke(index, 100 + index, !old);
        check_eq!(
            regions[0].peek(index, 100 + index),
            !old,
            "written byte of page {index}"
        );
        regions[1]
            .verify_page(index, same(index))
            .context("the other page")?;
        regions[0].poke(index, 100 + index, old);
        regions[0]
            .verify_page(index, same(index))
            .context("the rest of the written page")?;
    }
    let frames = pagemap::frames(&regions[0].pagemap()?);
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "written pages that are still merged"
    );
    Ok(())
}

fn everybody(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let mut sharers = merged_crowd(bench, 4, PAGES)?;
    for index in 0..PAGES {
        for (number, sharer) in sharers.iter_mut().enumerate() {
            sharer.write(index, (number as u64 + 1) << 32 | index as u64)?;
        }
    }
    sharer::verify(&mut sharers)?;
    super::common::frames_become(&sharers, 4 * PAGES)?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    bench.ksm.counter_becomes("pages_shared", 0)?;
    sharer::finish(sharers)
}

fn kernel_writes(bench: &Bench) -> Outcome {
    const PAGES: usize = 32;
    let mut sharers = Sharer::crowd(2, PAGES, same)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    bench.ksm.start()?;
    joins("our pages are merged with the others'", &sharers[0], || {
        region.pagemap()
    })?;
    let source = Region::map(1)?;
    source.write(0, 0xbeef);
    for index in 0..PAGES {
        let (mut from, mut to) = UnixStream::pair().context("socketpair")?;
        // SAFETY: both are whole pages of our own mappings, nothing else refers to them.
        let (bytes, place) = unsafe {
            (
                std::slice::from_raw_parts(source.page(0).cast::<u8>(), PAGE),
                std::slice::from_raw_parts_mut(region.page(index).cast::<u8>(), PAGE),
            )
        };
        std::io::Write::write_all(&mut to, bytes).context("write to a socket")?;
        std::io::Read::read_exact(&mut from, place).context("read into a merged page")?;
    }
    region.verify(|_| 0xbeef)?;
    sharer::verify(&mut sharers)?;
    check!(
        sharers[0].frames()? == sharers[1].frames()?,
        "the others share no more"
    );
    sharer::finish(sharers)
}

fn equal_again(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    for index in 0..PAGES {
        sharers[0].write(index, 0x4400)?;
    }
    sharer::verify(&mut sharers)?;
    for index in 0..PAGES {
        sharers[0].write(index, same(index))?;
    }
    super::common::frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

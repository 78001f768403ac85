// SPDX-License-Identifier: GPL-2.0

//! Write protection through userfaultfd.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::common::{joins, merged_crowd, same};
use crate::case::{Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer;
use crate::sys::PAGE;
use crate::userfault::{self, Faults};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "uffd/write_protect",
        "every first write to a protected merged page is reported",
        write_protect,
    ),
    Case::new(
        "uffd/unmerge_protected",
        "MADV_UNMERGEABLE works on protected merged pages",
        unmerge,
    ),
];

const PAGES: usize = 64;

/// A userfaultfd registered for write protection of a region.
pub(super) struct Protection {
    faults: Faults,
    addr: usize,
    len: usize,
}

impl Protection {
    /// Opens one; skips where there is none.
    pub(super) fn new(region: &Region) -> Outcome<Protection> {
        let faults = Faults::open(userfault::FEATURE_PAGEFAULT_FLAG_WP, "write protection")?;
        faults.register(region, userfault::MODE_WP)?;
        let (addr, len) = (region.addr(), region.len());
        Ok(Protection { faults, addr, len })
    }

    /// Protects the whole region.
    pub(super) fn protect(&self) -> Outcome {
        let mut words = [self.addr as u64, self.len as u64, 1];
        self.faults
            .ioctl(userfault::WRITEPROTECT, &mut words)
            .context("UFFDIO_WRITEPROTECT")
    }

    /// Lets writes through as they come, counts them, until the process ends.
    fn answer(self, count: &AtomicUsize) -> io::Result<()> {
        loop {
            let page = self.faults.next()?;
            count.fetch_add(1, Ordering::SeqCst);
            self.faults
                .ioctl(userfault::WRITEPROTECT, &mut [page, PAGE as u64, 0])?;
        }
    }
}

/// A region of ours merged with two other processes.
pub fn merged_region(bench: &Bench) -> Outcome<(Vec<sharer::Sharer>, Region)> {
    let others = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    joins("the region is merged", &others[0], || region.pagemap())?;
    Ok((others, region))
}

fn write_protect(bench: &Bench) -> Outcome {
    let (others, region) = merged_region(bench)?;
    let protection = Protection::new(&region)?;
    protection.protect()?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        others[0].frames()?,
        "frames after protecting"
    );
    bench.ksm.passes(2)?;
    region.verify(same)?;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let handler = std::thread::spawn(move || protection.answer(&counter));
    for index in 0..PAGES / 2 {
        region.write(index, 0x3_3000 + index as u64);
        region.poke(index, 0, region.peek(index, 0));
    }
    check_eq!(
        handler.is_finished(),
        false,
        "the handler has ended with an error"
    );
    check_eq!(count.load(Ordering::SeqCst), PAGES / 2, "writes reported");
    region.verify(|index| {
        if index < PAGES / 2 {
            0x3_3000 + index as u64
        } else {
            same(index)
        }
    })?;
    sharer::finish(others)
}

fn unmerge(bench: &Bench) -> Outcome {
    let (others, region) = merged_region(bench)?;
    let protection = Protection::new(&region)?;
    protection.protect()?;
    region.unmergeable()?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(pagemap::count_flag(&frames, FLAG_KSM)?, 0, "merged pages");
    region.verify(same)?;
    sharer::finish(others)
}

// SPDX-License-Identifier: GPL-2.0

//! A race with PAGEMAP_SCAN, which tells the pages that were written and has the kernel watch them anew, in one step: it
//! changes page-table entries by itself, and userfaultfd tells nobody of writes (`UFFD_FEATURE_WP_ASYNC`).

use std::fs::File;
use std::os::fd::AsRawFd;

use super::race::{Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::check;
use crate::content::Random;
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::userfault::{Faults, FEATURE_WP_ASYNC, FEATURE_WP_UNPOPULATED, MODE_WP};

const RACERS: usize = 2;
/// `PAGEMAP_SCAN`
const SCAN: u64 = 0xc060_6610;
/// `PM_SCAN_WP_MATCHING`: what is told is watched anew.
const WATCH: u64 = 1;
/// `PM_SCAN_CHECK_WPASYNC`: only where writes are watched at all.
const CHECK: u64 = 2;
/// `PAGE_IS_WRITTEN`
const WRITTEN: u64 = 2;

/// `struct pm_scan_arg`
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    most_regions: u64,
    most_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    told: u64,
}

/// `struct page_region`
#[repr(C)]
#[derive(Clone, Copy)]
struct Told {
    start: u64,
    end: u64,
    categories: u64,
}

/// A racer whose writes are noted by the kernel.
struct Noted {
    racer: Racer,
    pagemap: File,
    /// Open for as long as its memory is watched.
    _faults: Faults,
}

impl AsMut<Racer> for Noted {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl Noted {
    fn new(random: &mut Random) -> Outcome<Noted> {
        let racer = Racer::new(Region::map(PAGES)?, random)?;
        let faults = Faults::open(
            FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED,
            "writes that it lets through",
        )?;
        faults.register(&racer.part.region, MODE_WP)?;
        Ok(Noted {
            racer,
            pagemap: File::open("/proc/self/pagemap").context("pagemap")?,
            _faults: faults,
        })
    }

    /// The pages that were written since they were told last; they are watched anew.
    fn written(&self) -> Outcome<Vec<bool>> {
        let region = &self.racer.part.region;
        let none = Told {
            start: 0,
            end: 0,
            categories: 0,
        };
        let mut regions = [none; PAGES];
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: WATCH | CHECK,
            start: region.addr() as u64,
            end: (region.addr() + region.len()) as u64,
            walk_end: 0,
            regions: regions.as_mut_ptr() as u64,
            most_regions: PAGES as u64,
            most_pages: 0,
            inverted: 0,
            all_of: WRITTEN,
            any_of: 0,
            told: WRITTEN,
        };
        // SAFETY: the kernel writes to the request, and to as many regions as it names.
        let count = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), SCAN, &raw mut scan) };
        let count = sys::check(count.into()).context("PAGEMAP_SCAN")?;
        check!(
            scan.walk_end == scan.end,
            "PAGEMAP_SCAN ended at {:#x} instead of {:#x}",
            scan.walk_end,
            scan.end
        );
        let mut written = vec![false; PAGES];
        for told in &regions[..count] {
            let page = |addr: u64| (addr - scan.start) as usize / PAGE;
            written[page(told.start)..page(told.end)].fill(true);
        }
        Ok(written)
    }

    /// Every page that was written to, merged meanwhile or not, is told.
    fn round(&mut self) -> Outcome {
        self.racer.meets_all()?;
        self.written()?;
        self.racer.pause();
        let pages = self.racer.range()?;
        self.racer.write(pages.clone());
        self.racer.pause();
        let written = self.written()?;
        for page in pages.clone() {
            check!(written[page], "page {page} was written to and is not told");
        }
        self.racer.part.verify(pages)
    }
}

pub fn plain(bench: &Bench) -> Outcome {
    noted(Race::new(bench)?)
}

/// The same with pages that go out and come back meanwhile.
pub fn swapped(bench: &Bench) -> Outcome {
    noted(Race::in_swap(bench)?)
}

fn noted(mut race: Race<'_>) -> Outcome {
    race.operating("noted", RACERS, Noted::new, Noted::round, |noted| {
        noted.racer.part.verify_all()
    })?;
    race.run()
}

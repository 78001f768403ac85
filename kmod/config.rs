// SPDX-License-Identifier: GPL-2.0

//! The settings, with the defaults and the rules that hold whichever door they are set through.
//!
//! Plain `no_std` Rust: the host tests compile this file too. Every field is read and written with relaxed ordering;
//! a reader sees the old or the new value of one setting, and no two settings depend on each other.

#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// `run`: the scanner rests.
pub(crate) const RUN_STOP: u32 = 0;
/// `run`: the scanner merges.
pub(crate) const RUN_MERGE: u32 = 1;
/// `run`: the scanner rests and everything has been unmerged.
pub(crate) const RUN_UNMERGE: u32 = 2;

/// `advisor_mode`: `pages_to_scan` is set by hand.
pub(crate) const ADVISOR_NONE: u32 = 0;
/// `advisor_mode`: `pages_to_scan` follows from how long a scan takes.
pub(crate) const ADVISOR_SCAN_TIME: u32 = 1;

const DEFAULT_PAGES_TO_SCAN: u32 = 100;

/// All settings of the module.
pub(crate) struct Config {
    /// [`RUN_STOP`], [`RUN_MERGE`] or [`RUN_UNMERGE`]. Only the engine writes it.
    pub(crate) run: AtomicU32,
    /// Pages the scanner visits between two sleeps.
    pub(crate) pages_to_scan: AtomicU32,
    /// Microseconds the scanner sleeps between two batches.
    pub(crate) sleep_us: AtomicU64,
    /// 1: pages of different NUMA nodes may be merged. Only the engine writes it.
    pub(crate) merge_across_nodes: AtomicU32,
    /// Most mappings of one merged page. At least 2. Only the engine writes it.
    pub(crate) max_page_sharing: AtomicU32,
    /// Empty pages become the kernel's zero page.
    pub(crate) use_zero_pages: AtomicBool,
    /// Pages that could not be merged several times are visited less often.
    pub(crate) smart_scan: AtomicBool,
    /// Milliseconds between two prunings of the copies of an often shared page.
    pub(crate) prune_millisecs: AtomicU32,
    /// Most merged pages there may be; 0 is no limit.
    pub(crate) max_kernel_pages: AtomicU64,
    /// [`ADVISOR_NONE`] or [`ADVISOR_SCAN_TIME`].
    pub(crate) advisor_mode: AtomicU32,
    /// Grows with every change of `advisor_mode`: the advisor's memory of past scans is void then.
    pub(crate) advisor_epoch: AtomicU32,
    /// Per cent of one CPU the advisor lets the scanner use at most.
    pub(crate) advisor_max_cpu: AtomicU32,
    /// What `pages_to_scan` starts from when the advisor is switched on.
    pub(crate) advisor_min_pages_to_scan: AtomicU64,
    /// Most pages the advisor makes of `pages_to_scan`.
    pub(crate) advisor_max_pages_to_scan: AtomicU64,
    /// Seconds a scan of everything shall take. At least 1.
    pub(crate) advisor_target_scan_time: AtomicU64,
}

/// The settings of this kernel.
pub(crate) static CONFIG: Config = Config::new();

/// `pages_to_scan` cannot be set by hand while the advisor sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdvisorDecides;

impl Config {
    /// The settings a freshly loaded module has: the stock kernel's.
    pub(crate) const fn new() -> Self {
        Self {
            run: AtomicU32::new(RUN_STOP),
            pages_to_scan: AtomicU32::new(DEFAULT_PAGES_TO_SCAN),
            sleep_us: AtomicU64::new(20_000),
            merge_across_nodes: AtomicU32::new(1),
            max_page_sharing: AtomicU32::new(256),
            use_zero_pages: AtomicBool::new(false),
            smart_scan: AtomicBool::new(true),
            prune_millisecs: AtomicU32::new(2000),
            max_kernel_pages: AtomicU64::new(0),
            advisor_mode: AtomicU32::new(ADVISOR_NONE),
            advisor_epoch: AtomicU32::new(0),
            advisor_max_cpu: AtomicU32::new(70),
            advisor_min_pages_to_scan: AtomicU64::new(500),
            advisor_max_pages_to_scan: AtomicU64::new(30_000),
            advisor_target_scan_time: AtomicU64::new(200),
        }
    }

    /// Sets `pages_to_scan` by hand.
    pub(crate) fn set_pages_to_scan(&self, pages: u32) -> Result<(), AdvisorDecides> {
        if self.advisor_mode.load(Relaxed) != ADVISOR_NONE {
            return Err(AdvisorDecides);
        }
        self.pages_to_scan.store(pages, Relaxed);
        Ok(())
    }

    /// Would [`Config::set_pages_to_scan`] do as asked, or is `pages` what is set anyway?
    pub(crate) fn accepts_pages_to_scan(&self, pages: u32) -> bool {
        self.advisor_mode.load(Relaxed) == ADVISOR_NONE || self.pages_to_scan.load(Relaxed) == pages
    }

    /// The sleep between two batches in milliseconds, rounded up: a short sleep is not told as none, so writing back
    /// what was read never turns the scanner into a busy loop.
    pub(crate) fn sleep_millisecs(&self) -> u64 {
        self.sleep_us.load(Relaxed).div_ceil(1000)
    }

    /// Sets the sleep between two batches in milliseconds.
    pub(crate) fn set_sleep_millisecs(&self, millisecs: u32) {
        self.sleep_us.store(u64::from(millisecs) * 1000, Relaxed);
    }

    /// Switches the advisor. A change gives `pages_to_scan` the start value of the new mode.
    pub(crate) fn set_advisor_mode(&self, mode: u32) {
        if self.advisor_mode.swap(mode, Relaxed) == mode {
            return;
        }
        let start = if mode == ADVISOR_SCAN_TIME {
            // As wide as the setting is: a start value no `pages_to_scan` can have is cut, as the stock kernel does.
            self.advisor_min_pages_to_scan.load(Relaxed) as u32
        } else {
            DEFAULT_PAGES_TO_SCAN
        };
        self.pages_to_scan.store(start, Relaxed);
        self.advisor_epoch.fetch_add(1, Relaxed);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The scan-time advisor: how many pages to visit per batch, so that a scan of everything takes a wanted time.
//!
//! The arithmetic is the stock kernel's, to the last integer division, so that a tuned machine behaves as before.
//! Plain `no_std` Rust: the host tests compile this file too.

#![forbid(unsafe_code)]

/// Per cent of one CPU that the advisor never goes below.
const MIN_CPU: u64 = 10;

/// Weight of the newest value in the moving average, in per cent.
const NEWEST_WEIGHT: u64 = 30;

/// What the advisor remembers from one scan to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advisor {
    /// Seconds the last scan took; 0 before the first.
    scan_time: u64,
    /// Moving average of how a scan's time compares with the one before, in per cent.
    change: u64,
    /// CPU time of the scanner at the end of the last scan, in nanoseconds.
    cpu_time: u64,
}

/// The settings the advisor keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Seconds a scan shall take.
    pub(crate) target_scan_time: u64,
    /// Per cent of one CPU the scanner may use.
    pub(crate) max_cpu: u32,
    /// Most pages per batch.
    pub(crate) max_pages_to_scan: u64,
}

impl Advisor {
    /// An advisor that has seen no scan.
    pub(crate) const fn new() -> Self {
        Self {
            scan_time: 0,
            change: 0,
            cpu_time: 0,
        }
    }

    /// Pages per batch for the next scan, given the one that ended: it took `scan_ms` milliseconds at `pages_to_scan`
    /// pages per batch, and the scanner has used `cpu_ns` nanoseconds of CPU time in its life.
    pub(crate) fn scan_ended(
        &mut self,
        scan_ms: u64,
        cpu_ns: u64,
        pages_to_scan: u32,
        limits: &Limits,
    ) -> u32 {
        let batch = u64::from(pages_to_scan);
        let scan_time = (scan_ms / 1000).max(1);
        let cpu_percent = self.cpu_percent(cpu_ns, scan_time);

        // How far from the wanted time, and how scans change from one to the next, smoothed.
        let factor = percent(limits.target_scan_time, scan_time);
        let last_scan_time = if self.scan_time == 0 {
            scan_time
        } else {
            self.scan_time
        };
        let change = percent(scan_time, last_scan_time);
        let change = moving_average(self.change, change);
        let wanted = (batch * 100)
            .checked_div(factor)
            .unwrap_or(0)
            .wrapping_mul(change)
            / 100;

        // What the CPU limits make of it.
        let pages_per_percent = batch.checked_div(cpu_percent).unwrap_or(0).max(1);
        let pages = wanted
            .min(pages_per_percent.wrapping_mul(u64::from(limits.max_cpu)))
            .max(pages_per_percent * MIN_CPU)
            .min(limits.max_pages_to_scan);

        *self = Self {
            scan_time,
            change,
            cpu_time: cpu_ns,
        };
        // Not more than `max_pages_to_scan`; a limit beyond the setting's width is cut, as the stock kernel does.
        pages as u32
    }

    /// Per cent of one CPU used by a scan of `scan_time` seconds that ended at `cpu_ns`; at least 1.
    fn cpu_percent(&self, cpu_ns: u64, scan_time: u64) -> u64 {
        let used_ms = cpu_ns.wrapping_sub(self.cpu_time) / 1_000_000;
        let percent = used_ms
            .wrapping_mul(100)
            .checked_div(scan_time.wrapping_mul(1000))
            .unwrap_or(0);
        u64::from(percent as u32).max(1)
    }
}

/// `part` of `whole` in per cent, at least 1. No division by zero, which the kernel would not survive.
fn percent(part: u64, whole: u64) -> u64 {
    part.wrapping_mul(100)
        .checked_div(whole)
        .unwrap_or(0)
        .max(1)
}

/// Exponentially weighted: `newest` counts for [`NEWEST_WEIGHT`] per cent.
fn moving_average(average: u64, newest: u64) -> u64 {
    (100 - NEWEST_WEIGHT)
        .wrapping_mul(average)
        .wrapping_add(NEWEST_WEIGHT.wrapping_mul(newest))
        / 100
}

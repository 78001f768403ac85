// SPDX-License-Identifier: GPL-2.0

use crate::advisor::{Advisor, Limits};

const SECOND_NS: u64 = 1_000_000_000;

const STOCK: Limits = Limits {
    target_scan_time: 200,
    max_cpu: 70,
    max_pages_to_scan: 30_000,
};

/// A history of scans and the stock kernel's answers, worked out from its definition outside this code base:
/// (milliseconds the scan took, CPU nanoseconds so far, `pages_to_scan` then).
const HISTORY: [(u64, u64, u32); 6] = [
    (250_000, 20 * SECOND_NS, 620),
    (180_400, 60 * SECOND_NS, 280),
    (999, 60 * SECOND_NS + SECOND_NS / 2, 50),
    (1_000, 61 * SECOND_NS + SECOND_NS / 5, 10),
    (300_000, 400 * SECOND_NS, 70),
    (200_000, 402 * SECOND_NS, 4440),
];

#[test]
fn a_history_of_scans_gives_the_stock_kernels_answers() {
    let mut advisor = Advisor::new();
    let mut pages = 500;
    for (scan_ms, cpu_ns, expected) in HISTORY {
        pages = advisor.scan_ended(scan_ms, cpu_ns, pages, &STOCK);
        assert_eq!(pages, expected, "after the scan of {scan_ms} ms");
    }
}

#[test]
fn a_scan_without_time_or_work_is_no_division_by_zero() {
    let mut advisor = Advisor::new();
    assert_eq!(advisor.scan_ended(0, 0, 0, &STOCK), 10);
    let no_limits = Limits {
        target_scan_time: 0,
        max_cpu: 0,
        max_pages_to_scan: 0,
    };
    assert_eq!(advisor.scan_ended(0, 0, 0, &no_limits), 0);
}

#[test]
fn absurd_settings_do_not_overflow() {
    let absurd = Limits {
        target_scan_time: u64::MAX,
        max_cpu: u32::MAX,
        max_pages_to_scan: u64::MAX,
    };
    let mut advisor = Advisor::new();
    let mut pages = u32::MAX;
    for scan_ms in [u64::MAX, 0, 1, u64::MAX / 7] {
        pages = advisor.scan_ended(scan_ms, u64::MAX - scan_ms, pages, &absurd);
    }
}

#[test]
fn the_highest_number_of_pages_holds() {
    let limits = Limits {
        max_pages_to_scan: 123,
        ..STOCK
    };
    let pages = Advisor::new().scan_ended(100_000, SECOND_NS, 10_000, &limits);
    assert_eq!(pages, 123);
}

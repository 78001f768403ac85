// SPDX-License-Identifier: GPL-2.0

use crate::stats::STATS;

/// One test, because the counters are one static.
#[test]
fn derived_numbers() {
    STATS.rmap_items.set(100);
    STATS.pages_shared.add(10);
    STATS.pages_sharing.set(30);
    STATS.pages_unshared.set(20);
    assert_eq!(STATS.pages_volatile(), 40);
    assert_eq!(STATS.profit(5, 4096, 40), 35 * 4096 - 100 * 40);

    STATS.rmap_items.set(59);
    assert_eq!(STATS.pages_volatile(), 0, "never negative");
    STATS.rmap_items.inc();
    STATS.rmap_items.inc();
    STATS.rmap_items.dec();
    assert_eq!(STATS.rmap_items.get(), 60);
    STATS.pages_sharing.set(0);
    assert_eq!(STATS.profit(0, 4096, 40), -2400, "a loss is told as one");
}

// SPDX-License-Identifier: GPL-2.0

//! The list of registered regions.

use std::collections::BTreeSet;

use crate::faces::regions::{adding, Region};

const PAGE: u64 = 4096;
/// Pages that the model knows one by one.
const PAGES: u64 = 1 << 10;

/// Each region is three bytes: where it begins (two, the highest bit says at the end of the address space instead) and how
/// many pages it has.
pub fn regions(data: &[u8]) {
    let mut list: Vec<Region> = Vec::new();
    let mut covered: BTreeSet<u64> = BTreeSet::new();
    for bytes in data.chunks_exact(3).take(200) {
        let place = u16::from_le_bytes([bytes[0], bytes[1]]);
        let count = u32::from(bytes[2]);
        let first = u64::from(place & 0x7FFF) % PAGES;
        let first = if place & 0x8000 == 0 {
            first
        } else {
            (u64::MAX >> 12) - PAGES - 0xFF + first
        };
        let Ok(new) = Region::new(first * PAGE, count, PAGE) else {
            assert!(count == 0 || first + u64::from(count) > u64::MAX >> 12);
            continue;
        };
        let change = adding(&list, new);
        assert!(change.at + change.replaced <= list.len());
        list.splice(change.at..change.at + change.replaced, [change.region]);
        covered.extend(first..first + u64::from(count));
    }
    assert!(
        list.windows(2).all(|w| w[0].end() < w[1].start()),
        "sorted, and neither overlapping nor touching: {list:?}"
    );
    let pages = |r: &Region| r.start() / PAGE..r.end() / PAGE;
    assert!(
        list.iter().flat_map(pages).eq(covered.iter().copied()),
        "what was registered: {list:?}"
    );
}

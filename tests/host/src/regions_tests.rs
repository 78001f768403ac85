// SPDX-License-Identifier: GPL-2.0

use std::collections::BTreeSet;

use crate::regions::{adding, BadRegion, Change, Region};

const PAGE: u64 = 4096;

fn region(first_page: u64, pages: u32) -> Region {
    Region::new(first_page * PAGE, pages, PAGE).expect("a good region")
}

#[test]
fn bad_ranges_are_told_apart() {
    assert_eq!(Region::new(0, 0, PAGE), Err(BadRegion::Empty));
    assert_eq!(Region::new(1, 1, PAGE), Err(BadRegion::Unaligned));
    assert_eq!(Region::new(PAGE - 1, 1, PAGE), Err(BadRegion::Unaligned));
    let last = u64::MAX - (PAGE - 1);
    assert_eq!(Region::new(last, 1, PAGE), Err(BadRegion::Wraps));
    assert_eq!(Region::new(last, u32::MAX, PAGE), Err(BadRegion::Wraps));
    assert!(Region::new(last - PAGE, 1, PAGE).is_ok());
    assert!(Region::new(0, u32::MAX, PAGE).is_ok());
}

#[test]
fn an_unrelated_region_is_inserted_in_order() {
    let regions = [region(10, 2), region(20, 2)];
    for (new, at) in [(region(1, 2), 0), (region(15, 2), 1), (region(30, 2), 2)] {
        let expected = Change {
            at,
            replaced: 0,
            region: new,
        };
        assert_eq!(adding(&regions, new), expected);
    }
}

#[test]
fn neighbours_and_overlaps_become_one() {
    let regions = [region(10, 2), region(20, 2), region(30, 2)];
    let cases = [
        (region(8, 2), 0, 1, region(8, 4)),
        (region(12, 8), 0, 2, region(10, 12)),
        (region(20, 1), 1, 1, region(20, 2)),
        (region(21, 20), 1, 2, region(20, 21)),
        (region(0, 100), 0, 3, region(0, 100)),
    ];
    for (new, at, replaced, region) in cases {
        assert_eq!(
            adding(&regions, new),
            Change {
                at,
                replaced,
                region
            }
        );
    }
}

/// The same pseudo-random numbers in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn random_additions_cover_what_a_set_of_pages_covers() {
    let mut numbers = Numbers(0x5A17);
    for _ in 0..200 {
        let mut regions: Vec<Region> = Vec::new();
        let mut pages = BTreeSet::new();
        for _ in 0..60 {
            let (first, count) = (numbers.below(400), 1 + numbers.below(9) as u32);
            pages.extend(first..first + u64::from(count));
            let change = adding(&regions, region(first, count));
            regions.splice(change.at..change.at + change.replaced, [change.region]);

            let covered = |r: &Region| r.start() / PAGE..r.end() / PAGE;
            assert!(regions.iter().flat_map(covered).eq(pages.iter().copied()));
            assert!(regions.windows(2).all(|w| w[0].end() < w[1].start()));
        }
    }
}

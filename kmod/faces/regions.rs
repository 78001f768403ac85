// SPDX-License-Identifier: GPL-2.0

//! The memory an area of /dev/ksm has registered: sorted ranges that neither overlap nor touch.
//!
//! Registering memory twice, or neighbour after neighbour, therefore keeps one range however often it is done.
//! Plain `no_std` Rust: the host tests compile this file too.

/// Most ranges of one area. More are not useful: a process may have about as many mappings (`vm.max_map_count`).
pub(crate) const MAX_REGIONS: usize = 65_536;

/// A range of user addresses, `start..end` in bytes.
///
/// # Invariants
///
/// Both are page aligned, and `start < end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    start: u64,
    end: u64,
}

/// Why a range is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRegion {
    /// No page at all.
    Empty,
    /// The address is not the first of a page.
    Unaligned,
    /// The last page would be beyond the last address.
    Wraps,
}

impl Region {
    /// `npages` pages from `addr` on.
    pub(crate) fn new(addr: u64, npages: u32, page_size: u64) -> Result<Self, BadRegion> {
        if npages == 0 {
            return Err(BadRegion::Empty);
        }
        if addr % page_size != 0 {
            return Err(BadRegion::Unaligned);
        }
        // INVARIANT: at least one page is added to an aligned address, and the sum did not wrap.
        u64::from(npages)
            .checked_mul(page_size)
            .and_then(|bytes| addr.checked_add(bytes))
            .map(|end| Self { start: addr, end })
            .ok_or(BadRegion::Wraps)
    }

    /// The first address.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The first address after it.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

/// How a sorted list of regions takes up another one: `region` replaces the `replaced` entries from `at` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Index of the first entry replaced, or where to insert if none is.
    pub(crate) at: usize,
    /// How many entries are replaced.
    pub(crate) replaced: usize,
    /// What stands there then.
    pub(crate) region: Region,
}

/// How `regions` takes up `new`. `regions` is sorted and without overlap.
pub(crate) fn adding(regions: &[Region], new: Region) -> Change {
    let at = regions.partition_point(|r| r.end < new.start);
    let after = regions.partition_point(|r| r.start <= new.end);
    let touched = regions.get(at..after).unwrap_or(&[]);
    // INVARIANT: the smallest start and the largest end of regions, each of which holds the invariants.
    let region = Region {
        start: touched
            .first()
            .map_or(new.start, |r| r.start.min(new.start)),
        end: touched.last().map_or(new.end, |r| r.end.max(new.end)),
    };
    Change {
        at,
        replaced: touched.len(),
        region,
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Are page pointers true? A debug build of swapksm tells what it knows of a page (`crate::probe`).
//!
//! A pointer must be empty before the call that takes its page returns, and may stay when the page does. What becomes
//! of the item itself is decided later: a sharer that still maps its page, wherever that is now, must not be lost.
//! Each case starts with the scanner at rest and all pointers live, so what a case sees cleared was cleared by the call.

mod ends;
mod huge;
mod moved;
mod reclaimed;
mod scene;
mod stays;
mod taken;

pub use ends::image;

use crate::case::{Case, Room};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new("pointers/munmap", "empty after munmap", taken::munmap),
    Case::new(
        "pointers/map_over",
        "empty after mmap over the pages",
        taken::map_over,
    ),
    Case::new(
        "pointers/mremap",
        "empty at the old place after mremap",
        taken::mremap,
    ),
    Case::new(
        "pointers/dontneed",
        "empty after MADV_DONTNEED",
        taken::dontneed,
    ),
    Case::new(
        "pointers/free",
        "empty after MADV_FREE; sharers stay, also the last one",
        taken::free,
    ),
    Case::new(
        "pointers/write",
        "empty after a write to a merged page, true after one to a page of one's own",
        taken::write,
    ),
    Case::new(
        "pointers/write_many",
        "deferred work in the midst of writes loses none of them",
        taken::write_many,
    ),
    Case::new(
        "pointers/write_after_fork",
        "empty after a write to any page that a fork made shared",
        taken::write_after_fork,
    ),
    Case::new(
        "pointers/unmergeable",
        "empty after MADV_UNMERGEABLE where pages were merged, true elsewhere",
        taken::unmergeable,
    ),
    Case::new(
        "pointers/uffd_move",
        "empty after UFFDIO_MOVE; what it may not move stays shared",
        taken::uffd_move,
    ),
    Case::new(
        "pointers/fork",
        "the parent's stay, the child has none",
        stays::fork,
    ),
    Case::new(
        "pointers/mprotect",
        "mprotect takes none away",
        stays::mprotect,
    ),
    Case::new(
        "pointers/soft_dirty",
        "clearing soft-dirty bits takes none away",
        stays::soft_dirty,
    ),
    Case::new(
        "pointers/uffd_write_protect",
        "write protection by userfaultfd takes none away",
        stays::uffd_write_protect,
    ),
    Case::new(
        "pointers/newcomer",
        "a third process that is merged leaves the sharers what they are",
        stays::newcomer,
    ),
    Case::new(
        "pointers/merge_fails",
        "a merge that fails after our own write-protect ends no item",
        stays::merge_fails,
    ),
    Case::new(
        "pointers/migrate",
        "empty after move_pages; sharers stay",
        moved::migrate,
    )
    .room(Room::Numa),
    Case::new(
        "pointers/migrate_fails",
        "pages that cannot move come back: sharers stay",
        moved::there_and_back,
    )
    .room(Room::Numa),
    Case::new(
        "pointers/compaction",
        "true after compaction; sharers stay",
        moved::compaction,
    ),
    Case::new("pointers/exec", "empty before exec returns", ends::exec),
    Case::new(
        "pointers/exit",
        "true when exit begins, empty before it unmaps",
        ends::exit,
    ),
    Case::new(
        "pointers/killed",
        "the same for a killed process",
        ends::killed,
    ),
    Case::new(
        "pointers/exit_under_scan",
        "the same for processes that exit under the scanner's hands",
        ends::under_scan,
    ),
    Case::new(
        "pointers/huge_split",
        "true after a huge page is split",
        huge::split,
    ),
    Case::new(
        "pointers/huge_collapse",
        "empty after MADV_COLLAPSE",
        huge::collapse,
    ),
    Case::new(
        "pointers/huge_collapse_merged",
        "empty after MADV_COLLAPSE of merged pages, which ends their sharing",
        huge::collapse_merged,
    ),
    Case::new(
        "pointers/no_swap",
        "MADV_PAGEOUT and reclaim without swap lose no sharer",
        reclaimed::no_swap,
    ),
    Case::new(
        "pointers/pageout",
        "empty after MADV_PAGEOUT",
        reclaimed::pageout,
    )
    .room(Room::Swap),
    Case::new(
        "pointers/reclaim",
        "empty after reclaim; sharers stay",
        reclaimed::reclaim,
    )
    .room(Room::Swap),
    Case::new(
        "pointers/reclaim_fails",
        "pages that reclaim had to leave: sharers stay",
        reclaimed::fails,
    )
    .room(Room::Swap),
    Case::new(
        "pointers/swap_full",
        "reclaim that gets no swap slot loses no sharer",
        reclaimed::full,
    )
    .room(Room::Swap),
    Case::new(
        "pointers/swapoff",
        "true after swapoff; sharers stay",
        reclaimed::swapoff,
    )
    .room(Room::Swap),
];

// SPDX-License-Identifier: GPL-2.0

//! The counters that /sys/kernel/mm/ksm shows.
//!
//! Plain `no_std` Rust: the host tests compile this file too.

#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// A number that many threads change and anybody reads, safe in any context.
///
/// Relaxed: a counter orders nothing but itself.
pub(crate) struct Counter(AtomicI64);

#[allow(
    dead_code,
    reason = "one set of helpers for all counters; not each is used everywhere"
)]
impl Counter {
    const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// The value now.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// One more.
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    /// One less.
    pub(crate) fn dec(&self) {
        self.add(-1);
    }

    /// `n` more; fewer when `n` is negative.
    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// From now on `n`.
    pub(crate) fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// All counters of the module.
        pub(crate) struct Stats {
            $($(#[$doc])* pub(crate) $name: Counter,)+
        }

        impl Stats {
            const fn new() -> Self {
                Self { $($name: Counter::new(),)+ }
            }
        }
    };
}

counters! {
    /// Merged pages there are.
    pages_shared,
    /// Pages saved: mappings of merged pages less the merged pages themselves.
    pages_sharing,
    /// Pages that are alone of their content, waiting in the unstable tree.
    pages_unshared,
    /// Page items there are.
    rmap_items,
    /// Pages visited since the module was loaded.
    pages_scanned,
    /// Visits spared by `smart_scan`.
    pages_skipped,
    /// Scans of everything mergeable since the module was loaded.
    full_scans,
    /// Contents that have more than one merged page because of `max_page_sharing`.
    chains,
    /// Merged pages that belong to those contents.
    dups,
    /// Invalidations whose deferred work is not done yet.
    pending,
    /// Merges not done because `max_kernel_pages` was reached.
    merge_denied,
    /// Swap-ins that found their page merged again, without a copy.
    swapin_shared,
    /// Swap-ins that got a copy of their own.
    swapin_copied,
    /// Not shared at swap-in: the process is not known as a sharer.
    swapin_miss_unknown,
    /// Not shared at swap-in: the page came back as part of a large folio.
    swapin_miss_large,
    /// Not shared at swap-in: the swap slot was freed and is a private page's now.
    swapin_miss_exclusive,
    /// Not shared at swap-in: the merged page exists in memory already, elsewhere.
    swapin_miss_stale,
    /// Not shared at swap-in: the swap slot was freed and reused, its content is another.
    swapin_miss_hash,
    /// Merged pages left without a node, which only their users can free.
    nodeless,
    /// Processes registered.
    spaces,
}

/// The counters of this kernel.
pub(crate) static STATS: Stats = Stats::new();

impl Stats {
    /// Watched pages that are neither merged nor in a tree, because they change. Never negative: the four numbers are
    /// not read at one instant.
    pub(crate) fn pages_volatile(&self) -> i64 {
        let known = self.pages_shared.get() + self.pages_sharing.get() + self.pages_unshared.get();
        (self.rmap_items.get() - known).max(0)
    }

    /// Bytes saved less bytes of page items; `zero_pages` counts the pages replaced by the kernel's zero page.
    pub(crate) fn profit(&self, zero_pages: i64, page_size: usize, item_size: usize) -> i64 {
        let saved = (self.pages_sharing.get() + zero_pages).wrapping_mul(page_size as i64);
        saved.wrapping_sub(self.rmap_items.get().wrapping_mul(item_size as i64))
    }
}

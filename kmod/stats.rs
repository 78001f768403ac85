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
    ($(#[$all:meta])* $kind:ident: $($(#[$doc:meta])* $name:ident,)+) => {
        $(#[$all])*
        pub(crate) struct $kind {
            $($(#[$doc])* pub(crate) $name: Counter,)+
        }

        impl $kind {
            /// All zero.
            pub(crate) const fn new() -> Self {
                Self { $($name: Counter::new(),)+ }
            }

            /// As they are now.
            #[allow(dead_code, reason = "one set of helpers for both kinds")]
            pub(crate) fn copy(&self) -> Self {
                let copy = Self::new();
                $(copy.$name.set(self.$name.get());)+
                copy
            }
        }
    };
}

counters! {
    /// All counters of the module but those of swap-ins.
    Stats:
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
    /// Merged pages left without a node, which only their users can free.
    nodeless,
    /// Processes registered.
    spaces,
}

counters! {
    /// How swap-ins ended, of all processes or of one. A swap-in counts once for each page and process that asked for it.
    SwapIns:
    /// Found the page merged again, without a copy.
    shared,
    /// Got a copy of its own.
    copied,
    /// Not shared: the process is not known as a sharer.
    miss_unknown,
    /// Not shared: the page came back as part of a large folio.
    miss_large,
    /// Not shared: the swap slot was freed and is a private page's now.
    miss_exclusive,
    /// Not shared: the merged page exists in memory already, elsewhere.
    miss_stale,
    /// Not shared: the swap slot was freed and reused, its content is another.
    miss_hash,
}

/// The counters of this kernel.
pub(crate) static STATS: Stats = Stats::new();
/// Those of swap-ins, all processes together.
pub(crate) static SWAPINS: SwapIns = SwapIns::new();

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

// SPDX-License-Identifier: GPL-2.0

//! What many processes have done, counted in memory that they share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::case::Outcome;
use crate::count::shared_page;
use crate::sys::PAGE;

/// Most kinds of things that are counted.
const KINDS: usize = PAGE / size_of::<[AtomicU64; 2]>();

/// For each kind how often it was tried, and how often it succeeded.
pub struct Tally([[AtomicU64; 2]; KINDS]);

impl Tally {
    /// Maps one; it stays for as long as the processes that see it.
    pub fn map() -> Outcome<&'static Tally> {
        let page = shared_page()?;
        // SAFETY: a page of zeroes, which are counters of nothing; it is never unmapped.
        Ok(unsafe { &*page.cast() })
    }

    /// Counts one.
    pub fn count(&self, kind: usize, succeeded: bool) {
        self.0[kind][0].fetch_add(1, Ordering::Relaxed);
        self.0[kind][1].fetch_add(succeeded.into(), Ordering::Relaxed);
    }

    /// How often it was tried.
    pub fn tried(&self, kind: usize) -> u64 {
        self.0[kind][0].load(Ordering::Relaxed)
    }

    /// How often it succeeded.
    pub fn succeeded(&self, kind: usize) -> u64 {
        self.0[kind][1].load(Ordering::Relaxed)
    }
}

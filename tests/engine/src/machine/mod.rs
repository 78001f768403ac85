// SPDX-License-Identifier: GPL-2.0

//! A make-believe kernel: as much of memory management as the engine can tell from the real one.
//!
//! All pages are small, a page's content is one number, and every mm has one mapping of a few pages, across the border of
//! two chunks, at the same address. What the functions named `swapksm_…` promise stands in `shims/*.h`.

#![allow(
    non_camel_case_types,
    non_upper_case_globals,
    clippy::missing_safety_doc,
    clippy::undocumented_unsafe_blocks,
    reason = "C's names, and C's contracts, which stand in shims/*.h: what is asked for there is given"
)]

pub(crate) mod fault;
pub(crate) mod folio;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod mm;
pub(crate) mod rbtree;
pub(crate) mod reclaim;
pub(crate) mod rmap;
pub(crate) mod swap;
pub(crate) mod sync;
pub(crate) mod walk;

use std::cell::Cell;

thread_local! {
    static NUMBERS: Cell<u64> = const { Cell::new(0x9E37_79B9) };
}

/// Begins this thread's pseudo-random numbers.
pub(crate) fn seed(seed: u64) {
    NUMBERS.set(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
}

/// A pseudo-random number below `limit`.
pub(crate) fn below(limit: u64) -> u64 {
    let mut x = NUMBERS.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    NUMBERS.set(x);
    (x >> 11) % limit
}

/// The same where threads come by all the time.
pub(crate) fn pause_seldom() {
    if below(16) == 0 {
        pause();
    }
}

/// A place where something else shall come between.
pub(crate) fn linger() {
    if below(8) == 0 && !cfg!(miri) {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    pause();
}

/// A place where something else may come between.
pub(crate) fn pause() {
    match below(32) {
        0 if !cfg!(miri) => std::thread::sleep(std::time::Duration::from_micros(50)),
        0..8 => std::thread::yield_now(),
        _ => {}
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The page lists of reclaim (`shims/lru.h`).

use super::bindings;

/// Moves folios waiting in per-CPU batches onto their lists. May sleep.
pub(crate) fn add_drain_all() {
    // SAFETY: Callable from any process context.
    unsafe { bindings::swapksm_lru_add_drain_all() }
}

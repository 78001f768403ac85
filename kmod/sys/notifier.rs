// SPDX-License-Identifier: GPL-2.0

//! Invalidations of address spaces, called by the kernel (`shims/space.h`).

use kernel::ffi::c_ulong;

use super::{assert_prototypes, bindings as b};
use crate::engine::space::Space;

/// A range is about to change.
///
/// # Safety
///
/// `space` is one that is subscribed, and the call comes through its subscription.
#[no_mangle]
unsafe extern "C" fn swapksm_invalidate_start(
    space: *mut b::swapksm_space,
    start: c_ulong,
    end: c_ulong,
    blockable: bool,
) {
    // SAFETY: Subscribed spaces exist until `swapksm_space_unsubscribed`.
    unsafe { Space::from_c(space) }.invalidate_start(start, end, blockable);
}

/// The change is over.
///
/// # Safety
///
/// As for [`swapksm_invalidate_start`].
#[no_mangle]
unsafe extern "C" fn swapksm_invalidate_end(
    space: *mut b::swapksm_space,
    _start: c_ulong,
    _end: c_ulong,
) {
    // SAFETY: As above.
    unsafe { Space::from_c(space) }.invalidate_end();
}

/// All mappings are about to go.
///
/// # Safety
///
/// As for [`swapksm_invalidate_start`].
#[no_mangle]
unsafe extern "C" fn swapksm_space_released(space: *mut b::swapksm_space) {
    // SAFETY: As above.
    unsafe { Space::from_c(space) }.kill();
}

/// The subscription has ended: its reference to the space is given back.
///
/// # Safety
///
/// As for [`swapksm_invalidate_start`]; this is the last call through it.
#[no_mangle]
unsafe extern "C" fn swapksm_space_unsubscribed(space: *mut b::swapksm_space) {
    // SAFETY: The subscription's reference is still there.
    unsafe { Space::from_c(space) }.put();
}

assert_prototypes!(
    swapksm_invalidate_start,
    swapksm_invalidate_end,
    swapksm_space_released,
    swapksm_space_unsubscribed,
);

// SPDX-License-Identifier: GPL-2.0

//! Switching the kernel over, and being called around it (`shims/livepatch.h`).

use kernel::{error::to_result, ffi::c_int, prelude::*};

use super::{assert_prototypes, bindings};
use crate::takeover;

/// Starts the transition to our entry points. May sleep.
pub(crate) fn enable() -> Result {
    // SAFETY: Called from the module's init only, which runs once.
    to_result(unsafe { bindings::swapksm_livepatch_enable() })
}

/// Before the first task switches to us.
///
/// # Safety
///
/// Called by livepatch in process context, in the order of the table in [`takeover`].
#[no_mangle]
unsafe extern "C" fn swapksm_pre_patch() -> c_int {
    match takeover::pre_patch() {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Every task has switched to us.
///
/// # Safety
///
/// As for [`swapksm_pre_patch`].
#[no_mangle]
unsafe extern "C" fn swapksm_post_patch() {
    takeover::post_patch();
}

/// Before the first task switches back.
///
/// # Safety
///
/// As for [`swapksm_pre_patch`].
#[no_mangle]
unsafe extern "C" fn swapksm_pre_unpatch() {
    takeover::pre_unpatch();
}

/// Every task has switched back.
///
/// # Safety
///
/// As for [`swapksm_pre_patch`].
#[no_mangle]
unsafe extern "C" fn swapksm_post_unpatch() {
    takeover::post_unpatch();
}

assert_prototypes!(
    swapksm_pre_patch,
    swapksm_post_patch,
    swapksm_pre_unpatch,
    swapksm_post_unpatch,
);

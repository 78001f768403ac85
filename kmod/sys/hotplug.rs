// SPDX-License-Identifier: GPL-2.0

//! Memory going offline (`shims/hotplug.h`).

use kernel::{
    error::{to_result, Result},
    ffi::c_ulong,
};

use super::{assert_prototypes, bindings as b};
use crate::engine;

/// Starts to be told. May sleep.
pub(crate) fn register() -> Result {
    // SAFETY: Process context; undone by `unregister`.
    to_result(unsafe { b::swapksm_hotplug_register() })
}

/// Ends that. May sleep.
pub(crate) fn unregister() {
    // SAFETY: Registered by `register`.
    unsafe { b::swapksm_hotplug_unregister() };
}

/// Memory is about to go.
///
/// # Safety
///
/// Called by the notifier that [`register`] has put on the chain, in process context.
#[no_mangle]
unsafe extern "C" fn swapksm_memory_going_offline() {
    engine::memory_going_offline();
}

/// Frames have gone.
///
/// # Safety
///
/// As for [`swapksm_memory_going_offline`], which came before; nothing is in the frames any more.
#[no_mangle]
unsafe extern "C" fn swapksm_memory_offline(start_pfn: c_ulong, pages: c_ulong) {
    engine::memory_offline(start_pfn as u64, pages as u64);
}

/// It is over, one way or the other.
///
/// # Safety
///
/// As for [`swapksm_memory_going_offline`], which came before.
#[no_mangle]
unsafe extern "C" fn swapksm_memory_settled() {
    engine::memory_settled();
}

assert_prototypes!(
    swapksm_memory_going_offline,
    swapksm_memory_offline,
    swapksm_memory_settled,
);

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

#[no_mangle]
unsafe extern "C" fn swapksm_memory_going_offline() {
    engine::memory_going_offline();
}

#[no_mangle]
unsafe extern "C" fn swapksm_memory_offline(start_pfn: c_ulong, pages: c_ulong) {
    engine::memory_offline(start_pfn as u64, pages as u64);
}

#[no_mangle]
unsafe extern "C" fn swapksm_memory_settled() {
    engine::memory_settled();
}

assert_prototypes!(
    swapksm_memory_going_offline,
    swapksm_memory_offline,
    swapksm_memory_settled,
);

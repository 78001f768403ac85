// SPDX-License-Identifier: GPL-2.0

//! The kernel's own samepage merging while it stands still (`shims/intree.h`).

use kernel::error::{to_result, Result};

use super::bindings as b;

/// Is it empty and stopped? `EAGAIN`: its `run` is 1. `EBUSY`: it holds pages or items; `EEXIST`: nodes of pages that
/// unmerging has left. May sleep.
pub(crate) fn check() -> Result {
    // SAFETY: Process context.
    to_result(unsafe { b::swapksm_intree_check() })
}

/// Parks its thread for good. May sleep.
pub(crate) fn stop() {
    // SAFETY: Process context.
    unsafe { b::swapksm_intree_stop() };
}

/// Takes every address space off its list and shows it to `each`. No task may run mm/ksm.c any more. May sleep.
pub(crate) fn take_all(mut each: impl FnMut(*mut b::mm_struct)) {
    loop {
        // SAFETY: By this function's contract.
        let mm = unsafe { b::swapksm_intree_take() };
        if mm.is_null() {
            return;
        }
        // SAFETY: The list's reference is ours now.
        if !unsafe { b::swapksm_mm_has_no_users(mm) } {
            each(mm);
        }
        // SAFETY: As above.
        unsafe { b::mmdrop(mm) };
    }
}

/// Puts an address space on its list. `ENOMEM`. May sleep.
///
/// # Safety
///
/// Every task runs mm/ksm.c, `mm` is not on the list, and the caller has a user of it.
pub(crate) unsafe fn give(mm: *mut b::mm_struct) -> Result {
    // SAFETY: By the contract.
    to_result(unsafe { b::swapksm_intree_give(mm) })
}

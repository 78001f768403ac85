// SPDX-License-Identifier: GPL-2.0

//! Entry points for processes: who wants to be merged.
//!
//! They are called with the mmap lock held for writing (fork even holds two), from any process. So they mark VMAs and
//! queue the mm; everything else is the scanner's.

use kernel::prelude::*;

use super::{
    scan,
    space::{self, NoMemory, Payer},
};
use crate::sys::bindings as b;

/// `madvise()`'s advice (uapi/asm-generic/mman-common.h).
const MADV_MERGEABLE: i32 = 12;
const MADV_UNMERGEABLE: i32 = 13;

/// An mm gets its first mergeable mapping. `ENOMEM`. May sleep.
pub(crate) fn enter(mm: *mut b::mm_struct) -> Result {
    enter_for(mm, Payer::Caller)
}

fn enter_for(mm: *mut b::mm_struct, payer: Payer) -> Result {
    let first = space::enter(mm, payer).map_err(|NoMemory| ENOMEM)?;
    // SAFETY: The caller has a user of the mm.
    unsafe { b::swapksm_mm_set_mergeable(mm, true) };
    scan::joined();
    if first {
        scan::CHANGED.signal();
    }
    Ok(())
}

/// Takes an mm over from the kernel's list. May sleep.
pub(crate) fn adopt(mm: *mut b::mm_struct) {
    if enter_for(mm, Payer::Adopted).is_err() {
        stay_unmerged(mm);
    }
    // SAFETY: The caller keeps the struct.
    if unsafe { b::swapksm_mm_has_no_users(mm) } {
        // Its exit may have come before us, and will not come again.
        space::exit(mm);
    }
}

/// An mm could be put on no list: the next request shall find it on none.
pub(crate) fn stay_unmerged(mm: *mut b::mm_struct) {
    // SAFETY: The caller keeps the struct.
    unsafe { b::swapksm_mm_set_mergeable(mm, false) };
    pr_warn!(
        "out of memory: one process keeps its pages to itself until it asks again to be merged\n"
    );
}

/// The last user of an mm is gone; its page tables are still there. When this returns no pointer into it is left.
///
/// May be called with the mmap lock held for writing (create_init_stack_vma()), so it waits for nobody.
pub(crate) fn exit(mm: *mut b::mm_struct) {
    // SAFETY: The caller keeps the mm.
    unsafe {
        if !space::exit(mm) {
            // Entered by mm/ksm.c while the transition was running.
            b::swapksm_intree_forget(mm);
        }
        b::swapksm_mm_set_merge_any(mm, false);
        b::swapksm_mm_set_mergeable(mm, false);
    }
}

/// madvise(): MADV_MERGEABLE queues, MADV_UNMERGEABLE gives every page of the range back to its owner. `ENOMEM`, or
/// `ERESTARTSYS` on a signal. The mmap lock is held for writing. May sleep.
///
/// # Safety
///
/// `vma` is locked as said, `flags` are those it will have.
pub(crate) unsafe fn madvise(
    vma: *mut b::vm_area_struct,
    start: usize,
    end: usize,
    advice: i32,
    flags: &mut u64,
) -> Result {
    // SAFETY: A constant.
    let mergeable = unsafe { b::swapksm_vm_mergeable() };
    // SAFETY: By the contract.
    unsafe {
        let mm = b::swapksm_vma_mm(vma);
        match advice {
            MADV_MERGEABLE => {
                let is_marked = *flags & mergeable != 0;
                if !is_marked && !b::swapksm_vma_compatible(vma) {
                    return Ok(());
                }
                // Marked mappings may belong to one that is on no list (`stay_unmerged`).
                if !b::swapksm_mm_is_mergeable(mm) {
                    enter(mm)?;
                }
                if !is_marked {
                    *flags |= mergeable;
                    scan::joined();
                }
            }
            MADV_UNMERGEABLE => {
                if *flags & mergeable == 0 {
                    return Ok(());
                }
                kernel::error::to_result(b::swapksm_break_range(vma, start, end, true))?;
                *flags &= !mergeable;
            }
            _ => {}
        }
    }
    Ok(())
}

/// prctl(PR_SET_MEMORY_MERGE, 1): everything compatible becomes mergeable, now and later. The mmap lock is held for
/// writing. `ENOMEM`. May sleep.
///
/// # Safety
///
/// As said.
pub(crate) unsafe fn enable_merge_any(mm: *mut b::mm_struct) -> Result {
    // SAFETY: By the contract.
    unsafe {
        if !b::swapksm_mm_is_mergeable(mm) {
            // As above, and mappings made while it was on no list are not marked (`new_vma_flags`).
            enter(mm)?;
        } else if b::swapksm_mm_is_merge_any(mm) {
            return Ok(());
        }
        b::swapksm_mm_set_merge_any(mm, true);
        b::swapksm_mark_all(mm);
        scan::joined();
    }
    Ok(())
}

/// prctl(PR_SET_MEMORY_MERGE, 0): unmerges all; if that fails all stays mergeable. The mmap lock is held for writing.
/// May sleep.
///
/// # Safety
///
/// As said.
pub(crate) unsafe fn disable_merge_any(mm: *mut b::mm_struct) -> Result {
    // SAFETY: By the contract.
    unsafe {
        if !b::swapksm_mm_is_merge_any(mm) {
            return Ok(());
        }
        let result = kernel::error::to_result(b::swapksm_unmark_all(mm));
        match result {
            Ok(()) => b::swapksm_mm_set_merge_any(mm, false),
            Err(_) => b::swapksm_mark_all(mm),
        }
        result
    }
}

/// Unmerges an mm for good. The mmap lock is held for writing. May sleep.
///
/// # Safety
///
/// As said.
pub(crate) unsafe fn disable(mm: *mut b::mm_struct) -> Result {
    // SAFETY: By the contract.
    unsafe {
        if !b::swapksm_mm_is_mergeable(mm) {
            return Ok(());
        }
        if b::swapksm_mm_is_merge_any(mm) {
            return disable_merge_any(mm);
        }
        kernel::error::to_result(b::swapksm_unmark_all(mm))
    }
}

/// Flags of a new mapping in an mm that wants all of them merged. May sleep.
///
/// # Safety
///
/// The mmap lock is held for writing.
pub(crate) unsafe fn new_vma_flags(mm: *mut b::mm_struct, file: *const b::file, flags: u64) -> u64 {
    // SAFETY: By the contract.
    unsafe {
        if !b::swapksm_mm_is_merge_any(mm) || !b::swapksm_flags_compatible(file, flags as usize) {
            return flags;
        }
        if !b::swapksm_mm_is_mergeable(mm) && enter(mm).is_err() {
            // The scanner had given the mm up as having nothing mergeable; it stays so for now.
            return flags;
        }
        flags | b::swapksm_vm_mergeable()
    }
}

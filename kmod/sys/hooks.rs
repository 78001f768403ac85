// SPDX-License-Identifier: GPL-2.0

//! The entry points of samepage merging, called by the kernel (`shims/hooks.h` has the contract of each).

use kernel::{
    error::{Error, Result},
    ffi::{c_int, c_long, c_ulong},
};

use super::{
    assert_prototypes,
    bindings::{
        self as b, file, folio, list_head, mm_struct, page, rmap_walk_control, vm_area_struct,
        vm_flags_t,
    },
    proc::counts_of,
};
use crate::engine::{entry, process, rmap, swapin};

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// `madvise()` with `MADV_MERGEABLE` or `MADV_UNMERGEABLE`, and `mremap()` unmerging.
///
/// # Safety
///
/// `vma` is a mapping whose mmap lock is held for writing; `start..end` lies in it; `vm_flags` is
/// the caller's own.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_madvise(
    vma: *mut vm_area_struct,
    start: c_ulong,
    end: c_ulong,
    advice: c_int,
    vm_flags: *mut vm_flags_t,
) -> c_int {
    // SAFETY: The caller's contract is `madvise`'s; the flags are the caller's own.
    unsafe {
        let mut flags = *vm_flags as u64;
        let result = entry::madvise(vma, start, end, advice, &mut flags);
        *vm_flags = flags as vm_flags_t;
        errno(result)
    }
}

/// The flags of a mapping about to be made.
///
/// # Safety
///
/// `mm` is held with its mmap lock for writing; `file` is null or a file the caller holds.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_vma_flags(
    mm: *mut mm_struct,
    file: *const file,
    vm_flags: vm_flags_t,
) -> vm_flags_t {
    // SAFETY: The caller's contract.
    unsafe { entry::new_vma_flags(mm, file, vm_flags as u64) as vm_flags_t }
}

/// `prctl(PR_SET_MEMORY_MERGE, 1)`.
///
/// # Safety
///
/// `mm` is held with its mmap lock for writing.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_enable_merge_any(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::enable_merge_any(mm) })
}

/// `prctl(PR_SET_MEMORY_MERGE, 0)`.
///
/// # Safety
///
/// `mm` is held with its mmap lock for writing.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_disable_merge_any(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::disable_merge_any(mm) })
}

/// Unmerges all of an mm for good.
///
/// # Safety
///
/// `mm` is held with its mmap lock for writing.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_disable(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::disable(mm) })
}

/// An mm gets its first mergeable mapping.
///
/// # Safety
///
/// `mm` is held with its mmap lock for writing, or is that of a child which nobody else knows yet.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_enter(mm: *mut mm_struct) -> c_int {
    errno(entry::enter(mm))
}

/// The last user of an mm is gone, or that of one which becomes no program (`create_init_stack_vma()` in mm/vma_exec.c).
///
/// # Safety
///
/// `mm` has its page tables still, and the caller keeps the struct.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_exit(mm: *mut mm_struct) {
    entry::exit(mm);
}

/// The folio to map where one was read from swap.
///
/// # Safety
///
/// `folio` is locked and referenced by the caller, who holds the mmap lock or the VMA's; `addr`
/// lies in `vma`.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_might_need_to_copy(
    folio: *mut folio,
    vma: *mut vm_area_struct,
    addr: c_ulong,
) -> *mut folio {
    // SAFETY: The caller's contract is that of both.
    unsafe {
        match swapin::decide(folio, vma, addr) {
            swapin::Answer::Folio => folio,
            swapin::Answer::Copy => b::swapksm_swapin_copy(folio, vma, addr),
            swapin::Answer::Poisoned => b::swapksm_swapin_poisoned(),
            // The fault ends as if memory had run out, which it has, or it is a worker's, whom nobody kills for that.
            swapin::Answer::Later => core::ptr::null_mut(),
        }
    }
}

/// Visits every mapping of a merged folio.
///
/// # Safety
///
/// `folio` is merged and locked; `rwc` is the caller's, with a callback that may be called for any
/// VMA.
#[no_mangle]
unsafe extern "C" fn swapksm_rmap_walk_ksm(folio: *mut folio, rwc: *mut rmap_walk_control) {
    // SAFETY: The caller's contract.
    unsafe { rmap::walk(folio, rwc) };
}

/// Lists the processes that map a poisoned page.
///
/// # Safety
///
/// `folio` is merged and locked, `page` is its page, `to_kill` is the caller's list.
#[no_mangle]
unsafe extern "C" fn swapksm_collect_procs_ksm(
    folio: *const folio,
    page: *const page,
    to_kill: *mut list_head,
    force_early: c_int,
) {
    // SAFETY: The caller's contract.
    unsafe { rmap::collect_procs(folio, page, to_kill, force_early) };
}

/// One folio takes the place of another.
///
/// # Safety
///
/// Both folios are locked, and `folio` is merged.
#[no_mangle]
unsafe extern "C" fn swapksm_folio_migrate_ksm(newfolio: *mut folio, folio: *mut folio) {
    // SAFETY: The caller's contract.
    unsafe { rmap::migrate(newfolio, folio) };
}

/// What merging gives an mm, less what it costs.
///
/// # Safety
///
/// The caller keeps `mm`.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_process_profit(mm: *mut mm_struct) -> c_long {
    // SAFETY: The caller keeps the mm.
    process::profit(&unsafe { counts_of(mm) }) as c_long
}

/// Is any mapping of an mm mergeable?
///
/// # Safety
///
/// The caller keeps `mm`, with its mmap lock held.
#[no_mangle]
unsafe extern "C" fn swapksm_ksm_process_mergeable(mm: *mut mm_struct) -> bool {
    // SAFETY: The mmap lock is held.
    unsafe { b::swapksm_mm_has_mergeable(mm) }
}

assert_prototypes!(
    swapksm_ksm_madvise,
    swapksm_ksm_vma_flags,
    swapksm_ksm_enable_merge_any,
    swapksm_ksm_disable_merge_any,
    swapksm_ksm_disable,
    swapksm_ksm_enter,
    swapksm_ksm_exit,
    swapksm_ksm_might_need_to_copy,
    swapksm_rmap_walk_ksm,
    swapksm_collect_procs_ksm,
    swapksm_folio_migrate_ksm,
    swapksm_ksm_process_profit,
    swapksm_ksm_process_mergeable,
);

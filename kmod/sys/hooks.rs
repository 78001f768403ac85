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
};
use crate::engine::{entry, rmap, swapin};

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

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
        let result = entry::madvise(vma, start as _, end as _, advice, &mut flags);
        *vm_flags = flags as vm_flags_t;
        errno(result)
    }
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_vma_flags(
    mm: *mut mm_struct,
    file: *const file,
    vm_flags: vm_flags_t,
) -> vm_flags_t {
    // SAFETY: The caller's contract.
    unsafe { entry::new_vma_flags(mm, file, vm_flags as u64) as vm_flags_t }
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_enable_merge_any(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::enable_merge_any(mm) })
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_disable_merge_any(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::disable_merge_any(mm) })
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_disable(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's contract.
    errno(unsafe { entry::disable(mm) })
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_enter(mm: *mut mm_struct) -> c_int {
    errno(entry::enter(mm))
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_exit(mm: *mut mm_struct) {
    entry::exit(mm);
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_might_need_to_copy(
    folio: *mut folio,
    vma: *mut vm_area_struct,
    addr: c_ulong,
) -> *mut folio {
    // SAFETY: The caller's contract is that of both.
    unsafe {
        match swapin::decide(folio, vma, addr as _) {
            swapin::Answer::Folio => folio,
            swapin::Answer::Copy => b::swapksm_swapin_copy(folio, vma, addr),
        }
    }
}

#[no_mangle]
unsafe extern "C" fn swapksm_rmap_walk_ksm(folio: *mut folio, rwc: *mut rmap_walk_control) {
    // SAFETY: The caller's contract.
    unsafe { rmap::walk(folio, rwc) };
}

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

#[no_mangle]
unsafe extern "C" fn swapksm_folio_migrate_ksm(newfolio: *mut folio, folio: *mut folio) {
    // SAFETY: The caller's contract.
    unsafe { rmap::migrate(newfolio, folio) };
}

#[no_mangle]
unsafe extern "C" fn swapksm_ksm_process_profit(mm: *mut mm_struct) -> c_long {
    // SAFETY: The caller keeps the mm.
    unsafe { entry::profit(mm) as c_long }
}

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

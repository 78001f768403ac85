// SPDX-License-Identifier: GPL-2.0

//! Looking at page tables and VMAs (`shims/walk.h`).

use std::{ffi::c_int, ptr::null_mut};

use super::{
    fault::unshare,
    folio::{page, Frame},
    mm::{
        address, anon_vma, file, mm_struct, page_at, swapksm_mm_has_no_users, vm_area_struct, Pte,
        BASE, PAGES,
    },
    rmap::swapksm_anon_vma_finds,
    sync::{before_spinlocks, may_sleep},
};

pub(crate) const SWAPKSM_CHUNK_PAGES: u32 = 512;

#[repr(C)]
pub(crate) struct swapksm_collected {
    pub(crate) base: usize,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) count: u32,
    pub(crate) pages: [*mut page; 512],
}

impl Default for swapksm_collected {
    fn default() -> Self {
        Self {
            base: 0,
            from: 0,
            to: 0,
            count: 0,
            pages: [null_mut(); 512],
        }
    }
}

pub(crate) unsafe fn swapksm_collect(
    mm: *mut mm_struct,
    addr: usize,
    max: u32,
    found: *mut swapksm_collected,
    any: *mut bool,
) -> bool {
    may_sleep();
    // SAFETY: The caller's.
    let (mm, found) = unsafe { (&*mm, &mut *found) };
    *found = swapksm_collected::default();
    if addr >= address(PAGES) || !mm.vma.is_mergeable() {
        return false;
    }
    // SAFETY: As above.
    unsafe { *any = true };
    let chunk_of = |page| address(page) >> 21;
    let number = |page| (address(page) >> 12) as u32 % 512;
    let first = page_at(addr.max(BASE)).unwrap_or(0);
    let ptes = *mm.ptes();
    let mut last = None;
    for (page, pte) in ptes.iter().enumerate().skip(first) {
        let Some(pfn) = pte.pfn() else {
            continue;
        };
        let is_here = found.count == 0 || chunk_of(page) == found.base >> 21;
        if !is_here || found.count >= max {
            break;
        }
        found.base = chunk_of(page) << 21;
        found.pages[number(page) as usize] = Frame::of_pfn(pfn).as_ptr();
        found.count += 1;
        last = Some(page);
    }
    let Some(last) = last else { return false };
    found.from = if addr > found.base {
        (addr >> 12) as u32 % 512
    } else {
        0
    };
    found.to = if found.count < max {
        512
    } else {
        number(last) + 1
    };
    true
}

pub(crate) type swapksm_pte_kind = u32;
pub(crate) const swapksm_pte_kind_SWAPKSM_PTE_NONE: u32 = 0;
pub(crate) const swapksm_pte_kind_SWAPKSM_PTE_PAGE: u32 = 1;
pub(crate) const swapksm_pte_kind_SWAPKSM_PTE_MIGRATION: u32 = 2;
pub(crate) const swapksm_pte_kind_SWAPKSM_PTE_SWAP: u32 = 3;
pub(crate) const swapksm_pte_kind_SWAPKSM_PTE_SWAP_EXCLUSIVE: u32 = 4;

pub(crate) unsafe fn swapksm_pte_read(
    mm: *mut mm_struct,
    addr: usize,
    value: *mut usize,
) -> swapksm_pte_kind {
    before_spinlocks();
    let Some(page) = page_at(addr) else {
        return swapksm_pte_kind_SWAPKSM_PTE_NONE;
    };
    // SAFETY: The caller's.
    let pte = unsafe { &*mm }.ptes()[page];
    let (kind, number) = match pte {
        Pte::None => (swapksm_pte_kind_SWAPKSM_PTE_NONE, 0),
        Pte::Page { pfn, .. } => (swapksm_pte_kind_SWAPKSM_PTE_PAGE, pfn),
        Pte::Migration { pfn, .. } => (swapksm_pte_kind_SWAPKSM_PTE_MIGRATION, pfn),
        Pte::Swap {
            entry,
            exclusive: false,
        } => (swapksm_pte_kind_SWAPKSM_PTE_SWAP, entry),
        Pte::Swap { entry, .. } => (swapksm_pte_kind_SWAPKSM_PTE_SWAP_EXCLUSIVE, entry),
    };
    // SAFETY: As above.
    unsafe { *value = number as usize };
    kind
}

pub(crate) unsafe fn swapksm_is_mapping(
    mm: *mut mm_struct,
    addr: usize,
    anon_vma: *mut anon_vma,
    index: usize,
) -> bool {
    // SAFETY: The caller's.
    unsafe { swapksm_anon_vma_finds(anon_vma, index, (*mm).vma.as_ptr(), addr) }
}

pub(crate) unsafe fn swapksm_has_anon(_mm: *mut mm_struct, addr: usize) -> bool {
    page_at(addr).is_some()
}

pub(crate) unsafe fn swapksm_mergeable_vma(mm: *mut mm_struct, addr: usize) -> *mut vm_area_struct {
    // SAFETY: The caller's.
    unsafe {
        let is_there = page_at(addr).is_some() && (*mm).vma.is_mergeable();
        if is_there && !swapksm_mm_has_no_users(mm) {
            (*mm).vma.as_ptr()
        } else {
            null_mut()
        }
    }
}

pub(crate) unsafe fn swapksm_mm_has_mergeable(mm: *mut mm_struct) -> bool {
    // SAFETY: The caller's.
    unsafe { &*mm }.vma.is_mergeable()
}

pub(crate) unsafe fn swapksm_vma_compatible(_vma: *mut vm_area_struct) -> bool {
    true
}

pub(crate) unsafe fn swapksm_flags_compatible(_file: *const file, _flags: usize) -> bool {
    true
}

pub(crate) unsafe fn swapksm_vma_is_mergeable(vma: *const vm_area_struct) -> bool {
    // SAFETY: The caller's.
    unsafe { &*vma }.is_mergeable()
}

pub(crate) unsafe fn swapksm_vm_mergeable() -> u64 {
    1 << 31
}

pub(crate) unsafe fn swapksm_vma_mm(vma: *mut vm_area_struct) -> *mut mm_struct {
    // SAFETY: The caller's.
    unsafe { &*vma }.mm()
}

/// There are no others.
pub(crate) unsafe fn swapksm_vma_is_anonymous(_vma: *mut vm_area_struct) -> bool {
    true
}

pub(crate) unsafe fn swapksm_break_range(
    vma: *mut vm_area_struct,
    start: usize,
    end: usize,
    _write_lock: bool,
) -> c_int {
    may_sleep();
    // SAFETY: The caller's.
    let mm = unsafe { &*(*vma).mm() };
    for page in (0..PAGES).filter(|page| (start..end).contains(&address(*page))) {
        while unshare(mm, page) {}
    }
    0
}

pub(crate) unsafe fn swapksm_break_all(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's.
    unsafe { swapksm_break_range((*mm).vma.as_ptr(), 0, usize::MAX, false) }
}

pub(crate) unsafe fn swapksm_mark_all(mm: *mut mm_struct) {
    // SAFETY: The caller's.
    unsafe { &*mm }.vma.set_mergeable(true);
}

pub(crate) unsafe fn swapksm_unmark_all(mm: *mut mm_struct) -> c_int {
    // SAFETY: The caller's.
    unsafe {
        swapksm_break_all(mm);
        (*mm).vma.set_mergeable(false);
    }
    0
}

// SPDX-License-Identifier: GPL-2.0

//! Reverse mapping (`shims/rmap.h`).

use std::{
    ffi::c_int,
    ptr::with_exposed_provenance_mut,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use super::{
    folio::{folio, page, Frame},
    mm::{anon_vma, list_head, mm_struct, page_at, vm_area_struct, Pte},
    sync::{lock, may_sleep},
};

/// What a walker does with each mapping; false ends the walk.
pub(crate) struct rmap_walk_control<'a> {
    pub(crate) rmap_one: &'a dyn Fn(&Frame, &mm_struct, usize) -> bool,
}

pub(crate) type swapksm_walk_verdict = u32;
pub(crate) const swapksm_walk_verdict_SWAPKSM_WALK_ON: u32 = 0;
pub(crate) const swapksm_walk_verdict_SWAPKSM_WALK_DONE: u32 = 1;

#[repr(C)]
pub(crate) struct swapksm_visit {
    pub(crate) anon_vma: *mut anon_vma,
    pub(crate) index: usize,
    pub(crate) addr: usize,
    pub(crate) mm: *mut mm_struct,
    pub(crate) forks: bool,
    pub(crate) moved: *mut bool,
    pub(crate) lost: bool,
}

/// Ancestors of mappings that were compared so far, at worst.
pub(crate) static COMPARED: AtomicUsize = AtomicUsize::new(0);

pub(crate) unsafe fn swapksm_anon_vma_finds(
    anon_vma: *mut anon_vma,
    index: usize,
    vma: *mut vm_area_struct,
    addr: usize,
) -> bool {
    // SAFETY: The caller's.
    let vma = unsafe { &*vma };
    COMPARED.fetch_add(vma.chain_len(), SeqCst);
    page_at(addr) == Some(index) && vma.chain_has(anon_vma)
}

pub(crate) unsafe fn swapksm_anon_vma_depth(vma: *mut vm_area_struct, max: usize) -> usize {
    // SAFETY: The caller's.
    unsafe { &*vma }.chain_len().min(max)
}

fn names_folio(folio: &Frame, mm: &mm_struct, page: usize) -> bool {
    let pte = mm.ptes()[page];
    match pte {
        Pte::Page { pfn, .. } | Pte::Migration { pfn, .. } => pfn == folio.pfn(),
        Pte::Swap { entry, .. } => folio.swap.load(SeqCst) == entry,
        Pte::None => false,
    }
}

pub(crate) unsafe fn swapksm_rmap_visit(
    folio: *mut folio,
    rwc: *mut rmap_walk_control<'_>,
    visit: *mut swapksm_visit,
) -> swapksm_walk_verdict {
    may_sleep();
    // SAFETY: The caller's.
    let (folio, rwc, visit) = unsafe { (&*folio, &*rwc, &mut *visit) };
    assert!(folio.is_locked(), "walks a folio that is not locked");
    // SAFETY: The sharer's.
    let anon_vma = unsafe { &*visit.anon_vma };
    // SAFETY: The node's: written by the notifier of this very task.
    let moved = unsafe { AtomicBool::from_ptr(visit.moved) };
    let mut verdict = swapksm_walk_verdict_SWAPKSM_WALK_ON;
    anon_vma.lock.read();
    for vma in lock(&anon_vma.vmas).clone() {
        // SAFETY: The anon_vma's lock keeps it.
        let mm = unsafe { &*(*with_exposed_provenance_mut::<vm_area_struct>(vma)).mm() };
        let Some(page) = page_at(visit.addr) else {
            continue;
        };
        if (mm.as_ptr() == visit.mm) == visit.forks {
            continue;
        }
        if !(rwc.rmap_one)(folio, mm, page) {
            verdict = swapksm_walk_verdict_SWAPKSM_WALK_DONE;
        }
        if moved.swap(false, SeqCst) {
            visit.lost |= !names_folio(folio, mm, page);
        }
        if verdict == swapksm_walk_verdict_SWAPKSM_WALK_DONE {
            break;
        }
    }
    anon_vma.lock.unlock();
    verdict
}

pub(crate) unsafe fn swapksm_collect_procs(
    _anon_vma: *mut anon_vma,
    _index: usize,
    _addr: usize,
    _page: *const page,
    _to_kill: *mut list_head,
    _force_early: c_int,
) {
}

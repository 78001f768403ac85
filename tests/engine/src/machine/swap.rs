// SPDX-License-Identifier: GPL-2.0

//! The swap device and the swap cache, and the rest of `shims/swapin.h`.

use std::sync::{atomic::Ordering::SeqCst, Mutex};

use super::{
    folio::{folio, Frame},
    linger,
    mm::vm_area_struct,
    sync::lock,
};

pub(crate) const SLOTS: usize = 8;

#[derive(Clone, Copy)]
struct Slot {
    /// Page-table entries that name it.
    count: u32,
    content: u64,
    /// The folio in the swap cache, by its frame.
    folio: Option<u64>,
}

static SWAP: Mutex<[Slot; SLOTS]> = Mutex::new(
    [Slot {
        count: 0,
        content: 0,
        folio: None,
    }; SLOTS],
);

/// Gives a locked folio a slot and a place in the swap cache; its entry, or `None` if swap is full.
pub(crate) fn add(folio: &Frame) -> Option<u64> {
    assert!(folio.is_locked());
    let mut slots = lock(&SWAP);
    // The one used last first, as often as can be: entries are soon used again.
    let free = slots
        .iter()
        .position(|slot| slot.count == 0 && slot.folio.is_none())?;
    slots[free] = Slot {
        count: 0,
        content: u64::MAX,
        folio: Some(folio.pfn()),
    };
    folio.get();
    folio.swap.store(free as u64 + 1, SeqCst);
    Some(free as u64 + 1)
}

pub(crate) fn dup(entry: u64) {
    lock(&SWAP)[entry as usize - 1].count += 1;
}

/// A page-table entry no longer names it.
pub(crate) fn put(entry: u64) {
    let mut slots = lock(&SWAP);
    let slot = &mut slots[entry as usize - 1];
    slot.count = slot.count.checked_sub(1).expect("a slot that is in use");
}

pub(crate) fn count(entry: u64) -> u32 {
    lock(&SWAP)[entry as usize - 1].count
}

/// Takes a locked folio out of the swap cache if no page table names its slot: folio_free_swap().
pub(crate) fn try_free(folio: &Frame) {
    assert!(folio.is_locked());
    let entry = folio.swap.load(SeqCst);
    if entry == 0 {
        return;
    }
    let mut slots = lock(&SWAP);
    let slot = &mut slots[entry as usize - 1];
    if slot.count > 0 {
        return;
    }
    slot.folio = None;
    folio.dirty.store(true, SeqCst);
    folio.swap.store(0, SeqCst);
    drop(slots);
    folio.put();
}

/// Frees a locked, unmapped folio whose content is in its slot, if the caller has the only other reference: then that one
/// and the lock are gone, too.
pub(crate) fn drop_folio(folio: &Frame) -> bool {
    let entry = folio.swap.load(SeqCst);
    let mut slots = lock(&SWAP);
    if folio.mapcount.load(SeqCst) != 0 || !folio.freeze(2) {
        return false;
    }
    // Nobody has it mapped, so its content stands still: it is written to the device.
    slots[entry as usize - 1].content = folio.content.load(SeqCst);
    slots[entry as usize - 1].folio = None;
    folio.swap.store(0, SeqCst);
    drop(slots);
    folio.unlock();
    // In reclaim's batch: nobody can get it any more, and it has its key still.
    linger();
    folio.free();
    true
}

/// One folio in the swap cache takes the place of another. Both are locked; the old one has no references but ours and the
/// cache's.
pub(crate) fn move_folio(old: &Frame, new: &Frame) -> bool {
    let entry = old.swap.load(SeqCst);
    let mut slots = lock(&SWAP);
    if !old.freeze(2) {
        return false;
    }
    slots[entry as usize - 1].folio = Some(new.pfn());
    new.get();
    new.swap.store(entry, SeqCst);
    old.unfreeze(1);
    // What still is in the swap cache is frozen for a moment only: the mark goes last.
    old.swap.store(0, SeqCst);
    true
}

/// The folio of an entry with a reference; read in, if it is not there. `None`: try again, or no memory.
pub(crate) fn get_folio(entry: u64) -> Option<&'static Frame> {
    let mut slots = lock(&SWAP);
    let slot = &mut slots[entry as usize - 1];
    match slot.folio {
        Some(pfn) => {
            let folio = Frame::of_pfn(pfn);
            folio.try_get().then_some(folio)
        }
        // The entry is gone from all page tables.
        None if slot.count == 0 => None,
        None => {
            let folio = Frame::alloc(slot.content)?;
            folio.dirty.store(false, SeqCst);
            folio.swap.store(entry, SeqCst);
            slot.folio = Some(folio.pfn());
            folio.get();
            Some(folio)
        }
    }
}

/// The folio of an entry with a reference, if it is in the swap cache.
fn cached(entry: u64) -> Option<&'static Frame> {
    let pfn = lock(&SWAP)[entry as usize - 1].folio?;
    let folio = Frame::of_pfn(pfn);
    folio.try_get().then_some(folio)
}

pub(crate) fn is_empty() -> bool {
    lock(&SWAP)
        .iter()
        .all(|slot| slot.count == 0 && slot.folio.is_none())
}

pub(crate) unsafe fn swapksm_swapin_is_busy(entry: usize) -> bool {
    let Some(folio) = cached(entry as u64) else {
        return false;
    };
    let busy = !folio.try_lock();
    if !busy {
        folio.unlock();
    }
    folio.put();
    busy
}

pub(crate) type swapksm_swapin_kind = u32;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_LARGE: u32 = 0;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_KSM: u32 = 1;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_NEW: u32 = 2;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_LINEAR: u32 = 3;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_FOREIGN: u32 = 4;
pub(crate) const swapksm_swapin_kind_SWAPKSM_SWAPIN_LARGE_FOREIGN: u32 = 5;

pub(crate) unsafe fn swapksm_swapin_kind(
    folio: *mut folio,
    vma: *mut vm_area_struct,
    _addr: usize,
) -> swapksm_swapin_kind {
    // SAFETY: The caller's.
    let (folio, vma) = unsafe { (&*folio, &*vma) };
    assert!(folio.is_locked());
    if folio.is_ksm() {
        swapksm_swapin_kind_SWAPKSM_SWAPIN_KSM
    } else if !folio.is_anon() {
        swapksm_swapin_kind_SWAPKSM_SWAPIN_NEW
    } else if vma.is_in_rmap_of(folio) {
        swapksm_swapin_kind_SWAPKSM_SWAPIN_LINEAR
    } else {
        swapksm_swapin_kind_SWAPKSM_SWAPIN_FOREIGN
    }
}

pub(crate) type swapksm_swapin_mapped = u32;
pub(crate) const swapksm_swapin_mapped_SWAPKSM_SWAPIN_MAPPED: u32 = 0;
pub(crate) const swapksm_swapin_mapped_SWAPKSM_SWAPIN_BROKEN: u32 = 2;

pub(crate) unsafe fn swapksm_swapin_map_copy(
    _folio: *mut folio,
    _vma: *mut vm_area_struct,
    _addr: usize,
) -> swapksm_swapin_mapped {
    unreachable!("there are no large folios")
}

pub(crate) unsafe fn swapksm_swapin_is_for_kvm() -> bool {
    false
}

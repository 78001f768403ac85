// SPDX-License-Identifier: GPL-2.0

//! Folios and pages held by a reference (`shims/folio.h`).

use super::bindings as b;

/// A reference to a folio.
///
/// # Invariants
///
/// The pointer is valid and one reference is ours.
pub(crate) struct Folio(*mut b::folio);

impl Folio {
    /// Takes over a reference, `None` from null.
    ///
    /// # Safety
    ///
    /// `folio` is null or comes with a reference, which becomes ours.
    pub(crate) unsafe fn from_raw(folio: *mut b::folio) -> Option<Self> {
        (!folio.is_null()).then(|| Self(folio))
    }

    pub(crate) fn as_ptr(&self) -> *mut b::folio {
        self.0
    }

    pub(crate) fn pfn(&self) -> u64 {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_pfn(self.0) as u64 }
    }

    /// The folio's first page.
    pub(crate) fn page(&self) -> *mut b::page {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_pfn_page(b::swapksm_folio_pfn(self.0)) }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_is_poisoned(self.0) }
    }

    /// Can its content be looked at? Not if it is broken, or lies in the memory of a device.
    pub(crate) fn is_readable(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_is_readable(self.0) }
    }

    /// How many page-table entries map it.
    pub(crate) fn mapcount(&self) -> u32 {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_mapcount(self.0) }
    }

    /// Locks it if that can be had at once. Any context.
    pub(crate) fn try_lock_owned(self) -> Option<LockedFolio> {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_trylock(self.0) }.then(|| LockedFolio(self))
    }

    /// Locks it. May sleep.
    pub(crate) fn lock_owned(self) -> LockedFolio {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_lock(self.0) };
        LockedFolio(self)
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { b::swapksm_folio_put(self.0) };
    }
}

/// A locked folio, with a reference.
pub(crate) struct LockedFolio(Folio);

impl LockedFolio {
    /// Takes over a lock that C took, with a reference of its own.
    ///
    /// # Safety
    ///
    /// `folio` is locked on behalf of the caller, who has a reference.
    pub(crate) unsafe fn adopt(folio: *mut b::folio) -> Self {
        // SAFETY: There is a reference, so there can be another.
        unsafe { b::swapksm_folio_get(folio) };
        Self(Folio(folio))
    }

    /// Locks the folio of a page if that can be had at once. Any context.
    pub(crate) fn try_of_page(page: Page) -> Option<Self> {
        let folio = Folio(page.folio());
        core::mem::forget(page);
        folio.try_lock_owned()
    }

    pub(crate) fn as_ptr(&self) -> *mut b::folio {
        self.0.as_ptr()
    }

    pub(crate) fn page(&self) -> *mut b::page {
        self.0.page()
    }

    pub(crate) fn is_mapped(&self) -> bool {
        // SAFETY: We have a reference.
        unsafe { b::swapksm_folio_is_mapped(self.as_ptr()) }
    }

    /// Is it mapped, so many times at most, and in swap for nobody? Then it has no swap slot any more.
    pub(crate) fn is_mapped_only(&self, count: u32) -> bool {
        // SAFETY: Locked.
        unsafe { b::swapksm_folio_is_mapped_only(self.as_ptr(), count) }
    }

    /// Is it in the swap cache at this entry?
    pub(crate) fn is_at(&self, entry: u64) -> bool {
        // SAFETY: Locked.
        unsafe {
            b::swapksm_folio_is_swapcache(self.as_ptr())
                && b::swapksm_folio_swap(self.as_ptr()) as u64 == entry
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.is_poisoned()
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.0.is_readable()
    }

    /// Gives it another key, null: merged without node.
    pub(crate) fn set_node(&self, node: *mut core::ffi::c_void) {
        // SAFETY: Locked.
        unsafe { b::swapksm_folio_set_node(self.as_ptr(), node) };
    }

    /// The node its key names, as an address.
    pub(crate) fn node(&self) -> *mut core::ffi::c_void {
        // SAFETY: We have a reference.
        unsafe { b::swapksm_folio_node(self.as_ptr()) }
    }
}

impl Drop for LockedFolio {
    fn drop(&mut self) {
        // SAFETY: Locked by us; the reference is dropped after.
        unsafe { b::swapksm_folio_unlock(self.as_ptr()) };
    }
}

/// A page, held by a reference to its folio. Stays right when the folio is split: the reference goes with the page.
///
/// # Invariants
///
/// One reference to the folio that the page belongs to is ours.
pub(crate) struct Page(*mut b::page);

impl Page {
    /// Takes a reference to the page of a frame that something is known to keep in use at this moment; `None` when it
    /// is being freed or frozen. Any context.
    pub(crate) fn try_get(pfn: u64) -> Option<Self> {
        // SAFETY: The frame came out of a page table.
        unsafe {
            let page = b::swapksm_pfn_page(pfn as usize);
            (!b::swapksm_page_try_get(page).is_null()).then(|| Self(page))
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut b::page {
        self.0
    }

    pub(crate) fn pfn(&self) -> u64 {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_page_pfn(self.0) as u64 }
    }

    /// Its folio. Only a hint for large ones, which may be split.
    pub(crate) fn folio(&self) -> *mut b::folio {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_page_folio(self.0) }
    }

    pub(crate) fn is_ksm(&self) -> bool {
        // SAFETY: By the invariants.
        unsafe { b::swapksm_folio_is_ksm(self.folio()) }
    }

    /// Copies the content.
    pub(crate) fn copy_to(&self, buffer: &mut [u8; 4096]) {
        // SAFETY: The buffer has the size of a page.
        unsafe { b::swapksm_page_copy(buffer.as_mut_ptr().cast(), self.0) };
    }

    /// Are the contents equal at this moment?
    pub(crate) fn is_identical(&self, other: *mut b::page) -> bool {
        // SAFETY: Both are held.
        unsafe { b::swapksm_pages_identical(self.0, other) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { b::swapksm_page_put(self.0) };
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Page frames, and the folios in them (`shims/folio.h`).

use std::{
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ptr::{from_ref, null_mut, with_exposed_provenance_mut},
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::SeqCst},
        Mutex,
    },
};

use super::sync::{lock, may_sleep, Sleeping};

pub(crate) const FRAMES: usize = 14;

/// `folio->mapping`: an anon_vma, or a node.
pub(crate) const ANON: usize = 1;
pub(crate) const KSM: usize = 3;

/// A frame: page, folio, and its content.
#[repr(align(16))]
pub(crate) struct Frame {
    refs: AtomicI32,
    pub(crate) mapcount: AtomicI32,
    pub(crate) mapping: AtomicUsize,
    lock: Sleeping,
    /// The swap entry of a folio in the swap cache, else 0.
    pub(crate) swap: AtomicU64,
    pub(crate) dirty: AtomicBool,
    poisoned: AtomicBool,
    pub(crate) content: AtomicU64,
    /// The content as the engine wants it of a locked folio.
    bytes: UnsafeCell<[u8; 4096]>,
}

// SAFETY: The bytes are written and read with the folio locked.
unsafe impl Sync for Frame {}

pub(crate) type page = Frame;
pub(crate) type folio = Frame;

static ALL: [Frame; FRAMES] = [const {
    Frame {
        refs: AtomicI32::new(0),
        mapcount: AtomicI32::new(0),
        mapping: AtomicUsize::new(0),
        lock: Sleeping::new(),
        swap: AtomicU64::new(0),
        dirty: AtomicBool::new(false),
        poisoned: AtomicBool::new(false),
        content: AtomicU64::new(0),
        bytes: UnsafeCell::new([0; 4096]),
    }
}; FRAMES];

static FREE: Mutex<Option<Vec<usize>>> = Mutex::new(None);

impl Frame {
    /// A frame with one reference, which was used last of all that are free: so frames are soon used again.
    pub(crate) fn alloc(content: u64) -> Option<&'static Self> {
        let index = lock(&FREE)
            .get_or_insert_with(|| (0..FRAMES).collect())
            .pop()?;
        let frame = &ALL[index];
        frame.content.store(content, SeqCst);
        frame.dirty.store(true, SeqCst);
        frame.refs.store(1, SeqCst);
        Some(frame)
    }

    pub(crate) fn all() -> &'static [Self] {
        &ALL
    }

    pub(crate) fn of_pfn(pfn: u64) -> &'static Self {
        &ALL[pfn as usize - 1]
    }

    /// Its place in `all`.
    pub(crate) fn index(&self) -> usize {
        self.pfn() as usize - 1
    }

    pub(crate) fn pfn(&self) -> u64 {
        let at = (from_ref(self) as usize - from_ref(&ALL[0]) as usize) / size_of::<Self>();
        at as u64 + 1
    }

    pub(crate) fn as_ptr(&'static self) -> *mut Self {
        from_ref(self).cast_mut()
    }

    pub(crate) fn refs(&self) -> i32 {
        self.refs.load(SeqCst)
    }

    pub(crate) fn get(&self) {
        assert!(self.refs.fetch_add(1, SeqCst) > 0, "a reference from none");
    }

    pub(crate) fn try_get(&self) -> bool {
        let more = |refs| (refs > 0).then_some(refs + 1);
        self.refs.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    pub(crate) fn put(&self) {
        let before = self.refs.fetch_sub(1, SeqCst);
        assert!(before > 0, "a reference too many given back");
        if before == 1 {
            self.free();
        }
    }

    /// Takes all references, if there are as many as expected.
    pub(crate) fn freeze(&self, expected: i32) -> bool {
        self.refs
            .compare_exchange(expected, 0, SeqCst, SeqCst)
            .is_ok()
    }

    pub(crate) fn unfreeze(&self, refs: i32) {
        self.refs.store(refs, SeqCst);
    }

    /// Without references.
    pub(crate) fn free(&self) {
        assert_eq!(self.mapcount.load(SeqCst), 0, "freed while mapped");
        assert_eq!(self.swap.load(SeqCst), 0, "freed in the swap cache");
        assert!(!self.lock.is_locked(), "freed while locked");
        self.mapping.store(0, SeqCst);
        lock(&FREE).get_or_insert_default().push(self.index());
    }

    pub(crate) fn lock(&self) {
        assert!(self.refs() > 0, "locks a folio without a reference");
        self.lock.write();
    }

    pub(crate) fn try_lock(&self) -> bool {
        self.lock.try_write()
    }

    pub(crate) fn unlock(&self) {
        self.lock.unlock();
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    pub(crate) fn is_ksm(&self) -> bool {
        self.mapping.load(SeqCst) & KSM == KSM
    }

    pub(crate) fn is_anon(&self) -> bool {
        self.mapping.load(SeqCst) & ANON != 0
    }

    /// References that page tables and the swap cache have.
    pub(crate) fn known_refs(&self) -> i32 {
        self.mapcount.load(SeqCst) + i32::from(self.swap.load(SeqCst) != 0)
    }
}

unsafe fn of<'a>(folio: *const Frame) -> &'a Frame {
    // SAFETY: The caller's; frames are for ever.
    unsafe { &*folio }
}

pub(crate) unsafe fn swapksm_page_pfn(page: *const page) -> usize {
    unsafe { of(page) }.pfn() as usize
}

pub(crate) unsafe fn swapksm_pfn_page(pfn: usize) -> *mut page {
    Frame::of_pfn(pfn as u64).as_ptr()
}

pub(crate) unsafe fn swapksm_pfn_nid(_pfn: usize) -> c_int {
    0
}

pub(crate) unsafe fn swapksm_page_try_get(page: *mut page) -> *mut folio {
    if unsafe { of(page) }.try_get() {
        page
    } else {
        null_mut()
    }
}

pub(crate) unsafe fn swapksm_folio_get(folio: *mut folio) {
    unsafe { of(folio) }.get();
}

pub(crate) unsafe fn swapksm_folio_put(folio: *mut folio) {
    unsafe { of(folio) }.put();
}

pub(crate) unsafe fn swapksm_page_put(page: *mut page) {
    unsafe { of(page) }.put();
}

pub(crate) unsafe fn swapksm_page_folio(page: *mut page) -> *mut folio {
    page
}

pub(crate) unsafe fn swapksm_folio_pfn(folio: *const folio) -> usize {
    unsafe { of(folio) }.pfn() as usize
}

pub(crate) unsafe fn swapksm_folio_lock(folio: *mut folio) {
    unsafe { of(folio) }.lock();
}

pub(crate) unsafe fn swapksm_folio_trylock(folio: *mut folio) -> bool {
    unsafe { of(folio) }.try_lock()
}

pub(crate) unsafe fn swapksm_folio_unlock(folio: *mut folio) {
    unsafe { of(folio) }.unlock();
}

pub(crate) unsafe fn swapksm_folio_is_ksm(folio: *const folio) -> bool {
    unsafe { of(folio) }.is_ksm()
}

pub(crate) unsafe fn swapksm_folio_is_mapped(folio: *const folio) -> bool {
    unsafe { of(folio) }.mapcount.load(SeqCst) > 0
}

pub(crate) unsafe fn swapksm_folio_mapcount(folio: *const folio) -> u32 {
    unsafe { of(folio) }.mapcount.load(SeqCst) as u32
}

pub(crate) unsafe fn swapksm_folio_is_mapped_only(folio: *mut folio, count: u32) -> bool {
    let folio = unsafe { of(folio) };
    if folio.mapcount.load(SeqCst) as u32 > count {
        return false;
    }
    super::swap::try_free(folio);
    folio.swap.load(SeqCst) == 0
}

pub(crate) unsafe fn swapksm_folio_is_swapcache(folio: *const folio) -> bool {
    unsafe { of(folio) }.swap.load(SeqCst) != 0
}

pub(crate) unsafe fn swapksm_folio_swap(folio: *const folio) -> usize {
    unsafe { of(folio) }.swap.load(SeqCst) as usize
}

pub(crate) unsafe fn swapksm_folio_is_poisoned(folio: *mut folio) -> bool {
    unsafe { of(folio) }.poisoned.load(SeqCst)
}

pub(crate) unsafe fn swapksm_folio_is_readable(folio: *mut folio) -> bool {
    // SAFETY: The caller's.
    !unsafe { swapksm_folio_is_poisoned(folio) }
}

pub(crate) unsafe fn swapksm_folio_is_uptodate(_folio: *mut folio) -> bool {
    true
}

pub(crate) unsafe fn swapksm_folio_pages(_folio: *const folio) -> u32 {
    1
}

pub(crate) unsafe fn swapksm_folio_node(folio: *const folio) -> *mut c_void {
    let key = unsafe { of(folio) }.mapping.load(SeqCst);
    if key & KSM == KSM {
        with_exposed_provenance_mut(key & !KSM)
    } else {
        null_mut()
    }
}

pub(crate) unsafe fn swapksm_page_node(page: *mut page) -> *mut c_void {
    unsafe { swapksm_folio_node(page) }
}

pub(crate) unsafe fn swapksm_folio_set_node(folio: *mut folio, node: *mut c_void) {
    let folio = unsafe { of(folio) };
    assert!(folio.is_locked(), "a key is set without the folio's lock");
    folio.mapping.store(node.expose_provenance() | KSM, SeqCst);
}

pub(crate) unsafe fn swapksm_keyhole(pfn: usize, node: *const c_void) -> *mut folio {
    let key = node.expose_provenance() | KSM;
    let folio = Frame::of_pfn(pfn as u64);
    if folio.mapping.load(SeqCst) != key {
        return null_mut();
    }
    while !folio.try_get() {
        if folio.swap.load(SeqCst) == 0 {
            return null_mut();
        }
        std::thread::yield_now();
    }
    if folio.mapping.load(SeqCst) != key {
        folio.put();
        return null_mut();
    }
    folio.as_ptr()
}

/// What a frame holds at this moment.
pub(crate) fn bytes_of(frame: &Frame) -> [u8; 4096] {
    let mut bytes = [0; 4096];
    bytes[..8].copy_from_slice(&frame.content.load(SeqCst).to_ne_bytes());
    bytes
}

pub(crate) unsafe fn swapksm_page_copy(buffer: *mut c_void, page: *mut page) {
    let bytes = bytes_of(unsafe { of(page) });
    // SAFETY: The caller's buffer has the size of a page.
    unsafe { buffer.cast::<[u8; 4096]>().write(bytes) };
}

pub(crate) unsafe fn swapksm_folio_address(folio: *mut folio) -> *const c_void {
    let folio = unsafe { of(folio) };
    assert!(folio.is_locked(), "reads a page that may change");
    // SAFETY: Locked, and in no page table: nobody else looks.
    unsafe { folio.bytes.get().write(bytes_of(folio)) };
    folio.bytes.get().cast()
}

pub(crate) unsafe fn swapksm_pages_identical(a: *mut page, b: *mut page) -> bool {
    let (a, b) = unsafe { (of(a), of(b)) };
    assert!(
        a.refs() > 0 && b.refs() > 0,
        "compares pages without references"
    );
    a.content.load(SeqCst) == b.content.load(SeqCst)
}

pub(crate) unsafe fn swapksm_zero_page(_addr: usize) -> *mut page {
    may_sleep();
    unreachable!("use_zero_pages is off")
}

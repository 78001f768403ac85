// SPDX-License-Identifier: GPL-2.0

//! The engine's own memory (`shims/memory.h`), counted.

use std::{
    alloc::{alloc_zeroed, dealloc, Layout},
    collections::HashMap,
    ffi::{c_int, c_void},
    sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        Mutex,
    },
};

use super::{
    mm::mm_struct,
    sync::{lock, may_sleep},
};

pub(crate) type swapksm_object = u32;
pub(crate) const swapksm_object_SWAPKSM_OBJECT_SPACE: u32 = 0;
pub(crate) const swapksm_object_SWAPKSM_OBJECT_CHUNK: u32 = 1;
pub(crate) const swapksm_object_SWAPKSM_OBJECT_NODE: u32 = 2;
pub(crate) const swapksm_object_SWAPKSM_OBJECT_SHARER: u32 = 3;
const OBJECTS: usize = 4;

#[repr(C)]
pub(crate) struct swapksm_chunk_tail {
    rcu: [usize; 2],
    pub(crate) offset: usize,
    pub(crate) items: *mut c_void,
    pub(crate) bytes: usize,
}

static SIZES: [AtomicUsize; OBJECTS] = [const { AtomicUsize::new(0) }; OBJECTS];
static LIVE: [AtomicUsize; OBJECTS] = [const { AtomicUsize::new(0) }; OBJECTS];
/// Owners of blocks of items.
static OWNERS: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

pub(crate) unsafe fn swapksm_memory_init(sizes: *const usize) -> c_int {
    for (kind, size) in SIZES.iter().enumerate() {
        // SAFETY: As many sizes as there are kinds.
        size.store(unsafe { *sizes.add(kind) }, SeqCst);
    }
    0
}

pub(crate) unsafe fn swapksm_memory_fini() {
    free_chunks(&mut lock(&RCU));
    let left: Vec<usize> = LIVE.iter().map(|live| live.load(SeqCst)).collect();
    assert_eq!(left, [0; OBJECTS], "spaces, chunks, nodes and sharers left");
}

pub(crate) unsafe fn swapksm_total_pages() -> usize {
    1 << 10
}

fn layout(kind: u32) -> Layout {
    Layout::from_size_align(SIZES[kind as usize].load(SeqCst), 16).expect("a size")
}

pub(crate) unsafe fn swapksm_object_alloc(kind: u32, _mm: *mut mm_struct) -> *mut c_void {
    may_sleep();
    LIVE[kind as usize].fetch_add(1, SeqCst);
    // SAFETY: Objects have a size.
    unsafe { alloc_zeroed(layout(kind)).cast() }
}

pub(crate) unsafe fn swapksm_space_alloc(adopted: *mut mm_struct) -> *mut c_void {
    // SAFETY: As there.
    unsafe { swapksm_object_alloc(swapksm_object_SWAPKSM_OBJECT_SPACE, adopted) }
}

/// Every other time.
pub(crate) unsafe fn swapksm_has_spare_page(_mm: *mut mm_struct) -> bool {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    ASKED.fetch_add(1, SeqCst) % 2 == 1
}

pub(crate) unsafe fn swapksm_object_free(kind: u32, object: *mut c_void) {
    LIVE[kind as usize].fetch_sub(1, SeqCst);
    // SAFETY: From `swapksm_object_alloc`.
    unsafe { dealloc(object.cast(), layout(kind)) };
}

fn items_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 4096).expect("a size")
}

pub(crate) unsafe fn swapksm_items_alloc(
    bytes: usize,
    owner: *mut c_void,
    _mm: *mut mm_struct,
) -> *mut c_void {
    may_sleep();
    // SAFETY: Not 0.
    let items = unsafe { alloc_zeroed(items_layout(bytes)) };
    lock(&OWNERS)
        .get_or_insert_default()
        .insert(items as usize, owner.expose_provenance());
    items.cast()
}

pub(crate) unsafe fn swapksm_items_owner(items: *const c_void) -> *mut c_void {
    let owner = lock(&OWNERS)
        .as_ref()
        .and_then(|owners| owners.get(&(items as usize)).copied());
    std::ptr::with_exposed_provenance_mut(owner.expect("a block of items"))
}

/// RCU: readers there are, and chunks that wait for them.
struct Rcu {
    readers: u32,
    waiting: Vec<usize>,
}

static RCU: Mutex<Rcu> = Mutex::new(Rcu {
    readers: 0,
    waiting: Vec::new(),
});

pub(crate) fn rcu_reader_came() {
    lock(&RCU).readers += 1;
}

pub(crate) fn rcu_reader_left() {
    let mut rcu = lock(&RCU);
    rcu.readers -= 1;
    if rcu.readers == 0 {
        free_chunks(&mut rcu);
    }
}

fn free_chunks(rcu: &mut Rcu) {
    assert_eq!(rcu.readers, 0, "readers of RCU left");
    for tail in rcu.waiting.drain(..) {
        let tail: *mut swapksm_chunk_tail = std::ptr::with_exposed_provenance_mut(tail);
        // SAFETY: Filled in by who gave it up; nobody reads it any more.
        unsafe {
            let (offset, items, bytes) = ((*tail).offset, (*tail).items, (*tail).bytes);
            if let Some(owners) = lock(&OWNERS).as_mut() {
                owners.remove(&(items as usize));
            }
            dealloc(items.cast(), items_layout(bytes));
            swapksm_object_free(
                swapksm_object_SWAPKSM_OBJECT_CHUNK,
                tail.byte_sub(offset).cast(),
            );
        }
    }
}

pub(crate) unsafe fn swapksm_chunk_free_rcu(tail: *mut swapksm_chunk_tail) {
    let mut rcu = lock(&RCU);
    rcu.waiting.push(tail.expose_provenance());
    if rcu.readers == 0 {
        free_chunks(&mut rcu);
    }
}

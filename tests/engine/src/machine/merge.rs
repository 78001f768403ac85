// SPDX-License-Identifier: GPL-2.0

//! The two page-table actions of merging: `shims/merge.c`, step by step.

use std::{
    ffi::{c_int, c_void},
    ptr::with_exposed_provenance,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use kernel::prelude::*;
use xxhash_rust::xxh64::xxh64;

use super::{
    folio::{bytes_of, page, swapksm_pages_identical, Frame, KSM},
    linger,
    mm::{page_at, vm_area_struct, Pte},
    pause, swap,
    sync::may_sleep,
};
use crate::{engine::node::Node, nh::nh, sys::random::hash_key};

/// Pages replaced by merged ones.
pub(crate) static MERGES: AtomicU64 = AtomicU64::new(0);

/// A folio with a node is being mapped by a swap-in: is it the node's page, and the only one?
pub(crate) fn check_swapped_in(folio: &Frame) {
    let key = folio.mapping.load(SeqCst);
    if key == KSM {
        return;
    }
    let node: *const Node = with_exposed_provenance(key & !KSM);
    // SAFETY: A key names a node that exists. It does not change while the folio is locked, which it is.
    let known = unsafe { *(*node).key.as_ptr() };
    let hash = xxh64(&nh(&bytes_of(folio), hash_key()).to_le_bytes(), 0);
    assert_eq!(
        known.hash, hash,
        "a node's page has come back with other content"
    );
    // One that is moving has its key twice for a moment, and is locked.
    let other = |f: &&Frame| {
        f.pfn() != folio.pfn() && f.refs() > 0 && !f.is_locked() && f.mapping.load(SeqCst) == key
    };
    let others = Frame::all().iter().filter(other).count();
    assert_eq!(others, 0, "a node has a second page");
}

/// No longer mapped there.
const ESTALE: c_int = -116;

unsafe fn protect(vma: &vm_area_struct, addr: usize, folio: &Frame) -> Result<Pte, c_int> {
    // SAFETY: The caller holds its mmap lock.
    let mm = unsafe { &*vma.mm() };
    let page = page_at(addr).expect("in the mapping");
    let _invalidation = mm.invalidate_start(addr, addr + 4096);
    let mut ptes = mm.ptes();
    let Pte::Page {
        pfn,
        write,
        dirty,
        exclusive,
    } = ptes[page]
    else {
        return Err(ESTALE);
    };
    if pfn != folio.pfn() {
        return Err(ESTALE);
    }
    if write || dirty || exclusive {
        if folio.refs() != folio.known_refs() + 1 {
            return Err(EBUSY.to_errno());
        }
        if dirty {
            folio.dirty.store(true, SeqCst);
        }
        ptes[page] = Pte::Page {
            pfn,
            write: false,
            dirty: false,
            exclusive: false,
        };
    }
    Ok(ptes[page])
}

unsafe fn replace(
    vma: &vm_area_struct,
    addr: usize,
    folio: &Frame,
    merged: &Frame,
    protected: Pte,
) -> Result<(), c_int> {
    // SAFETY: The caller holds its mmap lock.
    let mm = unsafe { &*vma.mm() };
    let page = page_at(addr).expect("in the mapping");
    let _invalidation = mm.invalidate_start(addr, addr + 4096);
    let mut ptes = mm.ptes();
    if ptes[page] != protected {
        return Err(ESTALE);
    }
    assert_eq!(
        folio.content.load(SeqCst),
        merged.content.load(SeqCst),
        "a page is replaced by one of other content"
    );
    MERGES.fetch_add(1, SeqCst);
    merged.get();
    merged.mapcount.fetch_add(1, SeqCst);
    ptes[page] = Pte::Page {
        pfn: merged.pfn(),
        write: false,
        dirty: false,
        exclusive: false,
    };
    if folio.mapcount.fetch_sub(1, SeqCst) == 1 {
        swap::try_free(folio);
    }
    folio.put();
    Ok(())
}

fn lock_small(folio: &Frame) -> Result<(), c_int> {
    if !folio.try_lock() {
        return Err(EBUSY.to_errno());
    }
    if !folio.is_anon() {
        folio.unlock();
        return Err(EBUSY.to_errno());
    }
    Ok(())
}

fn number(result: Result<(), c_int>) -> c_int {
    result.map_or_else(|error| error, |()| 0)
}

pub(crate) unsafe fn swapksm_can_merge(
    vma: *mut vm_area_struct,
    addr: usize,
    page: *mut page,
) -> bool {
    // SAFETY: The caller's; he holds the mmap lock.
    let (mm, folio) = unsafe { (&*(*vma).mm(), &*page) };
    let place = page_at(addr).expect("in the mapping");
    match mm.ptes()[place] {
        Pte::Page {
            pfn,
            write,
            dirty,
            exclusive,
        } if pfn == folio.pfn() && folio.is_anon() => {
            !(write || dirty || exclusive) || folio.refs() == folio.known_refs() + 1
        }
        _ => false,
    }
}

pub(crate) unsafe fn swapksm_merge_first(
    vma: *mut vm_area_struct,
    addr: usize,
    page: *mut page,
    node: *mut c_void,
) -> c_int {
    may_sleep();
    // SAFETY: The caller's.
    let (vma, folio) = unsafe { (&*vma, &*page) };
    if let Err(error) = lock_small(folio) {
        return error;
    }
    let result = if folio.is_ksm() {
        Err(EBUSY.to_errno())
    } else {
        // SAFETY: As above.
        unsafe { protect(vma, addr, folio) }
    };
    if let Err(error) = result {
        folio.unlock();
        return error;
    }
    pause();
    folio.mapping.store(node.expose_provenance() | KSM, SeqCst);
    folio.dirty.store(true, SeqCst);
    0
}

pub(crate) unsafe fn swapksm_merge_into(
    vma: *mut vm_area_struct,
    addr: usize,
    page: *mut page,
    kpage: *mut page,
) -> c_int {
    may_sleep();
    // SAFETY: The caller's.
    let (vma, folio, merged) = unsafe { (&*vma, &*page, &*kpage) };
    assert!(merged.is_locked(), "merges into a folio that is not locked");
    if let Err(error) = lock_small(folio) {
        return error;
    }
    // SAFETY: As above.
    let result = unsafe {
        protect(vma, addr, folio).and_then(|protected| {
            pause();
            if !swapksm_pages_identical(page, kpage) {
                return Err(EINVAL.to_errno());
            }
            merged.dirty.store(true, SeqCst);
            replace(vma, addr, folio, merged, protected)
        })
    };
    folio.unlock();
    linger();
    number(result)
}

pub(crate) unsafe fn swapksm_split(_page: *mut page) -> bool {
    unreachable!("all folios are small")
}

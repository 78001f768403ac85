// SPDX-License-Identifier: GPL-2.0

//! Reclaim and migration.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    below,
    folio::{Frame, KSM},
    mm::{address, mm_struct, swapksm_mm_put, Pte, FORKING, PAGES},
    pause,
    rmap::rmap_walk_control,
    swap,
};
use crate::engine::rmap;

/// Shows every mapping of a locked folio: through the engine if it is merged.
fn walk(folio: &'static Frame, one: &dyn Fn(&Frame, &mm_struct, usize) -> bool) {
    if folio.is_ksm() {
        let mut control = rmap_walk_control { rmap_one: one };
        // SAFETY: Merged and locked.
        unsafe { rmap::walk(folio.as_ptr(), (&raw mut control).cast()) };
        return;
    }
    FORKING.read();
    let mms = mm_struct::all();
    for mm in &mms {
        for page in 0..PAGES {
            one(folio, mm, page);
        }
    }
    FORKING.unlock();
    for mm in mms {
        // SAFETY: The user is ours. Not here, with the folio locked: who exits takes the mmap lock.
        unsafe { swapksm_mm_put(mm.as_ptr()) };
    }
}

/// try_to_unmap_one() and try_to_migrate_one(): what the entry becomes.
fn unmap_one(folio: &Frame, mm: &mm_struct, page: usize, to: &dyn Fn(bool) -> Pte) {
    if mm.ptes()[page].pfn() != Some(folio.pfn()) {
        return;
    }
    let _invalidation = mm.invalidate_start(address(page), address(page) + 4096);
    let mut ptes = mm.ptes();
    let Pte::Page {
        pfn,
        dirty,
        exclusive,
        ..
    } = ptes[page]
    else {
        return;
    };
    // It may fail here for many reasons.
    if pfn != folio.pfn() || below(8) == 0 {
        return;
    }
    if dirty {
        folio.dirty.store(true, SeqCst);
    }
    let new = to(exclusive);
    if let Pte::Swap { entry, .. } = new {
        swap::dup(entry);
    }
    ptes[page] = new;
    folio.mapcount.fetch_sub(1, SeqCst);
    drop(ptes);
    folio.put();
}

/// A folio with a reference, locked, if it can be had.
fn take(index: usize) -> Option<&'static Frame> {
    let folio = &Frame::all()[index];
    if !folio.try_get() {
        return None;
    }
    if !folio.try_lock() {
        folio.put();
        return None;
    }
    Some(folio)
}

/// shrink_folio_list() for one folio.
pub(crate) fn reclaim(index: usize) {
    let Some(folio) = take(index) else { return };
    pause();
    // A folio that is in no rmap is none of ours.
    if folio.is_anon() {
        let entry = match folio.swap.load(SeqCst) {
            0 => swap::add(folio),
            entry => Some(entry),
        };
        if let Some(entry) = entry {
            walk(folio, &|folio, mm, page| {
                unmap_one(folio, mm, page, &|exclusive| Pte::Swap { entry, exclusive });
                folio.mapcount.load(SeqCst) > 0
            });
            pause();
            // Written back by now.
            folio.dirty.store(false, SeqCst);
        }
    }
    if folio.swap.load(SeqCst) != 0 {
        if swap::drop_folio(folio) {
            return;
        }
        swap::try_free(folio);
    }
    folio.unlock();
    folio.put();
}

/// migrate_pages() for one folio.
pub(crate) fn migrate(index: usize) {
    let Some(old) = take(index) else { return };
    if old.is_anon() && old.mapcount.load(SeqCst) > 0 {
        let Some(new) = Frame::alloc(0) else {
            old.unlock();
            old.put();
            return;
        };
        new.lock();
        let pfn = old.pfn();
        walk(old, &|folio, mm, page| {
            unmap_one(folio, mm, page, &|exclusive| Pte::Migration {
                pfn,
                exclusive,
            });
            true
        });
        pause();
        let moved = old.mapcount.load(SeqCst) == 0 && move_folio(old, new);
        let there = if moved { new } else { old };
        walk(there, &|folio, mm, page| {
            restore_one(folio, mm, page, pfn);
            true
        });
        new.unlock();
        new.put();
    }
    old.unlock();
    old.put();
}

/// folio_migrate_mapping() and folio_migrate_flags(), for an unmapped folio.
fn move_folio(old: &'static Frame, new: &'static Frame) -> bool {
    if old.swap.load(SeqCst) != 0 {
        new.content.store(old.content.load(SeqCst), SeqCst);
        new.mapping.store(old.mapping.load(SeqCst), SeqCst);
        if !swap::move_folio(old, new) {
            new.mapping.store(0, SeqCst);
            return false;
        }
    } else {
        if old.refs() != 1 {
            return false;
        }
        new.content.store(old.content.load(SeqCst), SeqCst);
        new.mapping.store(old.mapping.load(SeqCst), SeqCst);
    }
    pause();
    new.dirty.store(old.dirty.load(SeqCst), SeqCst);
    if new.mapping.load(SeqCst) & KSM == KSM {
        // SAFETY: Both are locked, and the old one is merged.
        unsafe { rmap::migrate(new.as_ptr(), old.as_ptr()) };
    }
    pause();
    old.mapping.store(0, SeqCst);
    true
}

/// remove_migration_pte()
fn restore_one(folio: &Frame, mm: &mm_struct, page: usize, from: u64) {
    let mut ptes = mm.ptes();
    let Pte::Migration { pfn, exclusive } = ptes[page] else {
        return;
    };
    if pfn != from {
        return;
    }
    folio.get();
    folio.mapcount.fetch_add(1, SeqCst);
    ptes[page] = Pte::Page {
        pfn: folio.pfn(),
        write: false,
        dirty: false,
        exclusive,
    };
}

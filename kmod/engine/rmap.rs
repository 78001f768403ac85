// SPDX-License-Identifier: GPL-2.0

//! Reverse mapping: how reclaim, migration, page idle tracking and memory failure find the mappings of a merged page.
//!
//! All of it runs with the folio locked, so neither its key nor, while it has one, the node's sharers change.

use core::ptr;

use super::{
    locks::Live,
    node::{entries, Node, Sharers},
    reap,
};
use crate::sys::bindings as b;

/// Shows a walker every mapping of a merged folio.
///
/// The walk announces itself to the notifier (`Node::walk`): the invalidations that the walker itself sends do not make
/// sharers suspect, since `swapksm_rmap_visit` reads what it left in the page table. Forked copies hang off the sharers'
/// anon_vmas and come second, as in mm/ksm.c: in the usual case the walker has what it wants before.
///
/// # Safety
///
/// `folio` is merged and locked.
pub(crate) unsafe fn walk(folio: *mut b::folio, rwc: *mut b::rmap_walk_control) {
    // SAFETY: The folio is locked.
    let Some(node) = (unsafe { Node::of_folio(folio) }) else {
        return;
    };
    // SAFETY: The folio is locked, so it is in the swap cache or not.
    unsafe {
        if b::swapksm_folio_is_swapcache(folio) {
            // Should this walk unmap it: this is where its sharers will find it.
            entries::remember(node, b::swapksm_folio_swap(folio) as u64);
        }
    }
    let walking = node.walk();
    for forks in [false, true] {
        for sharer in sharers(node) {
            let mut visit = b::swapksm_visit {
                anon_vma: sharer.anon_vma(),
                index: sharer.index(),
                addr: sharer.address(),
                mm: sharer.mm(),
                forks,
                moved: walking.moved(),
                lost: false,
            };
            // SAFETY: The folio is locked; the sharer keeps its anon_vma.
            let verdict = unsafe { b::swapksm_rmap_visit(folio, rwc, &mut visit) };
            if visit.lost {
                reap::suspect(sharer.chunk(), sharer.slot());
            }
            if verdict == b::swapksm_walk_verdict_SWAPKSM_WALK_DONE {
                return;
            }
        }
    }
}

/// The sharers of a node whose folio is locked.
fn sharers(node: Live<Node>) -> Sharers<'static> {
    // SAFETY: Whoever changes the list has the folio's lock, which our caller has.
    unsafe { Sharers::under_folio_lock(node) }
}

/// Lists the processes that map a poisoned page.
///
/// # Safety
///
/// `folio` is merged and locked, `page` is its page, `to_kill` the caller's list.
pub(crate) unsafe fn collect_procs(
    folio: *const b::folio,
    page: *const b::page,
    to_kill: *mut b::list_head,
    force_early: i32,
) {
    // SAFETY: The folio is locked.
    let Some(node) = (unsafe { Node::of_folio(folio) }) else {
        return;
    };
    for sharer in sharers(node) {
        // SAFETY: The sharer keeps its anon_vma.
        unsafe {
            b::swapksm_collect_procs(
                sharer.anon_vma(),
                sharer.index(),
                sharer.address(),
                page,
                to_kill,
                force_early,
            );
        }
    }
}

/// A merged folio moves. Its key is on the new folio already.
///
/// Against the keyhole (`Node::folio`): who finds the key gone from the old folio takes the node's lock and sees the new
/// frame, since both change under it.
///
/// # Safety
///
/// Both folios are locked; `folio` is merged.
pub(crate) unsafe fn migrate(new: *mut b::folio, folio: *mut b::folio) {
    // SAFETY: The folio is locked.
    let Some(node) = (unsafe { Node::of_folio(folio) }) else {
        return;
    };
    let mut state = node.state.lock();
    // SAFETY: Both are locked.
    unsafe {
        state.pfn = b::swapksm_folio_pfn(new) as u64;
        b::swapksm_folio_set_node(folio, ptr::null_mut());
    }
}

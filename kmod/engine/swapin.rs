// SPDX-License-Identifier: GPL-2.0

//! Coming back from swap: what `do_swap_page()` and swapoff shall map for a swap entry.
//!
//! The kernel's answer for a page that was shared is a private copy for each sharer but the first. Ours is the page
//! itself: the folio that was read in becomes the node's page again, if and only if it is what the node's sharers have
//! in their page tables ([`revive`] lists the conditions, and what each of them keeps out).
//!
//! Called with the folio locked and the mmap lock or a VMA's lock held for reading. The fault goes on after us and may
//! still find its page-table entry changed; the folio is then an unmapped page of the node, which the keyhole knows.

use core::sync::atomic::Ordering::Relaxed;
use xxhash_rust::xxh64::xxh64;

use super::{
    locks::{Live, Rcu},
    node::{entries, Node, Sharer, NO_PFN},
    reap, scan, space,
};
use crate::{
    config::{CONFIG, RUN_UNMERGE},
    stats::STATS,
    sys::bindings as b,
};

/// Sharers that are asked whether an unknown mapping is a fork of theirs; as many as `max_page_sharing` lets a node have
/// by default, and more than twice that, for registered forks, which it does not limit.
const FORK_TRIES: usize = 1024;

/// What to map.
pub(crate) enum Answer {
    /// The folio as it is.
    Folio,
    /// A private copy.
    Copy,
    /// Nothing: the page is broken.
    Poisoned,
}

/// # Safety
///
/// As the module says.
pub(crate) unsafe fn decide(
    folio: *mut b::folio,
    vma: *mut b::vm_area_struct,
    address: usize,
) -> Answer {
    // SAFETY: As the module says.
    let answer = unsafe { choose(folio, vma, address) };
    // do_swap_page() has asked before us, unuse_pte() has not; and what was not read cannot be copied.
    // SAFETY: Locked.
    unsafe {
        match answer {
            Answer::Copy if b::swapksm_folio_is_poisoned(folio) => Answer::Poisoned,
            Answer::Copy if !b::swapksm_folio_is_uptodate(folio) => Answer::Folio,
            answer => answer,
        }
    }
}

/// # Safety
///
/// As the module says.
unsafe fn choose(
    folio: *mut b::folio,
    vma: *mut b::vm_area_struct,
    address: usize,
) -> Answer {
    // SAFETY: The folio is locked, the VMA stays.
    match unsafe { b::swapksm_swapin_kind(folio, vma, address) } {
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_LARGE => {
            // Never a copy: the fault would drop the counts of all its entries for one (PROTOCOLS S4). Its neighbours
            // are mapped without another word to us, so all sharers in its range are looked at again.
            // SAFETY: Locked.
            let pages = unsafe { b::swapksm_folio_pages(folio) } as usize;
            // SAFETY: The VMA stays.
            if suspect_range(unsafe { b::swapksm_vma_mm(vma) }, address, pages) {
                STATS.swapin_miss_large.inc();
            }
            Answer::Folio
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_KSM => {
            // SAFETY: Locked.
            let has_node = unsafe { !b::swapksm_folio_node(folio).is_null() };
            if has_node
                // SAFETY: The VMA stays.
                && unsafe { b::swapksm_vma_is_mergeable(vma) }
                && CONFIG.run.load(Relaxed) != RUN_UNMERGE
            {
                Answer::Folio
            } else {
                // SAFETY: The VMA stays.
                suspect_range(unsafe { b::swapksm_vma_mm(vma) }, address, 1);
                Answer::Copy
            }
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_LINEAR => {
            // SAFETY: The VMA stays.
            suspect_range(unsafe { b::swapksm_vma_mm(vma) }, address, 1);
            Answer::Folio
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_FOREIGN => {
            // SAFETY: The VMA stays.
            suspect_range(unsafe { b::swapksm_vma_mm(vma) }, address, 1);
            Answer::Copy
        }
        // SAFETY: As ours.
        _ => unsafe { new(folio, vma, address) },
    }
}

/// A folio that nobody has mapped yet.
///
/// # Safety
///
/// As the module says.
unsafe fn new(folio: *mut b::folio, vma: *mut b::vm_area_struct, address: usize) -> Answer {
    // SAFETY: Locked.
    let (entry, usable) = unsafe {
        (
            b::swapksm_folio_swap(folio) as u64,
            b::swapksm_folio_is_swapcache(folio)
                && b::swapksm_folio_is_uptodate(folio)
                && !b::swapksm_folio_is_poisoned(folio),
        )
    };
    if !usable {
        return Answer::Folio;
    }
    let Some(node) = entries::find(entry) else {
        return Answer::Folio;
    };
    // SAFETY: As ours.
    let outcome = unsafe { revive(node, folio, vma, address, entry) };
    let answer = match outcome {
        Outcome::Shared => {
            STATS.swapin_shared.inc();
            Answer::Folio
        }
        Outcome::Reused(counter) => {
            // The entry is somebody else's by now.
            counter.inc();
            entries::forget(node);
            Answer::Folio
        }
        Outcome::Unknown => {
            // The folio itself would become this mm's private page and end the sharing of all others.
            STATS.swapin_miss_unknown.inc();
            Answer::Copy
        }
        Outcome::Stale => {
            STATS.swapin_miss_stale.inc();
            Answer::Folio
        }
    };
    if !matches!(outcome, Outcome::Shared) {
        // SAFETY: The VMA stays.
        suspect_range(unsafe { b::swapksm_vma_mm(vma) }, address, 1);
    }
    node.put();
    answer
}

enum Outcome {
    /// The folio is the node's page now.
    Shared,
    /// The entry was freed and given to another page.
    Reused(&'static crate::stats::Counter),
    /// This mapping is no sharer of the node, nor a fork of one.
    Unknown,
    /// The node has another page, or none may be given to it now.
    Stale,
}

/// Makes `folio` the page of `node` again. All of these must hold; with one left out:
///
/// 1. The entry in the page table, read under its lock, is the folio's, so that the fault is about this folio.
/// 2. That entry is not exclusive. A merged page's never is. An exclusive one says that the entry was freed and reused
///    for a private page; swapoff would map the folio writable, and its owner would write into everybody's page.
/// 3. The mapping is a sharer of the node, or a fork of one: same address, and its VMA is found through the sharer's
///    anon_vma. A stranger's would be a mapping that no reverse walk finds.
/// 4. The node has no other page in memory: two folios would claim one node, and the first would lose its mappings.
/// 5. The VMA is mergeable still: who called MADV_UNMERGEABLE while the page was out wants a page of its own.
/// 6. The content's hash is the node's. After 1 to 5 this only fails if the entry was reused.
///
/// # Safety
///
/// As the module says.
unsafe fn revive(
    node: Live<Node>,
    folio: *mut b::folio,
    vma: *mut b::vm_area_struct,
    address: usize,
    entry: u64,
) -> Outcome {
    // SAFETY: The VMA stays.
    let mm = unsafe { b::swapksm_vma_mm(vma) };
    let mut value = 0;
    // SAFETY: The mmap lock or the VMA's is held.
    let kind = unsafe { b::swapksm_pte_read(mm, address, &mut value) };
    match kind {
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP if value as u64 == entry => {}
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP_EXCLUSIVE => {
            return Outcome::Reused(&STATS.swapin_miss_exclusive)
        }
        // The fault will find out itself.
        _ => return Outcome::Stale,
    }
    // SAFETY: The VMA stays.
    if !unsafe { b::swapksm_vma_is_mergeable(vma) } {
        return Outcome::Unknown;
    }
    // The key's hash does not change while the node has no page (`merge::resettle` needs one).
    // SAFETY: Read as plain data; see above.
    let key = unsafe { *node.key.as_ptr() };
    // SAFETY: The folio is locked, uptodate and mapped by nobody: its content stands still.
    let hash = unsafe { content_hash(folio, key) };
    if hash != key.hash {
        return Outcome::Reused(&STATS.swapin_miss_hash);
    }
    // Read now, as a chunk's lock is not taken under a node's. An item that leaves the node before we have the node's
    // lock does so because its page-table entry was changed, which the fault will see (the entry cannot come back while
    // the folio is in the swap cache), or because everything is being unmerged, which we see below.
    let is_registered = sharer_node(mm, address) == Some(node.as_ptr());

    let mut state = node.state.lock();
    if !scan::is_active()
        || CONFIG.run.load(Relaxed) == RUN_UNMERGE
        || state.entry != entry
        || state.count() == 0
    {
        return Outcome::Stale;
    }
    if state.pfn != NO_PFN {
        // SAFETY: Frames of nodes are those of existing memory.
        let owner = unsafe { b::swapksm_page_node(b::swapksm_pfn_page(state.pfn as usize)) };
        if owner == node.as_ptr().cast() {
            return Outcome::Stale;
        }
    }
    let is_fork = |sharer: Live<Sharer>| {
        sharer.address() == address
            // SAFETY: The VMA's or the mmap lock is held.
            && unsafe { b::swapksm_anon_vma_covers(sharer.anon_vma(), vma) }
    };
    // Of nodes with very many sharers only some are looked at: the node's lock is held, and others spin for it.
    if !(is_registered || state.sharers().take(FORK_TRIES).any(is_fork)) {
        return Outcome::Unknown;
    }
    // SAFETY: The folio is locked.
    unsafe {
        state.pfn = b::swapksm_folio_pfn(folio) as u64;
        b::swapksm_folio_set_node(folio, node.as_ptr().cast());
    }
    Outcome::Shared
}

/// # Safety
///
/// Nobody writes to the folio, and the caller keeps it.
unsafe fn content_hash(folio: *mut b::folio, key: super::node::Key) -> u64 {
    // SAFETY: The kernel maps all memory, and the caller sees to the rest.
    unsafe {
        let content = b::swapksm_folio_address(folio).cast::<[u8; 4096]>();
        xxh64(&*content, u64::from(key.group) << 32 | u64::from(key.nid))
    }
}

/// The node whose sharer the item at `address` is, as an address.
fn sharer_node(mm: *mut b::mm_struct, address: usize) -> Option<*mut Node> {
    let space = space::lookup(mm)?;
    let node = {
        let rcu = Rcu::lock();
        space.find_rcu(&rcu, address >> 21).and_then(|chunk| {
            let mut state = chunk.state.lock();
            state
                .sharer((address >> 12) & 511)
                .map(|sharer| sharer.node().as_ptr())
        })
    };
    space.put();
    node
}

/// Has the reaper look at the sharers at `address`, and with a large folio at all that can lie in it. True: there were
/// any.
fn suspect_range(mm: *mut b::mm_struct, address: usize, pages: usize) -> bool {
    // Most processes have nothing to do with us.
    // SAFETY: The caller keeps the mm.
    if !unsafe { b::swapksm_mm_is_mergeable(mm) } {
        return false;
    }
    let Some(space) = space::lookup(mm) else {
        return false;
    };
    let bytes = pages * 4096;
    let (start, end) = if pages == 1 {
        (address, address + 4096)
    } else {
        (address.saturating_sub(bytes) & !4095, address + bytes)
    };
    let mut any = false;
    for page in (start..end).step_by(4096) {
        let rcu = Rcu::lock();
        if let Some(chunk) = space.find_rcu(&rcu, page >> 21) {
            let slot = (page >> 12) & 511;
            let is_sharer = chunk.state.lock().sharer(slot).is_some();
            if is_sharer {
                reap::suspect(chunk, slot);
                any = true;
            }
        }
    }
    space.put();
    any
}

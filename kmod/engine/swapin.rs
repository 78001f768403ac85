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

use super::{
    hash::Realm,
    locks::{Live, Rcu},
    node::{entries, Node, NodeState, Sharer, Sharers},
    reap, scan,
    space::{self, Space},
};
use crate::{
    config::{CONFIG, RUN_UNMERGE},
    stats::{Counter, SwapIns, SWAPINS},
    sys::bindings as b,
};

/// Sharers that are asked whether an unknown mapping is a fork of theirs; as many as `max_page_sharing` lets a node have
/// by default, and more than twice that, for registered forks, which it does not limit.
const FORK_TRIES: usize = 1024;

/// Ancestors of the mapping that they are compared with in all. Each fork adds one, and its owner chooses how deep he forks
/// and how many sharers have the address; the node's lock is held meanwhile.
const FORK_STEPS: usize = 16 * 1024;

/// What to map.
pub(crate) enum Answer {
    /// The folio as it is.
    Folio,
    /// A private copy.
    Copy,
    /// Nothing: the page is broken.
    Poisoned,
    /// Nothing for now, for KVM's worker or for want of memory; the folio stays in the swap cache for who asks next.
    Later,
}

/// Where the fault is.
#[derive(Clone, Copy)]
struct Fault {
    vma: *mut b::vm_area_struct,
    mm: *mut b::mm_struct,
    address: usize,
    /// The address space, if we know it.
    space: Option<Live<Space>>,
}

impl Fault {
    /// Counts how it ended, for all and for the process.
    fn count(self, what: fn(&SwapIns) -> &Counter) {
        what(&SWAPINS).inc();
        if let Some(space) = self.space {
            what(&space.swapins).inc();
        }
    }
}

/// # Safety
///
/// As the module says.
pub(crate) unsafe fn decide(
    folio: *mut b::folio,
    vma: *mut b::vm_area_struct,
    address: usize,
) -> Answer {
    // KVM's worker wants to write, whatever the guest wants: mapped for it, a shared page would be copied at once. The
    // page has been read in by now, which is what the worker is for; the guest then asks for what it needs itself.
    // SAFETY: Locked.
    if unsafe { b::swapksm_swapin_is_for_kvm() && is_shared(folio) } {
        return Answer::Later;
    }
    // SAFETY: The VMA stays, and keeps the mm. Most processes have nothing to do with us.
    let (mm, is_mergeable) = unsafe {
        let mm = b::swapksm_vma_mm(vma);
        (mm, b::swapksm_mm_is_mergeable(mm))
    };
    let fault = Fault {
        vma,
        mm,
        address,
        space: is_mergeable.then(|| space::lookup(mm)).flatten(),
    };
    // SAFETY: As the module says.
    let answer = unsafe { choose(folio, fault) };
    // do_swap_page() has asked before us, unuse_pte() has not; and what was not read cannot be copied.
    // SAFETY: Locked.
    let answer = unsafe {
        match answer {
            Answer::Copy if b::swapksm_folio_is_poisoned(folio) => Answer::Poisoned,
            Answer::Copy if !b::swapksm_folio_is_uptodate(folio) => Answer::Folio,
            answer => answer,
        }
    };
    if matches!(answer, Answer::Copy) {
        fault.count(|swapins| &swapins.copied);
    }
    if let Some(space) = fault.space {
        space.put();
    }
    answer
}

/// Is a folio a merged page, or the content of one that is out?
///
/// # Safety
///
/// The folio is locked.
unsafe fn is_shared(folio: *mut b::folio) -> bool {
    // SAFETY: Locked.
    unsafe {
        if Node::of_folio(folio).is_some() {
            return true;
        }
        if !b::swapksm_folio_is_swapcache(folio) {
            return false;
        }
        match entries::find(b::swapksm_folio_swap(folio) as u64) {
            Some(node) => {
                node.put();
                true
            }
            None => false,
        }
    }
}

/// # Safety
///
/// As the module says.
unsafe fn choose(folio: *mut b::folio, fault: Fault) -> Answer {
    // SAFETY: The folio is locked, the VMA stays.
    let kind = unsafe { b::swapksm_swapin_kind(folio, fault.vma, fault.address) };
    let (answer, pages) = match kind {
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_LARGE => {
            // Never a copy: the fault would drop the counts of all its entries for one. Its neighbours
            // are mapped without another word to us, so all sharers in its range are looked at again.
            // SAFETY: Locked.
            (Answer::Folio, unsafe { b::swapksm_folio_pages(folio) })
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_LARGE_FOREIGN => {
            // Not the folio, for its reverse mapping does not lead here; and not a copy in the fault's way, as above.
            // SAFETY: As the module says.
            let mapped = unsafe { b::swapksm_swapin_map_copy(folio, fault.vma, fault.address) };
            suspect_range(fault, 1);
            return match mapped {
                b::swapksm_swapin_mapped_SWAPKSM_SWAPIN_MAPPED => {
                    fault.count(|swapins| &swapins.copied);
                    // The fault finds its entry changed.
                    Answer::Folio
                }
                b::swapksm_swapin_mapped_SWAPKSM_SWAPIN_BROKEN => Answer::Poisoned,
                _ => Answer::Later,
            };
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_KSM => {
            // Its key is not followed: it may be one of mm/ksm.c's, who forgets the node of a broken page when the memory it
            // lies in goes offline. Only swapoff comes here with one, and leaves a marker, which no notifier tells of
            // (`unuse_pte()`).
            // SAFETY: Locked.
            if unsafe { b::swapksm_folio_is_poisoned(folio) } {
                suspect_range(fault, 1);
                return Answer::Poisoned;
            }
            // SAFETY: As ours.
            if unsafe { is_ours(folio, fault) } {
                fault.count(|swapins| &swapins.shared);
                return Answer::Folio;
            }
            (Answer::Copy, 1)
        }
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_LINEAR => (Answer::Folio, 1),
        b::swapksm_swapin_kind_SWAPKSM_SWAPIN_FOREIGN => (Answer::Copy, 1),
        // SAFETY: As ours.
        _ => match unsafe { new(folio, fault) } {
            Outcome::Shared => {
                fault.count(|swapins| &swapins.shared);
                return Answer::Folio;
            }
            // The folio itself would become this mm's private page and end the sharing of all others.
            Outcome::Unknown => {
                fault.count(|swapins| &swapins.miss_unknown);
                (Answer::Copy, 1)
            }
            Outcome::Other => (Answer::Folio, 1),
        },
    };
    // The mapping will have something else than its node's page.
    if suspect_range(fault, pages as usize) && pages > 1 {
        fault.count(|swapins| &swapins.miss_large);
    }
    answer
}

/// A merged folio in the swap cache: may this mapping have it? Conditions 3 and 5 of [`revive`], and a node to be in.
///
/// # Safety
///
/// As the module says; `folio` is merged.
unsafe fn is_ours(folio: *mut b::folio, fault: Fault) -> bool {
    // SAFETY: The folio is locked.
    let Some(node) = (unsafe { Node::of_folio(folio) }) else {
        return false;
    };
    if CONFIG.run.load(Relaxed) == RUN_UNMERGE {
        return false;
    }
    let is_registered = is_sharer(fault, node);
    // SAFETY: The VMA stays.
    let ours = unsafe { b::swapksm_vma_is_mergeable(fault.vma) }
        && (is_registered
            // SAFETY: The folio, which is the node's, is locked.
            || is_fork(fault, unsafe { Sharers::under_folio_lock(node) }));
    if !ours {
        fault.count(|swapins| &swapins.miss_unknown);
    } else if !is_registered {
        // A fork whose item is a sharer of another node, by an entry that was that one's once.
        suspect_range(fault, 1);
    }
    ours
}

enum Outcome {
    /// The folio is the node's page now.
    Shared,
    /// It is the node's page, but this mapping is no sharer of the node, nor a fork of one.
    Unknown,
    /// It is none of any node, or may not be now.
    Other,
}

/// A folio that nobody has mapped yet.
///
/// # Safety
///
/// As the module says.
unsafe fn new(folio: *mut b::folio, fault: Fault) -> Outcome {
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
        return Outcome::Other;
    }
    let Some(node) = entries::find(entry) else {
        return Outcome::Other;
    };
    // SAFETY: As ours.
    let outcome = unsafe { revive(node, folio, fault, entry) };
    node.put();
    outcome
}

/// Makes `folio` the page of `node` again. All of these must hold; with one left out:
///
/// 1. The entry in the page table, read under its lock, is the folio's, so that the fault is about this folio.
/// 2. That entry is not exclusive. A merged page's never is. An exclusive one says that the entry was freed and reused
///    for a private page; swapoff would map the folio writable, and its owner would write into everybody's page.
/// 3. The mapping is a sharer of the node, or a fork of one: same address, and a walk that begins at the sharer's anon_vma
///    and index comes to its VMA. A stranger's would be a mapping that no reverse walk finds, so that the page could not
///    be reclaimed or moved again.
/// 4. The node has no other page in memory: two folios would claim one node, and the first would lose its mappings.
/// 5. The VMA is mergeable still: who called MADV_UNMERGEABLE while the page was out wants a page of its own.
/// 6. The content's hash is the node's. After 1, 2 and 4 this only fails if the entry was reused.
///
/// 3 and 5 are asked last. Until then the folio may be a stranger's, whose entry was the node's once, and must not be
/// copied: he shares it with his forks.
///
/// # Safety
///
/// As the module says.
unsafe fn revive(node: Live<Node>, folio: *mut b::folio, fault: Fault, entry: u64) -> Outcome {
    let mut value = 0;
    // SAFETY: The mmap lock or the VMA's is held, and there is an anonymous mapping.
    let kind = unsafe { b::swapksm_pte_read(fault.mm, fault.address, &mut value) };
    match kind {
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP if value as u64 == entry => {}
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP_EXCLUSIVE => {
            fault.count(|swapins| &swapins.miss_exclusive);
            entries::forget_if(node, entry);
            return Outcome::Other;
        }
        // The fault will find out itself.
        _ => {
            fault.count(|swapins| &swapins.miss_stale);
            return Outcome::Other;
        }
    }
    // A match would keep the lock to its end.
    let waits = waits_for(&mut node.state.lock(), node, entry);
    match waits {
        Waits::Yes => {}
        Waits::No => {
            fault.count(|swapins| &swapins.miss_stale);
            return Outcome::Other;
        }
        Waits::HasPage => {
            // That page, which is not in the swap cache at this entry, has let the entry go.
            fault.count(|swapins| &swapins.miss_stale);
            entries::forget_if(node, entry);
            return Outcome::Other;
        }
    }
    // The key does not change while the node has no page (`merge::rekey` needs one).
    // SAFETY: Read as plain data; see above.
    let key = unsafe { *node.key.as_ptr() };
    // SAFETY: The kernel maps all memory; the folio is locked, uptodate and mapped by nobody: its content stands still.
    let content = unsafe { &*b::swapksm_folio_address(folio).cast::<[u8; 4096]>() };
    if (Realm {
        group: key.group,
        nid: key.nid,
    })
    .hash_of(content)
        != key.hash
    {
        fault.count(|swapins| &swapins.miss_hash);
        entries::forget_if(node, entry);
        return Outcome::Other;
    }
    // SAFETY: The VMA stays.
    if !unsafe { b::swapksm_vma_is_mergeable(fault.vma) } {
        return Outcome::Unknown;
    }
    // Read now: others spin for the node's lock. An item that leaves the node before we have the node's
    // lock does so because its page-table entry was changed, which the fault will see (the entry cannot come back while
    // the folio is in the swap cache), or because everything is being unmerged, which we see below.
    let is_registered = is_sharer(fault, node);

    let mut state = node.state.lock();
    if !matches!(waits_for(&mut state, node, entry), Waits::Yes) {
        fault.count(|swapins| &swapins.miss_stale);
        return Outcome::Other;
    }
    // Of nodes with very many sharers only some are looked at: the node's lock is held, and others spin for it.
    if !is_registered && !is_fork(fault, state.sharers()) {
        return Outcome::Unknown;
    }
    // SAFETY: The folio is locked.
    unsafe {
        state.pfn = b::swapksm_folio_pfn(folio) as u64;
        b::swapksm_folio_set_node(folio, node.as_ptr().cast());
    }
    drop(state);
    if !is_registered {
        // As in `is_ours`.
        suspect_range(fault, 1);
    }
    Outcome::Shared
}

/// Does a node wait for its page to come back from an entry?
enum Waits {
    Yes,
    /// It has gone elsewhere, or no folio may become a node's page at all now.
    No,
    /// Its page is in memory.
    HasPage,
}

fn waits_for(state: &mut NodeState, node: Live<Node>, entry: u64) -> Waits {
    if !scan::is_active()
        || CONFIG.run.load(Relaxed) == RUN_UNMERGE
        || state.entry != entry
        || state.count() == 0
    {
        return Waits::No;
    }
    // A page that nobody can get any more is not in memory: it has been freed, or lies in reclaim's batch of folios to be
    // freed, where it has its key for as long as reclaim has others to look at (`shrink_folio_list()`).
    if node.find_page(state) && !node.disown_broken(state) {
        return Waits::HasPage;
    }
    Waits::Yes
}

/// Is the item at the fault's address a sharer of `node`, and known by the mapping that is there now?
fn is_sharer(fault: Fault, node: Live<Node>) -> bool {
    let Some(space) = fault.space else {
        return false;
    };
    let rcu = Rcu::lock();
    space
        .find_rcu(&rcu, fault.address >> 21)
        .is_some_and(|chunk| {
            let mut state = chunk.state.lock();
            state
                .sharer((fault.address >> 12) & 511)
                .is_some_and(|sharer| sharer.node() == node && leads_to(sharer, fault))
        })
}

/// Is the fault's mapping one that was forked off a sharer's?
fn is_fork(fault: Fault, sharers: impl Iterator<Item = Live<Sharer>>) -> bool {
    // SAFETY: The VMA's or the mmap lock is held.
    let depth = unsafe { b::swapksm_anon_vma_depth(fault.vma, FORK_STEPS) };
    sharers
        .take((FORK_STEPS / depth.max(1)).min(FORK_TRIES))
        .any(|sharer| sharer.address() == fault.address && leads_to(sharer, fault))
}

/// Does a reverse walk that begins at the sharer come to the fault's mapping?
fn leads_to(sharer: Live<Sharer>, fault: Fault) -> bool {
    // SAFETY: The VMA's or the mmap lock is held; the anon_vma is compared only.
    unsafe {
        b::swapksm_anon_vma_finds(sharer.anon_vma(), sharer.index(), fault.vma, fault.address)
    }
}

/// Has the reaper look at the sharers at the fault's address, and with a large folio at all that can lie in it. True:
/// there were any.
fn suspect_range(fault: Fault, pages: usize) -> bool {
    let Some(space) = fault.space else {
        return false;
    };
    let reach = (pages - 1) * 4096;
    let (start, end) = (
        fault.address.saturating_sub(reach) & !4095,
        fault.address + reach + 4096,
    );
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
    any
}

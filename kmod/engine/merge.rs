// SPDX-License-Identifier: GPL-2.0

//! Merging: what is done with a page once its content is known to stand still.
//!
//! Page tables are changed by the two functions of `shims/merge.c`; what is here decides with whom, and keeps the node's
//! list of sharers in step: a sharer is added under the same folio lock under which its page-table entry was made, so no
//! walk sees one without the other.

use core::sync::atomic::Ordering::Relaxed;

use super::{
    chunk::{ByHash, Chunk, Item},
    hash::Realm,
    locks::Live,
    node::{Key, NewSharer, Node, Sharer, Wait},
    reap,
    space::{MmapRead, Reading},
    tree::Tree,
    word::State,
    Engine,
};
use crate::{
    config::CONFIG,
    stats::STATS,
    sys::{
        bindings as b,
        folio::{Folio, LockedFolio, Page},
        thread,
    },
};

/// The item being looked at.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) chunk: Live<Chunk>,
    pub(crate) slot: usize,
}

impl At {
    /// Its mm, which may be dying.
    fn mm(&self) -> *mut b::mm_struct {
        self.chunk.space().mm()
    }

    /// Takes the mmap lock for reading if that can be had at once, and the mm lives.
    fn try_read_lock(&self) -> Option<MmapRead> {
        match self.chunk.space().try_read_lock() {
            Reading::Possible(lock) => Some(lock),
            Reading::Later | Reading::Gone => None,
        }
    }

    fn address(&self) -> usize {
        self.chunk.address(self.slot)
    }
}

/// Partners with equal hash and other bytes that are looked at before giving up.
const TRIES: usize = 8;

/// Copies of a merged page that are looked at for one with room, or for one in memory.
const COPIES: usize = 16;

/// The realm a frame's content belongs to.
pub(crate) fn realm_of(chunk: Live<Chunk>, pfn: u64) -> Realm {
    Realm {
        group: chunk.space().group,
        nid: nid_of(pfn),
    }
}

/// Can a merged page come to belong to another realm, by migration?
pub(crate) fn moves_between_realms() -> bool {
    CONFIG.merge_across_nodes.load(Relaxed) == 0
}

/// The NUMA node that counts for merging.
fn nid_of(pfn: u64) -> u32 {
    if CONFIG.merge_across_nodes.load(Relaxed) != 0 {
        return 0;
    }
    // SAFETY: The frame is that of a page we hold a reference to, or of a node.
    unsafe { b::swapksm_pfn_nid(pfn as usize) as u32 }
}

/// May no further node be made?
fn is_full() -> bool {
    let limit = CONFIG.max_kernel_pages.load(Relaxed);
    limit != 0 && STATS.pages_shared.get() as u64 >= limit
}

/// What a visit came to.
pub(crate) enum Outcome {
    Done,
    /// The large folio of the page was split, because another page of it has the same content: the two can be merged now,
    /// so look again from this slot on.
    Split(usize),
}

/// A private page: takes its hash, and merges it if it is the one of the last visit.
pub(crate) fn visit_private(engine: &mut Engine, at: At, page: Page) -> Outcome {
    let realm = realm_of(at.chunk, page.pfn());
    if at.chunk.state.lock().state(at.slot) == State::Stable {
        // Its mapping was given a page of its own without telling us: large swap-in, for one. If not now, it comes by again.
        if !reap::unhang(engine, at.chunk, at.slot) {
            return Outcome::Done;
        }
    }
    let hash = realm.hash(engine, &page);
    if !at.chunk.is_hashed(at.slot) || at.chunk.hash(engine, at.slot) != hash {
        // Out of the tree first: it is ordered by the hash.
        reap::unhang(engine, at.chunk, at.slot);
        at.chunk.set_hash(engine, at.slot, hash);
        return Outcome::Done;
    }
    if CONFIG.use_zero_pages.load(Relaxed)
        && hash == realm.empty_hash(engine)
        && merge_zero(engine, at, &page)
    {
        return Outcome::Done;
    }
    if merge_stable(engine, at, &page, realm, hash) {
        return Outcome::Done;
    }
    if at.chunk.state.lock().state(at.slot) == State::Unstable {
        // Whoever has the same content finds us.
        return Outcome::Done;
    }
    match merge_unstable(engine, at, page, realm, hash) {
        Some(outcome) => outcome,
        None => {
            // SAFETY: A Volatile item is in no tree; it leaves this one before its slot or hash changes.
            unsafe { engine.unstable.insert(at.chunk.tree_link(at.slot), hash) };
            at.chunk.set_state(engine, at.slot, State::Unstable);
            STATS.pages_unshared.inc();
            Outcome::Done
        }
    }
}

/// Maps the zero page instead of an empty one.
fn merge_zero(engine: &mut Engine, at: At, page: &Page) -> bool {
    let Some(lock) = at.try_read_lock() else {
        return true;
    };
    let vma = lock.mergeable_vma(at.address());
    if vma.is_null() {
        return true;
    }
    let _busy = at.chunk.busy(at.slot);
    // SAFETY: The mmap lock is held; one reference on the page is ours.
    let done = unsafe {
        let zero = b::swapksm_zero_page(at.address());
        b::swapksm_merge_into(vma, at.address(), page.as_ptr(), zero) == 0
    };
    drop(_busy);
    drop(lock);
    if done {
        reap::forget(engine, at.chunk, at.slot, Wait::No);
    }
    done
}

/// Tries the merged pages with this content. True: done with this page for now.
fn merge_stable(engine: &mut Engine, at: At, page: &Page, realm: Realm, hash: u64) -> bool {
    let mut link = engine.stable.first_equal(hash);
    let mut tries = TRIES;
    while !link.is_null() && tries > 0 {
        // SAFETY: Links in the tree are those of nodes, which stay while the engine is held and nothing frees them.
        let first = unsafe { Live::from_raw(Node::of_link(link)).unwrap_unchecked() };
        // SAFETY: In the tree.
        link = unsafe { engine.stable.next_equal(link) };
        tries -= 1;
        let key = first.key.get(engine);
        if (key.group, key.nid) != (realm.group, realm.nid) {
            continue;
        }
        if let Some((node, folio)) = candidate(engine, first, realm) {
            // The bytes are compared there, once they stand still.
            if merge_into(engine, at, page, node, folio) {
                return true;
            }
        }
    }
    false
}

/// A node of this ring that can take one more sharer, with its page. Where the search ends the next one begins: rings may
/// be of any length, and most of a long one is full.
fn candidate(engine: &mut Engine, first: Live<Node>, realm: Realm) -> Option<(Live<Node>, Folio)> {
    let limit = CONFIG.max_page_sharing.load(Relaxed);
    let mut node = first;
    for _ in 0..COPIES {
        let count = node.state.lock().count();
        if count > 0 && count < limit {
            if let Some(folio) = partner_page(node, realm) {
                node.lead(engine, first);
                return Some((node, folio));
            }
        }
        node = node.next_copy(engine);
        if node == first {
            return None;
        }
    }
    node.lead(engine, first);
    None
}

/// Maps the page of `node` instead of `page`. True when that is done.
fn merge_into(engine: &mut Engine, at: At, page: &Page, node: Live<Node>, folio: Folio) -> bool {
    let Some(sharer) = Sharer::alloc(at.mm()) else {
        return false;
    };
    let Some(lock) = at.try_read_lock() else {
        return false;
    };
    merge_locked(engine, at, page, (node, folio), sharer, lock)
}

/// The same with the mmap lock, which is gone afterwards, and memory for the sharer.
fn merge_locked(
    engine: &mut Engine,
    at: At,
    page: &Page,
    (node, folio): (Live<Node>, Folio),
    sharer: NewSharer,
    lock: MmapRead,
) -> bool {
    let vma = lock.mergeable_vma(at.address());
    if vma.is_null() {
        return false;
    }
    // As every fault takes it, under the mmap lock; held until the sharer is on the list. Not waited for: who has it may be
    // reading the folio in, or reclaiming for a copy of it, and everybody who needs the engine would wait with us. The
    // page comes by again.
    let Some(folio) = folio.try_lock_owned() else {
        return false;
    };
    // Asked under the lock, which memory failure takes before it takes the page from everybody.
    if folio.node() != node.as_ptr().cast() || folio.is_poisoned() {
        return false;
    }
    let done = {
        let _busy = at.chunk.busy(at.slot);
        // SAFETY: The mmap lock is held, the merged folio locked; one reference on the page is ours.
        unsafe { b::swapksm_merge_into(vma, at.address(), page.as_ptr(), folio.page()) == 0 }
    };
    if done {
        // Of another copy of the page (`gather`). It is still on that one's list, which only its folio's lock opens, and two are
        // not waited for at a time; a walk that meets it there finds another page mapped.
        let left = at.chunk.take_sharer(engine, at.slot);
        reap::unhang(engine, at.chunk, at.slot);
        share(engine, at, sharer, node, vma, &lock);
        drop((folio, lock));
        if let Some(left) = left {
            Node::part(engine, left);
        }
    }
    done
}

/// Adds the item to the sharers of a node whose folio is locked.
fn share(
    engine: &mut Engine,
    at: At,
    sharer: NewSharer,
    node: Live<Node>,
    vma: *mut b::vm_area_struct,
    _lock: &MmapRead,
) {
    let mut index = 0;
    // SAFETY: The mmap lock is held.
    let anon_vma = unsafe { b::swapksm_anon_vma_get(vma, at.address(), &mut index) };
    node.attach(engine, sharer, at.chunk, at.slot, anon_vma, index);
}

/// Looks for a partner in the unstable tree. `None`: there is none. Like the stock kernel's, a page whose merge failed is
/// not inserted but tried again in the next pass.
fn merge_unstable(
    engine: &mut Engine,
    at: At,
    page: Page,
    realm: Realm,
    hash: u64,
) -> Option<Outcome> {
    let mut link = engine.unstable.first_equal(hash);
    let mut tries = TRIES;
    while !link.is_null() && tries > 0 {
        let (chunk, slot) = Chunk::of_item(Item::of_link(link));
        // SAFETY: In the tree.
        link = unsafe { engine.unstable.next_equal(link) };
        tries -= 1;
        if chunk.space().group != realm.group {
            continue;
        }
        // One that is passed over leaves the tree: it comes back at its next visit, and finds us then.
        let Some(partner) = page_of(chunk, slot) else {
            reap::unhang(engine, chunk, slot);
            continue;
        };
        if partner.as_ptr() == page.as_ptr() {
            // Shared by fork: one page already.
            return Some(Outcome::Done);
        }
        if nid_of(partner.pfn()) != realm.nid {
            continue;
        }
        if !page.is_identical(partner.as_ptr()) {
            reap::unhang(engine, chunk, slot);
            continue;
        }
        if is_full() {
            STATS.merge_denied.inc();
            return Some(Outcome::Done);
        }
        if partner.folio() == page.folio() {
            // Two pages of one large folio: our two references keep it from being split. With one it can be.
            drop(partner);
            // SAFETY: One reference is ours.
            let is_split = unsafe { b::swapksm_split(page.as_ptr()) };
            let from = if chunk == at.chunk {
                slot.min(at.slot)
            } else {
                at.slot
            };
            return Some(if is_split {
                Outcome::Split(from)
            } else {
                Outcome::Done
            });
        }
        let second = At { chunk, slot };
        let Some(sharer) = ready(engine, second, &partner) else {
            continue;
        };
        merge_two(engine, at, page, (second, partner, sharer), hash);
        return Some(Outcome::Done);
    }
    None
}

/// The page an item points to, with a reference. The pointer is true as long as the chunk's lock is held, and what it
/// points to is mapped, so the reference can be taken; after that the page may be unmapped, but not reused.
pub(crate) fn page_of(chunk: Live<Chunk>, slot: usize) -> Option<Page> {
    let mut state = chunk.state.lock();
    Page::try_get(state.pfn(slot)?)
}

/// Memory for the partner of a merge as a sharer, if it can be merged now, as far as can be told before the first page is made
/// a node's. Else it leaves the tree: its owner can see to it that this lasts (he has it watched, or pinned, keeps his mmap
/// lock, leaves his control group without room), and it would stay the first to be found by everybody.
fn ready(engine: &mut Engine, second: At, partner: &Page) -> Option<NewSharer> {
    let mut sharer = None;
    if let Some(lock) = second.try_read_lock() {
        let vma = lock.mergeable_vma(second.address());
        if vma.is_null() {
            drop(lock);
            reap::forget(engine, second.chunk, second.slot, Wait::No);
            return None;
        }
        // SAFETY: The mmap lock is held; one reference on the page is ours.
        let is_possible = unsafe { b::swapksm_can_merge(vma, second.address(), partner.as_ptr()) };
        drop(lock);
        if is_possible {
            sharer = Sharer::alloc(second.mm());
        }
    }
    if sharer.is_none() {
        reap::unhang(engine, second.chunk, second.slot);
    }
    sharer
}

/// Two private pages with the same bytes: makes the first a node's page in place, then maps it instead of the second, which
/// was `ready`.
fn merge_two(
    engine: &mut Engine,
    at: At,
    page: Page,
    (second, partner, sharer): (At, Page, NewSharer),
    hash: u64,
) {
    let Some(node) = make_node(engine, at, &page, hash) else {
        return;
    };
    drop(page);
    let merged = match (node.folio(), second.try_read_lock()) {
        (Some(folio), Some(lock)) => {
            merge_locked(engine, second, &partner, (node, folio), sharer, lock)
        }
        _ => false,
    };
    if !merged {
        // Since it was asked it was written to, unmapped, pinned or watched, or its mmap lock or the new node's folio was taken
        // by somebody: in between, each time anew. What was so before, and may last, `ready` has seen.
        reap::unhang(engine, second.chunk, second.slot);
        give_back(at);
    }
}

/// A merged page with one mapping is of no use: gives it a page of its own, by a fault. The copy's invalidation makes the
/// reaper end the sharer.
///
/// Only where that takes no time, as everybody who needs the engine would wait. In a private mapping of a file another thread
/// may take the page away (MADV_DONTNEED) before the fault, which would wait for the file. And a control group that is at
/// its limit would be squeezed for the copy, and somebody in it killed, although the page that it replaces is given back the
/// next moment. Then the node stays as it is, with one sharer: it is in the stable tree, where the next page with its bytes is
/// merged with it, and ends with its page as any other.
fn give_back(at: At) {
    let Some(lock) = at.try_read_lock() else {
        return;
    };
    let vma = lock.mergeable_vma(at.address());
    // SAFETY: The mmap lock is held.
    if vma.is_null() || !unsafe { b::swapksm_vma_is_anonymous(vma) } {
        return;
    }
    // SAFETY: The mm exists, its mmap lock is held.
    if !unsafe { b::swapksm_has_spare_page(lock.mm()) } {
        return;
    }
    let start = at.address() as kernel::ffi::c_ulong;
    // SAFETY: The mmap lock is held. Out of memory is as no room.
    unsafe { b::swapksm_break_range(vma, start, start + 4096, false) };
}

/// Makes the page at an item the page of a new node.
fn make_node(engine: &mut Engine, at: At, page: &Page, hash: u64) -> Option<Live<Node>> {
    let sharer = Sharer::alloc(at.mm())?;
    let realm = realm_of(at.chunk, page.pfn());
    let key = Key {
        group: realm.group,
        nid: realm.nid,
        hash,
    };
    let node = Node::alloc(engine, key)?;
    let Some(lock) = at.try_read_lock() else {
        node.put();
        return None;
    };
    let vma = lock.mergeable_vma(at.address());
    if vma.is_null() {
        node.put();
        return None;
    }
    let err = {
        let _busy = at.chunk.busy(at.slot);
        // Before the key is published: who reads it reads the frame next.
        node.state.lock().pfn = page.pfn();
        // SAFETY: The mmap lock is held; one reference on the page is ours.
        unsafe { b::swapksm_merge_first(vma, at.address(), page.as_ptr(), node.as_ptr().cast()) }
    };
    if err != 0 {
        node.put();
        return None;
    }
    // SAFETY: `swapksm_merge_first` left the folio locked; the reference is one more.
    let folio = unsafe { LockedFolio::adopt(page.folio()) };
    reap::unhang(engine, at.chunk, at.slot);
    share(engine, at, sharer, node, vma, &lock);
    // A write may have come between the hash and the protection: the key is that of the bytes that stand still now.
    let hash = realm.hash(engine, page);
    node.key.set(engine, Key { hash, ..key });
    let twin = twin_of(engine, node, &folio, hash);
    node.place(engine, twin);
    drop(folio);
    Some(node)
}

/// A node in the tree with the same key and bytes. One whose page is out in swap is taken at its hash's word: being in a
/// ring only says where to look, and bytes are compared before every merge.
fn twin_of(
    engine: &Engine,
    node: Live<Node>,
    folio: &LockedFolio,
    hash: u64,
) -> Option<Live<Node>> {
    let mut link = engine.stable.first_equal(hash);
    let mut tries = TRIES;
    while !link.is_null() && tries > 0 {
        // SAFETY: Links in the tree are those of nodes.
        let other = unsafe { Live::from_raw(Node::of_link(link)).unwrap_unchecked() };
        // SAFETY: In the tree.
        link = unsafe { engine.stable.next_equal(link) };
        tries -= 1;
        if other.key.get(engine) != node.key.get(engine) {
            continue;
        }
        let is_same =
            // SAFETY: Both are held.
            |theirs: Folio| unsafe { b::swapksm_pages_identical(folio.page(), theirs.page()) };
        if page_of_ring(engine, other).is_none_or(is_same) {
            return Some(other);
        }
    }
    None
}

/// A page of a ring that can be compared, if one is found soon.
fn page_of_ring(engine: &Engine, first: Live<Node>) -> Option<Folio> {
    let mut node = first;
    for _ in 0..COPIES {
        let folio = node.folio().filter(Folio::is_readable);
        if folio.is_some() {
            return folio;
        }
        node = node.next_copy(engine);
        if node == first {
            break;
        }
    }
    None
}

/// A merged page: its item becomes a sharer of its node, if it is not one. That is how forked copies become known; they
/// may exceed `max_page_sharing`.
pub(crate) fn visit_merged(engine: &mut Engine, at: At, page: &Page) {
    // SAFETY: The engine is held and we have a reference.
    let Some(node) = (unsafe { Node::of_folio(page.folio()) }) else {
        // Merged for good before we came.
        reap::unhang(engine, at.chunk, at.slot);
        return;
    };
    let is_known = {
        let mut state = at.chunk.state.lock();
        let is_known = state.sharer(at.slot).is_some_and(|s| s.node() == node);
        if is_known {
            state.set_visited(at.slot);
        }
        is_known
    };
    if is_known {
        rekey(engine, node, page.pfn());
        gather(engine, at, page, node);
        return;
    }
    if !reap::unhang(engine, at.chunk, at.slot) {
        return;
    }
    let Some(sharer) = Sharer::alloc(at.mm()) else {
        return;
    };
    let Some(lock) = at.try_read_lock() else {
        return;
    };
    let vma = lock.mergeable_vma(at.address());
    // Not waited for: who has it locked may be reclaiming, for a copy of it that another process shall get, and whoever
    // wants the engine or the mmap lock, an exiting process too, would wait with us. The item comes by again.
    let Some(folio) = Page::try_get(page.pfn()).and_then(LockedFolio::try_of_page) else {
        return;
    };
    let mut value = 0;
    let is_mapped = !vma.is_null()
        // SAFETY: The mmap lock is held.
        && unsafe {
            b::swapksm_pte_read(lock.mm(), at.address(), &mut value)
                == b::swapksm_pte_kind_SWAPKSM_PTE_PAGE
        }
        && value as u64 == page.pfn();
    if is_mapped && folio.node() == node.as_ptr().cast() {
        share(engine, at, sharer, node, vma, &lock);
    }
}

/// Moves a sharer of one copy of a merged page to another that has more of them, so that the copies that a time in swap
/// leaves behind (who came meanwhile found no page to be merged with), or sharers that have gone, become one again.
///
/// Both pages are merged, so nobody writes to either; that the mapping is still the one that was looked at, and both
/// pages' bytes, are compared as for any merge. Whoever walks the sharers of the page that is left, for reclaim or migration,
/// meets one whose entry is another, as after an munmap; those of the other page cannot be walked before the sharer is
/// on the list, since its folio is locked.
///
/// Forks that the scanner has not come by yet are found through a sharer, in walks and at swap-in, so none leaves as long
/// as there may be any: the mmap lock keeps this sharer from forking between the look and the end. What a
/// look cannot tell is a fork that hides behind a sharer whose mapping has just gone; it is found again at its visit, as
/// after its parent's exit.
fn gather(engine: &mut Engine, at: At, page: &Page, node: Live<Node>) {
    if node.next_copy(engine) == node {
        return;
    }
    let realm = realm_of(at.chunk, page.pfn());
    let Some(other) = larger_copy(engine, node, realm) else {
        return;
    };
    let Some(sharer) = Sharer::alloc(at.mm()) else {
        return;
    };
    let Some(lock) = at.try_read_lock() else {
        return;
    };
    if has_only_sharers(node) {
        // May be the end of `node`.
        merge_locked(engine, at, page, other, sharer, lock);
    }
}

/// Is the page mapped by nobody but the sharers, and nobody's in swap? Then its swap slot is freed. False also when that cannot
/// be told without waiting.
fn has_only_sharers(node: Live<Node>) -> bool {
    let Some(folio) = node.folio().and_then(Folio::try_lock_owned) else {
        return false;
    };
    if folio.node() != node.as_ptr().cast() {
        return false;
    }
    let count = node.state.lock().count();
    folio.is_mapped_only(count)
}

/// Has the scanner come by all sharers of a node again if they can move to a larger copy: those it has seen it passes over
/// otherwise.
pub(super) fn revisit_sharers(engine: &Engine, node: Live<Node>) {
    let key = node.key.get(engine);
    let realm = Realm {
        group: key.group,
        nid: key.nid,
    };
    if node.folio().is_none() || larger_copy(engine, node, realm).is_none() {
        return;
    }
    for sharer in node.sharers(engine) {
        sharer.chunk().state.lock().revisit(sharer.slot());
        thread::cond_resched();
    }
}

/// A copy with more sharers than `node` and room for one more, with its page. Of two with equally many one is taken for the
/// larger, so that no sharer goes to and fro.
fn larger_copy(engine: &Engine, node: Live<Node>, realm: Realm) -> Option<(Live<Node>, Folio)> {
    let limit = CONFIG.max_page_sharing.load(Relaxed);
    let own = (node.state.lock().count(), node.as_ptr());
    if own.0 >= limit {
        return None;
    }
    let mut other = node.next_copy(engine);
    for _ in 0..COPIES {
        if other == node {
            return None;
        }
        let count = other.state.lock().count();
        if (count, other.as_ptr()) > own && count < limit {
            if let Some(folio) = partner_page(other, realm) {
                return Some((other, folio));
            }
        }
        other = other.next_copy(engine);
    }
    None
}

/// The page of a node, if it is in memory, has not migrated to another NUMA node or into a device, and is not broken.
fn partner_page(node: Live<Node>, realm: Realm) -> Option<Folio> {
    node.folio()
        .filter(|folio| nid_of(folio.pfn()) == realm.nid && folio.is_readable())
}

/// While merging across NUMA nodes is forbidden: a page that migrated belongs to another realm now.
fn rekey(engine: &mut Engine, node: Live<Node>, pfn: u64) {
    let mut key = node.key.get(engine);
    let nid = nid_of(pfn);
    if key.nid == nid {
        return;
    }
    let Some(folio) = node.folio() else {
        return;
    };
    let Some(page) = Page::try_get(folio.pfn()) else {
        return;
    };
    // Not waited for, as above; rekeyed at the next visit.
    let Some(folio) = folio.try_lock_owned().filter(LockedFolio::is_readable) else {
        return;
    };
    if folio.node() != node.as_ptr().cast() {
        // It has moved on; and a node without page keeps its key (`swapin::revive`).
        return;
    }
    key.nid = nid;
    key.hash = Realm {
        group: key.group,
        nid,
    }
    .hash(engine, &page);
    node.unplace(engine);
    node.key.set(engine, key);
    let twin = twin_of(engine, node, &folio, key.hash);
    node.place(engine, twin);
}

/// The unstable tree's type, for the engine.
pub(crate) type Unstable = Tree<ByHash>;

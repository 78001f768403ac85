// SPDX-License-Identifier: GPL-2.0

//! Stable nodes: one for each merged page, and who shares it.
//!
//! # Where the page is
//!
//! A node names its page by frame number and the page names its node by its key (`folio->mapping`, see
//! `shims/folio.h`); neither holds a reference on the other, so reclaim frees the page when it wants. Nobody tells us
//! then. [`Node::folio`] looks through the keyhole: the frame is the node's page exactly if its key says so.
//!
//! A page that went to swap leaves the node with the swap entry it went to ([`NodeState::entry`], recorded by the rmap
//! walk that unmapped it, while the folio was locked in the swap cache). Partial swap-out is normal: a node may be in
//! memory for some sharers and in swap for others.
//!
//! # Who shares it
//!
//! A sharer is an item whose page-table entry names the node's page: present, as a migration entry on its way, or as the
//! node's swap entry. Membership ends when the reaper has read an entry that names something else, not when an
//! invalidation comes; or when the scanner has moved the mapping to another copy (`merge::gather`).
//!
//! # When it ends
//!
//! Without sharers a node is freed when its page is gone, or under the folio lock after the page has lost its key; while
//! unregistered forks still map the page it stays, and the scanner finds it later. Never from a callback.

use core::{
    cell::UnsafeCell,
    mem::offset_of,
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering},
};

use super::{
    chunk::Chunk,
    locks::{EngineCell, Live, Spin, SpinGuard},
    tree::Keyed,
    Engine,
};
use crate::{
    stats::STATS,
    sys::{
        bindings as b,
        folio::{Folio, LockedFolio},
    },
};

/// No page in memory.
pub(crate) const NO_PFN: u64 = u64::MAX;

/// What a node is looked up by. Bytes are compared between those with equal keys, and before every merge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Merge group of the address spaces that share it.
    pub(crate) group: u32,
    /// NUMA node, 0 while merging across nodes is allowed.
    pub(crate) nid: u32,
    /// Hash of the content, see [`super::hash`].
    pub(crate) hash: u64,
}

/// What changes under the node's lock.
#[repr(C)]
pub(crate) struct NodeState {
    /// The frame of the page as last known, [`NO_PFN`] if there is none.
    pub(crate) pfn: u64,
    /// The swap entry the page was last unmapped to, 0 if none. Sharers with such an entry in their page tables belong
    /// to the node.
    pub(crate) entry: u64,
    /// First of the sharers' list.
    sharers: *mut Sharer,
    count: u32,
}

/// See the module.
#[repr(C, align(8))]
pub(crate) struct Node {
    pub(crate) state: Spin<NodeState>,
    refs: AtomicU32,
    /// The task that walks the reverse mapping of our page, for telling its invalidations from others'.
    walker: AtomicPtr<core::ffi::c_void>,
    /// One of them hit the sharer it is at.
    moved: AtomicBool,
    pub(crate) key: EngineCell<Key>,
    place: EngineCell<Place>,
    link: EngineCell<b::rb_node>,
    /// Index of swap entries, under `ENTRIES`.
    next_entry: UnsafeCell<*mut Node>,
    /// The reaper's queue, under its lock.
    pub(super) next_doubted: UnsafeCell<*mut Node>,
    pub(super) is_doubted: UnsafeCell<bool>,
}

/// Nodes with the same bytes form a ring, of which one, the first, is in the tree (the others are its copies: a page is
/// shared `max_page_sharing` times at most).
#[derive(Clone, Copy)]
struct Place {
    next: *mut Node,
    prev: *mut Node,
    in_tree: bool,
}

/// One mapping of a node's page.
#[repr(C)]
pub(crate) struct Sharer {
    next: *mut Sharer,
    prev: *mut Sharer,
    node: *mut Node,
    chunk: *mut Chunk,
    slot: usize,
    anon_vma: *mut b::anon_vma,
    index: usize,
}

// SAFETY: A sharer's links are under its node's locks, the rest never changes.
unsafe impl Sync for Sharer {}

/// Order of the stable tree: by hash; group and NUMA node are part of the hash's seed and compared besides.
pub(crate) struct ByKey;

impl Keyed for ByKey {
    unsafe fn key(link: *mut b::rb_node) -> u64 {
        // SAFETY: Links in the stable tree are those of nodes; the engine is held.
        unsafe { (*(*Node::of_link(link)).key.as_ptr()).hash }
    }
}

impl Sharer {
    /// Makes one that belongs to no node yet, at the expense of the cgroup of `mm`; the anon_vma reference becomes its
    /// own. `None`: out of memory. May sleep.
    pub(crate) fn alloc(mm: *mut b::mm_struct) -> Option<NewSharer> {
        let sharer: *mut Self =
            // SAFETY: Any process context.
            unsafe { b::swapksm_object_alloc(b::swapksm_object_SWAPKSM_OBJECT_SHARER, mm) }.cast();
        (!sharer.is_null()).then(|| NewSharer(sharer))
    }

    /// The node. It exists as long as the sharer is one of its.
    pub(crate) fn node(&self) -> Live<Node> {
        // SAFETY: Set when it became a sharer.
        unsafe { Live::from_raw(self.node).unwrap_unchecked() }
    }

    /// The chunk of its item, which is in use as long as the sharer exists.
    pub(crate) fn chunk(&self) -> Live<Chunk> {
        // SAFETY: Set when it became a sharer.
        unsafe { Live::from_raw(self.chunk).unwrap_unchecked() }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn address(&self) -> usize {
        self.chunk().address(self.slot)
    }

    pub(crate) fn mm(&self) -> *mut b::mm_struct {
        self.chunk().space().mm()
    }

    pub(crate) fn anon_vma(&self) -> *mut b::anon_vma {
        self.anon_vma
    }

    /// The page index in the anon_vma.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

/// Memory for a sharer.
pub(crate) struct NewSharer(*mut Sharer);

impl Drop for NewSharer {
    fn drop(&mut self) {
        // SAFETY: Never became a sharer.
        unsafe {
            b::swapksm_object_free(b::swapksm_object_SWAPKSM_OBJECT_SHARER, self.0.cast());
        }
    }
}

impl NodeState {
    /// The sharers, oldest last.
    pub(crate) fn sharers(&self) -> Sharers<'_> {
        Sharers(self.sharers, core::marker::PhantomData)
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Takes a sharer off the list, and counts it out. Besides the node's lock that of its page is held, if there is one.
    fn unlink(&mut self, sharer: Live<Sharer>) {
        let raw = sharer.as_ptr();
        // SAFETY: On the list, which is ours under both locks.
        unsafe {
            match (*raw).prev.is_null() {
                true => self.sharers = (*raw).next,
                false => (*(*raw).prev).next = (*raw).next,
            }
            if !(*raw).next.is_null() {
                (*(*raw).next).prev = (*raw).prev;
            }
        }
        self.count -= 1;
        if self.count == 0 {
            STATS.pages_shared.dec();
        } else {
            STATS.pages_sharing.dec();
        }
    }
}

/// Whether a folio that somebody else has locked is waited for, with the engine held.
///
/// He may be reclaiming for a copy of it, in a control group that lets him have memory as slowly as its owner likes
/// (`mem_cgroup_charge()` in the swap-in hook), and others may queue behind him for the same. So what processes bring about is
/// put off, and only an administrator's order waits: `run` 2, hand-back, memory that goes offline.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    No,
    Yes,
}

/// Iterates over a node's sharers.
///
/// # Invariants
///
/// The list cannot change meanwhile: the node's lock, or the lock of its folio, is held.
pub(crate) struct Sharers<'a>(*mut Sharer, core::marker::PhantomData<&'a ()>);

impl Iterator for Sharers<'_> {
    type Item = Live<Sharer>;

    fn next(&mut self) -> Option<Live<Sharer>> {
        // SAFETY: By the invariants.
        unsafe {
            let sharer = Live::from_raw(self.0)?;
            self.0 = (*self.0).next;
            Some(sharer)
        }
    }
}

impl Node {
    /// Makes a node without page and sharers that is in no tree. `None`: out of memory. May sleep.
    pub(crate) fn alloc(engine: &mut Engine, key: Key) -> Option<Live<Self>> {
        // SAFETY: The object is big enough, zeroes are valid for all fields, the rest is filled in here.
        let node = unsafe {
            let node: *mut Self =
                b::swapksm_object_alloc(b::swapksm_object_SWAPKSM_OBJECT_NODE, ptr::null_mut())
                    .cast();
            let live = Live::from_raw(node)?;
            Spin::init(
                &raw mut (*node).state,
                b::swapksm_lock_class_SWAPKSM_LOCK_NODE,
            );
            (*node).refs = AtomicU32::new(1);
            live
        };
        node.state.lock().pfn = NO_PFN;
        node.key.set(engine, key);
        Some(node)
    }

    /// The node that carries `link`.
    pub(crate) fn of_link(link: *mut b::rb_node) -> *mut Node {
        link.wrapping_byte_sub(offset_of!(Node, link)).cast()
    }

    pub(crate) fn link(&self) -> *mut b::rb_node {
        self.link.as_ptr()
    }

    pub(crate) fn get(&self) {
        self.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops a reference. Any context.
    pub(crate) fn put(self: Live<Self>) {
        if self.refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: Nobody has it any more.
            unsafe {
                b::swapksm_object_free(b::swapksm_object_SWAPKSM_OBJECT_NODE, self.as_ptr().cast());
            }
        }
    }

    /// The node a folio's key names. None: not merged, or without node.
    ///
    /// # Safety
    ///
    /// The folio is locked, or the engine is held together with a reference to the folio: a node is freed only after its
    /// folio is gone or has lost its key under its lock, with the engine held.
    pub(crate) unsafe fn of_folio(folio: *const b::folio) -> Option<Live<Node>> {
        // SAFETY: The caller has a reference; a key that is not null is a node of ours, since no folio has another
        // one's while the patch is on.
        unsafe { Live::from_raw(b::swapksm_folio_node(folio).cast()) }
    }

    /// The page, with a reference, if it is in memory. Any context.
    ///
    /// The keyhole is looked through under the node's lock. Migration changes frame and key under it (`super::rmap`),
    /// and so does the swap-in hook, which may be given the very frame that was freed a moment ago.
    pub(crate) fn folio(&self) -> Option<Folio> {
        self.look(&mut self.state.lock())
    }

    /// Is the page in memory? The node's lock is held.
    pub(crate) fn find_page(&self, state: &mut NodeState) -> bool {
        self.look(state).is_some()
    }

    /// The page, with a reference; a frame that turns out to be another's is forgotten. The node's lock is held.
    fn look(&self, state: &mut NodeState) -> Option<Folio> {
        if state.pfn == NO_PFN {
            return None;
        }
        let folio = self.keyhole(state);
        if folio.is_none() {
            state.pfn = NO_PFN;
        }
        folio
    }

    /// The frame the node remembers, if its page is still there, with a reference. The node's lock is held.
    fn keyhole(&self, state: &NodeState) -> Option<Folio> {
        // SAFETY: Frames of nodes are those of existing memory: they are forgotten when it goes offline. The reference
        // is ours.
        unsafe {
            Folio::from_raw(b::swapksm_keyhole(
                state.pfn as usize,
                ptr::from_ref(self).cast(),
            ))
        }
    }

    /// Gives up the page if memory failure has taken it from everybody: it keeps its key then, and what it was is in swap.
    /// The node's lock is held. False: the page is not broken, still mapped, or just being dealt with.
    pub(crate) fn disown_broken(&self, state: &mut NodeState) -> bool {
        let Some(folio) = self.keyhole(state).filter(Folio::is_poisoned) else {
            return false;
        };
        let Some(folio) = folio.try_lock_owned() else {
            return false;
        };
        if folio.is_mapped() {
            return false;
        }
        folio.set_node(ptr::null_mut());
        state.pfn = NO_PFN;
        true
    }

    /// Is the page in swap only, and how many sharers' mappings are in swap? Forks that nobody knows of count as mappings
    /// in memory, so the second number may be too low by theirs.
    pub(crate) fn in_swap(&self) -> (bool, u32) {
        let (entry, count) = {
            let state = self.state.lock();
            (state.entry, state.count)
        };
        if entry == 0 || count == 0 {
            return (false, 0);
        }
        match self.folio() {
            Some(folio) => (false, count.saturating_sub(folio.mapcount())),
            None => (true, count),
        }
    }

    /// Locks what the sharers' list is under: the page's folio, if there is one. `None` in it means that there is none,
    /// and none can appear until the swap-in hook has had the node's lock. `None`: somebody else has it locked, and `wait`
    /// forbids to wait for him. May sleep.
    fn lock_page(&self, wait: Wait) -> Option<Option<LockedFolio>> {
        loop {
            let Some(folio) = self.folio() else {
                return Some(None);
            };
            let folio = match wait {
                Wait::No => folio.try_lock_owned()?,
                Wait::Yes => folio.lock_owned(),
            };
            // SAFETY: We have a reference.
            if unsafe { b::swapksm_folio_node(folio.as_ptr()) }
                == ptr::from_ref(self).cast_mut().cast()
            {
                return Some(Some(folio));
            }
            // Migrated before we had the lock: the node knows its new frame by now.
        }
    }

    /// The same, with the node's lock: the list is ours.
    fn lock_list(&self, wait: Wait) -> Option<(Option<LockedFolio>, SpinGuard<'_, NodeState>)> {
        loop {
            let folio = self.lock_page(wait)?;
            let state = self.state.lock();
            if folio.is_some() || state.pfn == NO_PFN {
                return Some((folio, state));
            }
            // The swap-in hook gave it a page after we had looked.
        }
    }

    /// Gives up the page if its frame is one of those that are gone, and the page the node: it would be taken for the node's
    /// as long as somebody has its swap entry, and the node's memory may go before that. The engine is held. May sleep.
    pub(crate) fn forget_frames(&self, gone: &core::ops::Range<u64>) {
        // NO_PFN is no frame.
        if !gone.contains(&self.state.lock().pfn) {
            return;
        }
        let folio = self.lock_page(Wait::Yes).flatten();
        // The page that is locked is the one that the node knows, also if it has just come from there.
        let mut state = self.state.lock();
        if gone.contains(&state.pfn) {
            if let Some(folio) = &folio {
                folio.set_node(ptr::null_mut());
            }
            state.pfn = NO_PFN;
        }
    }

    /// Adds a sharer. The folio is locked.
    pub(crate) fn attach(
        self: Live<Self>,
        engine: &mut Engine,
        sharer: NewSharer,
        chunk: Live<Chunk>,
        slot: usize,
        anon_vma: *mut b::anon_vma,
        index: usize,
    ) {
        let raw = sharer.0;
        core::mem::forget(sharer);
        let first = {
            let mut state = self.state.lock();
            // SAFETY: `raw` is ours until the list has it; the list is ours under the lock.
            unsafe {
                (*raw).node = self.as_ptr();
                (*raw).chunk = chunk.as_ptr();
                (*raw).slot = slot;
                (*raw).anon_vma = anon_vma;
                (*raw).index = index;
                (*raw).next = state.sharers;
                if let Some(next) = Live::from_raw(state.sharers) {
                    (*next.as_ptr()).prev = raw;
                }
            }
            state.sharers = raw;
            state.count += 1;
            state.count == 1
        };
        // SAFETY: Just filled in.
        chunk.set_sharer(engine, slot, unsafe {
            Live::from_raw(raw).unwrap_unchecked()
        });
        if first {
            STATS.pages_shared.inc();
        } else {
            STATS.pages_sharing.inc();
        }
        // SAFETY: The space keeps its mm, and the engine is held.
        unsafe { b::swapksm_mm_count_merging(chunk.space().mm(), 1) };
    }

    /// Ends the membership of a Stable item, which is Volatile then. False: it stays what it was, as the page is locked by
    /// somebody who is not to be waited for. May sleep.
    ///
    /// Safe against the walks and the swap-in hook: the item no longer leads to the sharer; a walk has the lock of the
    /// folio that we take if there is one; the hook has the node's lock, and who is on the way with a reference to the
    /// node finds it gone from the list.
    pub(crate) fn detach(engine: &mut Engine, chunk: Live<Chunk>, slot: usize, wait: Wait) -> bool {
        // The engine is held, so it stays the item's.
        let Some(sharer) = chunk.state.lock().sharer(slot) else {
            return true;
        };
        Node::part_after(engine, sharer, wait, |engine| {
            chunk.take_sharer(engine, slot);
        })
    }

    /// Takes a sharer that no item leads to any more from its node's list, and frees it. Locks the node's folio, so no other
    /// may be locked. May sleep.
    pub(crate) fn part(engine: &mut Engine, sharer: Live<Sharer>) {
        Node::part_after(engine, sharer, Wait::Yes, |_| {});
    }

    /// The same; `take` is called with the list's locks held, and then no item leads to the sharer. False: the list could not
    /// be locked, and nothing was done. May sleep.
    fn part_after(
        engine: &mut Engine,
        sharer: Live<Sharer>,
        wait: Wait,
        take: impl FnOnce(&mut Engine),
    ) -> bool {
        let node = sharer.node();
        {
            let Some((_folio, mut state)) = node.lock_list(wait) else {
                return false;
            };
            take(engine);
            state.unlink(sharer);
        }
        // SAFETY: The space keeps its mm, the engine is held; the anon_vma reference was the sharer's own, which nobody else
        // can find.
        unsafe {
            b::swapksm_mm_count_merging(sharer.mm(), -1);
            b::swapksm_anon_vma_put(sharer.anon_vma);
            b::swapksm_object_free(
                b::swapksm_object_SWAPKSM_OBJECT_SHARER,
                sharer.as_ptr().cast(),
            );
        }
        node.try_free(engine, wait);
        true
    }

    /// Frees a node without sharers if its page is gone or nobody maps it; else it stays for [`super::scan::prune`]. May
    /// sleep.
    pub(crate) fn try_free(self: Live<Self>, engine: &mut Engine, wait: Wait) -> bool {
        if self.state.lock().count != 0 {
            return false;
        }
        // The swap-in hook finds only nodes with sharers, so no page appears any more.
        let Some(folio) = self.lock_page(wait) else {
            return false;
        };
        if let Some(folio) = folio {
            if folio.is_mapped() {
                return false;
            }
            folio.set_node(ptr::null_mut());
        }
        self.unplace(engine);
        entries::forget(self);
        self.put();
        true
    }

    /// Frees the node whatever is still there: sharers become Volatile items, the page a merged one without node. For
    /// handing back. Returns whether a page was left without node. May sleep.
    pub(crate) fn dissolve(self: Live<Self>, engine: &mut Engine) -> bool {
        self.get();
        let mut nodeless = false;
        if let Some(folio) = self.lock_page(Wait::Yes).flatten() {
            folio.set_node(ptr::null_mut());
            nodeless = folio.is_mapped();
            self.state.lock().pfn = NO_PFN;
        }
        // So that the swap-in hook does not give it a page again.
        entries::forget(self);
        loop {
            let first = self.state.lock().sharers().next();
            // The last detach frees the node; our reference keeps its memory.
            match first {
                Some(sharer) => {
                    Node::detach(engine, sharer.chunk(), sharer.slot(), Wait::Yes);
                }
                None => break,
            }
        }
        if !self.place.get(engine).next.is_null() {
            self.try_free(engine, Wait::Yes);
        }
        self.put();
        nodeless
    }

    /// Notifier: does the running invalidation belong to the walk that is going on over this node's page? Then the walk
    /// is told that it hit.
    pub(crate) fn announce_moved(&self, current: *const core::ffi::c_void) -> bool {
        let ours = self.walker.load(Ordering::Relaxed).cast_const() == current;
        if ours {
            self.moved.store(true, Ordering::Relaxed);
        }
        ours
    }

    /// Announces the calling task as walker until the returned value is dropped. The folio is locked, so there is one.
    pub(crate) fn walk(&self) -> Walking<'_> {
        // SAFETY: Any context.
        let current = unsafe { b::swapksm_current() };
        self.walker.store(current.cast_mut(), Ordering::Relaxed);
        Walking(self)
    }

    /// Puts the node into the tree: as a copy of `twin`, which has the same bytes, or in its own right.
    pub(crate) fn place(self: Live<Self>, engine: &mut Engine, twin: Option<Live<Node>>) {
        let me = self.as_ptr();
        match twin {
            None => {
                self.place.set(
                    engine,
                    Place {
                        next: me,
                        prev: me,
                        in_tree: true,
                    },
                );
                let hash = self.key.get(engine).hash;
                // SAFETY: In no tree yet; erased before it is freed.
                unsafe { engine.stable.insert(self.link(), hash) };
            }
            Some(twin) => {
                let mut at = twin.place.get(engine);
                if at.next == twin.as_ptr() {
                    STATS.chains.inc();
                    STATS.dups.inc();
                }
                STATS.dups.inc();
                self.place.set(
                    engine,
                    Place {
                        next: at.next,
                        prev: twin.as_ptr(),
                        in_tree: false,
                    },
                );
                // SAFETY: Nodes of a ring exist while the engine is held.
                unsafe {
                    let next = Live::from_raw(at.next).unwrap_unchecked();
                    let mut after = next.place.get(engine);
                    after.prev = me;
                    next.place.set(engine, after);
                }
                at = twin.place.get(engine);
                at.next = me;
                twin.place.set(engine, at);
            }
        }
    }

    /// Takes the node out of its ring and the tree; the next of the ring takes its place there.
    pub(crate) fn unplace(self: Live<Self>, engine: &mut Engine) {
        let at = self.place.get(engine);
        if at.next == self.as_ptr() {
            // SAFETY: Alone in its ring, so it is in the tree.
            unsafe { engine.stable.erase(self.link()) };
        } else {
            // SAFETY: Nodes of a ring exist while the engine is held.
            let (next, prev) = unsafe {
                (
                    Live::from_raw(at.next).unwrap_unchecked(),
                    Live::from_raw(at.prev).unwrap_unchecked(),
                )
            };
            let mut place = prev.place.get(engine);
            place.next = next.as_ptr();
            prev.place.set(engine, place);
            place = next.place.get(engine);
            place.prev = prev.as_ptr();
            place.in_tree |= at.in_tree;
            next.place.set(engine, place);
            if at.in_tree {
                // SAFETY: We are in the tree, the next is not, and its key is ours.
                unsafe { engine.stable.replace(self.link(), next.link()) };
            }
            STATS.dups.dec();
            if next == prev {
                STATS.chains.dec();
                STATS.dups.dec();
            }
        }
        self.place.set(
            engine,
            Place {
                next: ptr::null_mut(),
                prev: ptr::null_mut(),
                in_tree: false,
            },
        );
    }

    /// The sharers: none comes or goes while the engine is held.
    pub(crate) fn sharers<'a>(&self, _engine: &'a Engine) -> Sharers<'a> {
        // SAFETY: The engine is held: nobody changes the list.
        let first = unsafe { (*self.state.data_ptr()).sharers };
        Sharers(first, core::marker::PhantomData)
    }

    /// Makes this node the one of its ring that is in the tree, instead of `first`.
    pub(crate) fn lead(self: Live<Self>, engine: &mut Engine, first: Live<Node>) {
        if self == first {
            return;
        }
        for (node, in_tree) in [(self, true), (first, false)] {
            let mut place = node.place.get(engine);
            place.in_tree = in_tree;
            node.place.set(engine, place);
        }
        // SAFETY: `first` is in the tree, we are not, and the keys of a ring are equal.
        unsafe { engine.stable.replace(first.link(), self.link()) };
    }

    /// The next node of the ring. All of them exist while the engine is held and none is freed.
    pub(crate) fn next_copy(&self, engine: &Engine) -> Live<Node> {
        // SAFETY: A placed node's ring is never broken.
        unsafe { Live::from_raw(self.place.get(engine).next).unwrap_unchecked() }
    }
}

/// See [`Node::walk`].
pub(crate) struct Walking<'a>(&'a Node);

impl Walking<'_> {
    /// Where C reads and resets whether an invalidation of this walk hit.
    pub(crate) fn moved(&self) -> *mut bool {
        self.0.moved.as_ptr()
    }
}

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        self.0.walker.store(ptr::null_mut(), Ordering::Relaxed);
        self.0.moved.store(false, Ordering::Relaxed);
    }
}

/// The index from swap entries to nodes: a hash table of links inside the nodes, because reclaim, which fills it, cannot
/// allocate.
pub(crate) mod entries {
    use kernel::alloc::{flags::GFP_KERNEL, KVVec};
    use kernel::prelude::*;

    use super::*;

    /// As many buckets as the memory has pages, divided by this.
    const PAGES_A_BUCKET: usize = 64;
    const FEWEST_BUCKETS: usize = 1024;

    /// Heads of the buckets, a power of two of them; none while the module is not started.
    struct Table(KVVec<*mut Node>);

    /// Nodes in the table. Written under its lock; who reads it without may miss a node that is just being remembered,
    /// whose folio is locked then, so that no swap-in of its entry can be on its way.
    static COUNT: AtomicU32 = AtomicU32::new(0);

    // SAFETY: Plain pointers, reached under the lock only.
    unsafe impl Send for Table {}

    static ENTRIES: Spin<Table> = Spin::new_static(Table(KVVec::new()));

    impl Table {
        fn bucket(&mut self, entry: u64) -> &mut *mut Node {
            let hash = entry.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let index = hash as usize & (self.0.len() - 1);
            &mut self.0[index]
        }

        fn link(&mut self, node: Live<Node>, entry: u64) {
            let head = self.bucket(entry);
            // SAFETY: In no bucket now.
            unsafe { *node.next_entry.get() = *head };
            *head = node.as_ptr();
            COUNT.store(COUNT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }

        fn unlink(&mut self, node: Live<Node>, entry: u64) {
            let mut place: *mut *mut Node = self.bucket(entry);
            // SAFETY: Nodes in the table exist: they are taken out before they are freed.
            unsafe {
                while !(*place).is_null() {
                    if *place == node.as_ptr() {
                        *place = *node.next_entry.get();
                        COUNT.store(COUNT.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
                        return;
                    }
                    place = (**place).next_entry.get();
                }
            }
        }
    }

    /// To be called once, before any node exists. `ENOMEM`. May sleep.
    pub(crate) fn init() -> Result {
        // SAFETY: Nobody uses it yet. The number of pages is read only.
        let pages = unsafe {
            Spin::init(
                (&raw const ENTRIES).cast_mut(),
                b::swapksm_lock_class_SWAPKSM_LOCK_ENTRIES,
            );
            b::swapksm_total_pages()
        };
        let buckets = (pages / PAGES_A_BUCKET)
            .max(FEWEST_BUCKETS)
            .next_power_of_two();
        let table = KVVec::from_elem(ptr::null_mut(), buckets, GFP_KERNEL)?;
        ENTRIES.lock().0 = table;
        Ok(())
    }

    /// Frees the table. No node is left. May sleep.
    pub(crate) fn fini() {
        let table = core::mem::replace(&mut ENTRIES.lock().0, KVVec::new());
        drop(table);
    }

    /// Remembers that the page of `node` goes to `entry`. The folio is locked, in the swap cache. Any context.
    pub(crate) fn remember(node: Live<Node>, entry: u64) {
        let mut state = node.state.lock();
        let mut table = ENTRIES.lock();
        if state.entry == entry && *table.bucket(entry) == node.as_ptr() {
            return;
        }
        // Also with the same entry: another node may be before us that had it, freed it, and does not know.
        if state.entry != 0 {
            table.unlink(node, state.entry);
        }
        state.entry = entry;
        table.link(node, entry);
    }

    /// The node's entry, whichever it is, is nothing of its any more. Any context.
    pub(crate) fn forget(node: Live<Node>) {
        let mut state = node.state.lock();
        if state.entry != 0 {
            ENTRIES.lock().unlink(node, state.entry);
            state.entry = 0;
        }
    }

    /// The entry turned out to be somebody else's, unless the node has gone to another one meanwhile. Who was taken for a
    /// sharer by it is looked at again. Any context.
    pub(crate) fn forget_if(node: Live<Node>, entry: u64) {
        {
            let mut state = node.state.lock();
            if state.entry != entry {
                return;
            }
            ENTRIES.lock().unlink(node, entry);
            state.entry = 0;
        }
        super::super::reap::doubt(node);
    }

    /// The node whose page went to `entry`, with a reference. Any context.
    pub(crate) fn find(entry: u64) -> Option<Live<Node>> {
        if COUNT.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut table = ENTRIES.lock();
        let mut at = *table.bucket(entry);
        // SAFETY: Nodes in the table exist. Their entry is changed only while they are not in it or under its lock.
        unsafe {
            while let Some(node) = Live::from_raw(at) {
                if node.entry_hint() == entry {
                    node.get();
                    return Some(node);
                }
                at = *node.next_entry.get();
            }
        }
        None
    }
}

impl Node {
    /// The entry as of now; under `ENTRIES` that of a node in the table.
    fn entry_hint(&self) -> u64 {
        // SAFETY: The caller has `ENTRIES`, without which the entry of a node in the table is not written (that of one which
        // has left it is, under the node's own lock).
        unsafe { (*self.state.data_ptr()).entry }
    }
}

impl Sharers<'static> {
    /// The sharers of a node whose folio is locked.
    ///
    /// # Safety
    ///
    /// The node's page is in memory, and the caller has its folio's lock while it iterates.
    pub(crate) unsafe fn under_folio_lock(node: Live<Node>) -> Self {
        Sharers(
            // SAFETY: Changes need the folio lock too.
            unsafe { (*node.state.data_ptr()).sharers },
            core::marker::PhantomData,
        )
    }
}

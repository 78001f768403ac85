// SPDX-License-Identifier: GPL-2.0

//! Items: what we know of each page of an address space, 512 in a chunk (the 2 MiB under one page-table page).
//!
//! A chunk exists while at least one of its slots is in use, and is found from (address space, address) in one step.
//!
//! # An item's life
//!
//! - *Free* → *Volatile*: the scanner found a page and installed its pointer ([`Chunk::install`]).
//! - *Volatile* → *Unstable*: its content did not change between two visits. *Unstable* → *Volatile*: it changed.
//! - → *Stable*: it maps a node's page, by a merge or because it was forked off one.
//! - The pointer is cleared by any invalidation, at once, in the callback ([`ChunkState::clear`]). Whether the item ends
//!   is decided later: the callback only marks it suspect, and the reaper looks ([`super::reap`]). For Volatile and
//!   Unstable items the pointer is all there is, so they end. A Stable one ends only when its page-table entry no longer
//!   names the node's page: failed reclaim, migration there and back, MADV_FREE and swapping out all keep it.

use core::{cell::UnsafeCell, cmp::Ordering, mem::offset_of, ptr};

use super::{
    locks::{EngineCell, Live, Spin},
    node::Sharer,
    space::{Look, Space},
    tree::Keyed,
    word::{State, Word},
    Engine,
};
use crate::{stats::STATS, sys::bindings as b};

/// Slots in a chunk.
pub(crate) const SLOTS: usize = b::SWAPKSM_CHUNK_PAGES as usize;
const PAGE_SHIFT: usize = 12;
const CHUNK_SHIFT: usize = 21;
const NO_SLOT: u16 = u16::MAX;

/// What we keep for one page that is only watched.
#[repr(C)]
pub(crate) struct Item {
    /// Under `Chunk::state`.
    word: UnsafeCell<Word>,
    /// Hash of the content last seen. Kept when the slot is freed, see [`Word::set_state`].
    hash: EngineCell<u64>,
    link: Link,
}

/// Where the item hangs: which field counts follows from its state.
#[repr(C)]
union Link {
    /// Unstable. Engine.
    tree: core::mem::ManuallyDrop<EngineCell<b::rb_node>>,
    /// Stable. Written under the engine and `Chunk::state`, read under either.
    sharer: *mut Sharer,
}

/// Bytes for each page that is watched.
pub(crate) const ITEM_SIZE: usize = core::mem::size_of::<Item>();
const _: () = assert!(ITEM_SIZE <= 40);

/// Order of the unstable tree.
pub(crate) struct ByHash;

impl Keyed for ByHash {
    unsafe fn key(link: *mut b::rb_node) -> u64 {
        // SAFETY: Links in the unstable tree are those of items; the engine is held.
        unsafe { *(*Item::of_link(link)).hash.as_ptr() }
    }
}

impl Item {
    /// The item that carries `link`.
    pub(crate) fn of_link(link: *mut b::rb_node) -> *mut Item {
        link.wrapping_byte_sub(offset_of!(Item, link)).cast()
    }
}

/// A set of slots.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slots([u64; SLOTS / 64]);

impl Slots {
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    /// Adds or removes a slot and says whether it was in.
    pub(crate) fn put(&mut self, slot: usize, on: bool) -> bool {
        let was = self.has(slot);
        if on {
            self.0[slot / 64] |= 1 << (slot % 64);
        } else {
            self.0[slot / 64] &= !(1 << (slot % 64));
        }
        was
    }

    /// The lowest slot in the set that is not below `from`.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let mut index = from / 64;
        let mut bits = *self.0.get(index)? & (u64::MAX << (from % 64));
        while bits == 0 {
            index += 1;
            bits = *self.0.get(index)?;
        }
        Some(index * 64 + bits.trailing_zeros() as usize)
    }

    /// For C: a word for each 64 slots.
    pub(crate) fn words(&mut self) -> &mut [u64; SLOTS / 64] {
        &mut self.0
    }

    fn without(&self, other: &Self) -> Self {
        let mut rest = *self;
        for (mine, other) in rest.0.iter_mut().zip(other.0) {
            *mine &= !other;
        }
        rest
    }

    fn union(&self, other: &Self) -> Self {
        let mut all = *self;
        for (mine, other) in all.0.iter_mut().zip(other.0) {
            *mine |= other;
        }
        all
    }
}

/// What changes under the chunk's lock, apart from the items' words.
#[repr(C)]
pub(crate) struct ChunkState {
    /// Slots that are not Free.
    used: Slots,
    /// Slots with a live page pointer.
    live: Slots,
    /// Slots that are Stable.
    stable: Slots,
    /// Stable slots whose page has been looked at since their pointer was installed: nothing is left to be done there,
    /// unless there are other copies of it ([`ChunkState::revisit`]).
    visited: Slots,
    /// Slots an invalidation hit and the reaper has not looked at yet.
    suspect: Slots,
    /// `Space::state`'s sequence at the last invalidation here.
    last_seq: u64,
    /// In the reaper's queue.
    queued: bool,
    /// Being freed: found by a reader that came too late.
    dead: bool,
    /// The slot whose page table entry the task below is changing itself, [`NO_SLOT`] if none.
    busy_slot: u16,
    busy_task: *const core::ffi::c_void,
    items: *mut Item,
}

/// 512 items of an address space.
#[repr(C)]
pub(crate) struct Chunk {
    pub(crate) state: Spin<ChunkState>,
    space: *mut Space,
    /// Address >> 21.
    pub(crate) index: usize,
    /// The items; the array never moves.
    items: *mut Item,
    /// The reaper's queue, under its lock.
    pub(crate) next_dirty: UnsafeCell<*mut Chunk>,
    tail: UnsafeCell<b::swapksm_chunk_tail>,
}

impl ChunkState {
    fn word(&mut self, slot: usize) -> &mut Word {
        // SAFETY: The array has SLOTS items, and their words belong to this lock.
        unsafe { &mut *(*self.items.add(slot)).word.get() }
    }

    pub(crate) fn state(&mut self, slot: usize) -> State {
        self.word(slot).state()
    }

    #[cfg(swapksm_debug)]
    pub(crate) fn is_used(&self, slot: usize) -> bool {
        self.used.has(slot)
    }

    pub(crate) fn is_live(&self, slot: usize) -> bool {
        self.live.has(slot)
    }

    /// Slots from `from` on whose items live by their page, or have one: all but Stable ones that may be in swap.
    pub(crate) fn by_page(&self, from: usize) -> Slots {
        let mut slots = self.used.without(&self.stable).union(&self.live);
        for (at, word) in slots.0.iter_mut().enumerate() {
            match at.cmp(&(from / 64)) {
                Ordering::Less => *word = 0,
                Ordering::Equal => *word &= u64::MAX << (from % 64),
                Ordering::Greater => {}
            }
        }
        slots
    }

    /// Has an invalidation hit the slot that the reaper has not looked into yet?
    pub(crate) fn is_suspect(&self, slot: usize) -> bool {
        self.suspect.has(slot)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Stable slots.
    pub(crate) fn stable(&self) -> Slots {
        self.stable
    }

    /// The frame the item points to.
    pub(crate) fn pfn(&mut self, slot: usize) -> Option<u64> {
        if self.live.has(slot) {
            Some(self.word(slot).pfn())
        } else {
            None
        }
    }

    /// The sharer of a Stable item. It and its node exist as long as this lock is held: a sharer is taken out of its item
    /// under it before it is freed, and a node is freed after its last sharer.
    pub(crate) fn sharer(&mut self, slot: usize) -> Option<Live<Sharer>> {
        if self.state(slot) != State::Stable {
            return None;
        }
        // SAFETY: A Stable item's link is its sharer.
        unsafe { Live::from_raw((*self.items.add(slot)).link.sharer) }
    }

    /// An invalidation covers the slots in `[from, to)`: clears their pointers and marks as suspect what somebody else
    /// than ourselves did. Returns how many became suspect.
    pub(crate) fn clear(&mut self, from: usize, to: usize, seq: u64) -> i64 {
        // SAFETY: Any context.
        let current = unsafe { b::swapksm_current() };
        let mut suspects = 0;
        let mut at = from;
        self.last_seq = seq;
        // All that exist: an item may have lost its pointer to an invalidation of our own, in a merge that came to nothing.
        while let Some(slot) = self.used.next(at) {
            if slot >= to {
                break;
            }
            at = slot + 1;
            self.live.put(slot, false);
            self.visited.put(slot, false);
            let ours = self.busy_slot as usize == slot && self.busy_task == current;
            // The walker of the node's own page looks itself what became of the entry (`super::rmap`).
            let walked = !ours
                && self
                    .sharer(slot)
                    .is_some_and(|s| s.node().announce_moved(current));
            if !ours && !walked {
                suspects += i64::from(!self.suspect.put(slot, true));
            }
        }
        suspects
    }

    /// See the field.
    pub(crate) fn visited(&self) -> Slots {
        self.visited
    }

    /// A Stable slot has been looked at.
    pub(crate) fn set_visited(&mut self, slot: usize) {
        if self.live.has(slot) && self.stable.has(slot) {
            self.visited.put(slot, true);
        }
    }

    /// A Stable slot has to be looked at again.
    pub(crate) fn revisit(&mut self, slot: usize) {
        self.visited.put(slot, false);
    }

    /// Marks one slot as suspect. Returns 1 if it was not.
    pub(crate) fn suspect(&mut self, slot: usize) -> i64 {
        i64::from(!self.suspect.put(slot, true))
    }

    /// Puts the chunk into the reaper's queue on the first call; true then.
    pub(crate) fn queue(&mut self) -> bool {
        !core::mem::replace(&mut self.queued, true)
    }

    /// The reaper takes the suspects.
    pub(crate) fn take_suspects(&mut self) -> Slots {
        self.queued = false;
        core::mem::take(&mut self.suspect)
    }
}

impl Chunk {
    /// Makes an empty chunk, which keeps `space` until it is freed. `None`: out of memory. May sleep.
    pub(crate) fn new(space: Live<Space>, index: usize) -> Option<Live<Self>> {
        // SAFETY: The block is big enough; zeroes are valid for all fields, the rest is filled in before anybody sees it.
        unsafe {
            let chunk: *mut Self =
                b::swapksm_object_alloc(b::swapksm_object_SWAPKSM_OBJECT_CHUNK, space.mm()).cast();
            if chunk.is_null() {
                return None;
            }
            let items: *mut Item =
                b::swapksm_items_alloc(SLOTS * ITEM_SIZE, chunk.cast(), space.mm()).cast();
            if items.is_null() {
                b::swapksm_object_free(b::swapksm_object_SWAPKSM_OBJECT_CHUNK, chunk.cast());
                return None;
            }
            for slot in 0..SLOTS {
                (*items.add(slot)).word = UnsafeCell::new(Word::new(slot as u64));
            }
            Spin::init(
                &raw mut (*chunk).state,
                b::swapksm_lock_class_SWAPKSM_LOCK_CHUNK,
            );
            {
                let mut state = (*chunk).state.lock();
                state.items = items;
                state.busy_slot = NO_SLOT;
            }
            (*chunk).items = items;
            (*chunk).space = space.as_ptr();
            (*chunk).index = index;
            space.get();
            Live::from_raw(chunk)
        }
    }

    /// The address space. It exists as long as the chunk.
    pub(crate) fn space(&self) -> Live<Space> {
        // SAFETY: The chunk holds a reference to it from `new` to `free`.
        unsafe { Live::from_raw(self.space).unwrap_unchecked() }
    }

    /// The address of a slot.
    pub(crate) fn address(&self, slot: usize) -> usize {
        (self.index << CHUNK_SHIFT) | (slot << PAGE_SHIFT)
    }

    /// The chunk and slot of an item in the unstable tree. Both exist while the engine is held.
    pub(crate) fn of_item(item: *mut Item) -> (Live<Chunk>, usize) {
        // SAFETY: The slot never changes, so reading it needs no lock; the block's owner is its chunk, which stays while
        // an item of it is in the tree.
        unsafe {
            let slot = (*(*item).word.get()).slot();
            let chunk: *mut Chunk = b::swapksm_items_owner(item.sub(slot).cast()).cast();
            (Live::from_raw(chunk).unwrap_unchecked(), slot)
        }
    }

    fn item(&self, slot: usize) -> &Item {
        assert!(slot < SLOTS);
        // SAFETY: The array has SLOTS items.
        unsafe { &*self.items.add(slot) }
    }

    /// The item's link in the unstable tree.
    pub(crate) fn tree_link(&self, slot: usize) -> *mut b::rb_node {
        // SAFETY: Takes an address only.
        unsafe { self.item(slot).link.tree.as_ptr() }
    }

    pub(crate) fn hash(&self, engine: &Engine, slot: usize) -> u64 {
        self.item(slot).hash.get(engine)
    }

    /// Remembers the hash of the content just seen.
    pub(crate) fn set_hash(&self, engine: &mut Engine, slot: usize, hash: u64) {
        self.item(slot).hash.set(engine, hash);
        self.state.lock().word(slot).set_hashed(true);
    }

    pub(crate) fn is_hashed(&self, slot: usize) -> bool {
        self.state.lock().word(slot).is_hashed()
    }

    /// Counts a visit for smart scan, see [`Word::grow_older`].
    pub(crate) fn grow_older(&self, slot: usize) -> bool {
        self.state.lock().word(slot).grow_older()
    }

    /// Points the items at the pages found between `from` and `to`, unless an invalidation ran here since `look` was
    /// taken (see [`Look`]). Where `pfns` has none, an item that lives by its page is told in `stale`: nothing mergeable is
    /// there any more. False: nothing was installed.
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller; a struct would only name the arguments again"
    )]
    pub(crate) fn install(
        &self,
        engine: &mut Engine,
        look: Look,
        fresh: bool,
        from: usize,
        to: usize,
        pfns: &dyn Fn(usize) -> Option<u64>,
        stale: &mut Slots,
    ) -> bool {
        let mut state = self.state.lock();
        // The order of these two is what makes it right: an invalidation counts itself before it comes to this lock. If
        // it has not counted yet, it will come, and clear what we install.
        if state.last_seq > look.seq || self.space().is_invalidating(self.index, look, fresh) {
            return false;
        }
        let by_page = state.by_page(from);
        let mut added = 0;
        for slot in from..to {
            match pfns(slot) {
                Some(pfn) => {
                    let word = state.word(slot);
                    word.set_pfn(pfn);
                    if word.state() == State::Free {
                        word.set_state(State::Volatile);
                        state.used.put(slot, true);
                        added += 1;
                    }
                    state.live.put(slot, true);
                }
                None => {
                    if by_page.has(slot) {
                        stale.put(slot, true);
                    }
                }
            }
        }
        drop(state);
        self.count(engine, added);
        true
    }

    fn count(&self, _engine: &mut Engine, by: isize) {
        if by == 0 {
            return;
        }
        STATS.rmap_items.add(by as i64);
        // SAFETY: The space keeps its mm, and the engine is held.
        unsafe { b::swapksm_mm_count_items(self.space().mm(), by) };
    }

    /// Frees the slot of an item that hangs nowhere any more.
    pub(crate) fn release(&self, engine: &mut Engine, slot: usize) {
        {
            let mut state = self.state.lock();
            state.live.put(slot, false);
            state.visited.put(slot, false);
            state.used.put(slot, false);
            state.word(slot).set_state(State::Free);
        }
        self.count(engine, -1);
    }

    /// Between Volatile and Unstable.
    pub(crate) fn set_state(&self, _engine: &mut Engine, slot: usize, to: State) {
        self.state.lock().word(slot).set_state(to);
    }

    /// The item becomes Stable.
    pub(crate) fn set_sharer(&self, _engine: &mut Engine, slot: usize, sharer: Live<Sharer>) {
        let mut state = self.state.lock();
        // SAFETY: The item is Volatile, so its link is free.
        unsafe { (*self.items.add(slot)).link.sharer = sharer.as_ptr() };
        state.word(slot).set_state(State::Stable);
        state.stable.put(slot, true);
    }

    /// The item is no longer Stable but Volatile. From here on nobody finds the sharer through it.
    pub(crate) fn take_sharer(&self, _engine: &mut Engine, slot: usize) -> Option<Live<Sharer>> {
        let mut state = self.state.lock();
        let sharer = state.sharer(slot)?;
        state.word(slot).set_state(State::Volatile);
        state.stable.put(slot, false);
        state.visited.put(slot, false);
        Some(sharer)
    }

    /// Says that this task changes the page-table entry of `slot` itself, until the returned value is dropped: its
    /// invalidations clear the pointer and raise no suspicion.
    pub(crate) fn busy(&self, slot: usize) -> Busy<'_> {
        let mut state = self.state.lock();
        state.busy_slot = slot as u16;
        // SAFETY: Any context.
        state.busy_task = unsafe { b::swapksm_current() };
        Busy(self)
    }

    /// Frees the chunk when nothing uses it: false while a slot is in use or the reaper's queue has it.
    pub(crate) fn try_free(self: Live<Self>, _engine: &mut Engine) -> bool {
        let space = self.space();
        {
            let mut state = self.state.lock();
            if state.queued || state.used.next(0).is_some() {
                return false;
            }
            state.dead = true;
        }
        space.erase(self.index);
        // SAFETY: Nobody finds it any more except RCU readers, who see that it is dead.
        unsafe {
            let tail = self.tail.get();
            (*tail).offset = offset_of!(Chunk, tail);
            (*tail).items = self.items.cast();
            (*tail).bytes = SLOTS * ITEM_SIZE;
            b::swapksm_chunk_free_rcu(tail);
        }
        space.put();
        true
    }
}

/// See [`Chunk::busy`].
pub(crate) struct Busy<'a>(&'a Chunk);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.busy_slot = NO_SLOT;
        state.busy_task = ptr::null();
    }
}

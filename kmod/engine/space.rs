// SPDX-License-Identifier: GPL-2.0

//! Address spaces: one for each mm that has, or had, something mergeable.
//!
//! # Life
//!
//! *Fresh*: an entry point queued the mm; nothing else happened, because fork calls with the locks of two mms held.
//! *Watched*: the scanner subscribed to the mm's invalidations. *Dead*: the mm exits, or has nothing mergeable left; no
//! pointer is left in it, no new one comes, and the reaper frees what it holds.
//!
//! References: the list has one until the reaper has emptied it, the subscription has one until the kernel says that no
//! callback runs any more, each chunk has one.

use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use kernel::prelude::*;

use super::{
    chunk::Chunk,
    locks::{EngineCell, Live, Rcu, Spin},
    reap,
};
use crate::{
    stats::{SwapIns, STATS},
    sys::bindings as b,
};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Life {
    /// What zeroed memory says.
    #[allow(dead_code, reason = "never written: spaces are made of zeroes")]
    Fresh,
    Watched,
    Dead,
}

/// What changes under the space's lock.
///
/// The running invalidations are known as a count and one range that covers them all, which is what secondary MMUs do
/// (`mmu_invalidate_in_progress` in virt/kvm/kvm_main.c): no pointer is installed in the range while one runs. An
/// invalidation that began and ended since a page table was read shows in the sequence.
#[repr(C)]
pub(crate) struct SpaceState {
    life: Life,
    running: u32,
    first: usize,
    last: usize,
    seq: u64,
}

/// The invalidations of a space at an instant. What is read from a page table after it may be installed if none began
/// since, and none that ran then covers the place: one may have been told of before, take the page away after the
/// reading, and be over before the installing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// How many had begun.
    pub(crate) seq: u64,
    /// Chunks that those running cover, first and last.
    running: Option<(usize, usize)>,
}

impl Look {
    /// Does one that was running cover this chunk?
    pub(crate) fn covers(&self, index: usize) -> bool {
        self.running
            .is_some_and(|(first, last)| first <= index && index <= last)
    }
}

/// See the module.
#[repr(C)]
pub(crate) struct Space {
    /// First: C finds the space through it.
    c: UnsafeCell<b::swapksm_space>,
    state: Spin<SpaceState>,
    refs: AtomicU32,
    /// The kernel's merge group: only pages of one group are merged with each other.
    pub(crate) group: u32,
    /// Next address to be scanned. It dies with the space: the next one begins at its own start.
    pub(crate) scan_at: EngineCell<usize>,
    /// A mergeable VMA was seen since the scan of this space began.
    pub(crate) seen_mergeable: EngineCell<bool>,
    /// Pages of it that have to be looked at before the scanner waits for it again (`scan::REST_PAGES`).
    pub(crate) owed: EngineCell<u32>,
    /// `run` 2 has come to it, the last time it was written.
    pub(crate) unmerged: EngineCell<bool>,
    /// Of this process, since the space was made.
    pub(crate) swapins: SwapIns,
    links: UnsafeCell<Links>,
}

/// Under `SPACES`, except `dead`, which is under the reaper's lock.
struct Links {
    next: *mut Space,
    prev: *mut Space,
    bucket: *mut Space,
    dead: *mut Space,
}

const BUCKETS: usize = 1024;

/// All address spaces.
struct Spaces {
    first: *mut Space,
    last: *mut Space,
    /// Where the scanner is: null between two passes.
    cursor: *mut Space,
    /// Live spaces by mm.
    buckets: [*mut Space; BUCKETS],
}

// SAFETY: Plain pointers, reached under the lock only.
unsafe impl Send for Spaces {}

static SPACES: Spin<Spaces> = Spin::new_static(Spaces {
    first: ptr::null_mut(),
    last: ptr::null_mut(),
    cursor: ptr::null_mut(),
    buckets: [ptr::null_mut(); BUCKETS],
});

/// To be called once, before any mm is entered.
pub(crate) fn init() {
    // SAFETY: Nobody uses it yet.
    unsafe {
        Spin::init(
            (&raw const SPACES).cast_mut(),
            b::swapksm_lock_class_SWAPKSM_LOCK_SPACES,
        );
    }
}

fn bucket(mm: *mut b::mm_struct) -> usize {
    // The upper bits of a product with the golden ratio: objects of a cache lie in rows, which a remainder would keep.
    (mm as usize).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - BUCKETS.ilog2())
}

impl Spaces {
    fn find(&self, mm: *mut b::mm_struct) -> Option<Live<Space>> {
        let mut at = self.buckets[bucket(mm)];
        // SAFETY: Spaces in the index exist while the lock is held.
        unsafe {
            while let Some(space) = Live::from_raw(at) {
                if space.mm() == mm {
                    return Some(space);
                }
                at = (*space.links.get()).bucket;
            }
        }
        None
    }

    fn unindex(&mut self, space: Live<Space>) {
        let mut place: *mut *mut Space = &mut self.buckets[bucket(space.mm())];
        // SAFETY: As above.
        unsafe {
            while !(*place).is_null() {
                if *place == space.as_ptr() {
                    *place = (*space.links.get()).bucket;
                    return;
                }
                place = &raw mut (*(**place).links.get()).bucket;
            }
        }
    }

    /// Inserts before `before`, at the end if that is null.
    fn insert(&mut self, space: Live<Space>, before: *mut Space) {
        // SAFETY: Spaces on the list exist while the lock is held.
        unsafe {
            let links = space.links.get();
            (*links).next = before;
            (*links).prev = if before.is_null() {
                self.last
            } else {
                (*(*before).links.get()).prev
            };
            match (*links).prev.is_null() {
                true => self.first = space.as_ptr(),
                false => (*(*(*links).prev).links.get()).next = space.as_ptr(),
            }
            match before.is_null() {
                true => self.last = space.as_ptr(),
                false => (*(*before).links.get()).prev = space.as_ptr(),
            }
        }
    }

    fn remove(&mut self, space: Live<Space>) {
        // SAFETY: As above.
        unsafe {
            let links = space.links.get();
            if self.cursor == space.as_ptr() {
                self.cursor = (*links).next;
            }
            match (*links).prev.is_null() {
                true => self.first = (*links).next,
                false => (*(*(*links).prev).links.get()).next = (*links).next,
            }
            match (*links).next.is_null() {
                true => self.last = (*links).prev,
                false => (*(*(*links).next).links.get()).prev = (*links).prev,
            }
        }
    }
}

/// Why an mm could not be entered.
pub(crate) struct NoMemory;

/// Whose memory control group a space is charged to (`swapksm_space_alloc`).
#[derive(Clone, Copy)]
pub(crate) enum Payer {
    /// That of the task that asks, or forks.
    Caller,
    /// The mm's, unless that is full: it is taken over, and has not asked now.
    Adopted,
}

/// Takes an mm in; harmless when it is in already. `first`: there was none before, so the scanner may be asleep. Where it
/// goes decides who is scanned when: behind the cursor, so that a child which only lives to exec is not looked at first.
/// Any context that may sleep, whatever mm locks are held.
pub(crate) fn enter(mm: *mut b::mm_struct, payer: Payer) -> Result<bool, NoMemory> {
    let adopted = match payer {
        Payer::Caller => ptr::null_mut(),
        Payer::Adopted => mm,
    };
    // SAFETY: The object is big enough, zeroes are valid for all fields, and the rest is filled in before it is seen.
    let space = unsafe {
        let space: *mut Space = b::swapksm_space_alloc(adopted).cast();
        let Some(live) = Live::from_raw(space) else {
            return Err(NoMemory);
        };
        Spin::init(
            &raw mut (*space).state,
            b::swapksm_lock_class_SWAPKSM_LOCK_SPACE,
        );
        (*space).refs = AtomicU32::new(1);
        b::swapksm_space_init((*space).c.get(), mm);
        live
    };
    let mut spaces = SPACES.lock();
    if spaces.find(mm).is_some() {
        drop(spaces);
        space.put();
        return Ok(false);
    }
    let first = spaces.first.is_null();
    let before = spaces.cursor;
    spaces.insert(space, before);
    let slot = bucket(mm);
    // SAFETY: Under the lock.
    unsafe { (*space.links.get()).bucket = spaces.buckets[slot] };
    spaces.buckets[slot] = space.as_ptr();
    drop(spaces);
    STATS.spaces.inc();
    Ok(first)
}

/// Ends the space of an exiting mm. False: there was none. Any context that mm calls from. May sleep.
pub(crate) fn exit(mm: *mut b::mm_struct) -> bool {
    let found = {
        let spaces = SPACES.lock();
        let found = spaces.find(mm);
        if let Some(space) = found {
            space.get();
        }
        found
    };
    let Some(space) = found else {
        return false;
    };
    #[cfg(swapksm_debug)]
    super::probe::before_exit(space);
    space.kill();
    #[cfg(swapksm_debug)]
    super::probe::after_exit(space);
    space.put();
    true
}

/// The space of an mm with a reference, which the caller puts.
pub(crate) fn lookup(mm: *mut b::mm_struct) -> Option<Live<Space>> {
    let spaces = SPACES.lock();
    let space = spaces.find(mm)?;
    space.get();
    Some(space)
}

/// Is there any?
pub(crate) fn any() -> bool {
    !SPACES.lock().first.is_null()
}

/// The space under the scan cursor, with a reference. None: a pass has ended.
pub(crate) fn cursor() -> Option<Live<Space>> {
    let spaces = SPACES.lock();
    // SAFETY: Spaces on the list exist while the lock is held.
    let space = unsafe { Live::from_raw(spaces.cursor) }?;
    space.get();
    Some(space)
}

/// Has the scan cursor passed the last space?
pub(crate) fn cursor_at_end() -> bool {
    SPACES.lock().cursor.is_null()
}

/// Puts the scan cursor on the first space.
pub(crate) fn cursor_start() {
    let mut spaces = SPACES.lock();
    spaces.cursor = spaces.first;
}

/// Takes the scan cursor off all spaces: the next step begins a pass.
pub(crate) fn cursor_clear() {
    SPACES.lock().cursor = ptr::null_mut();
}

/// Moves the scan cursor off `space`, if it is still there.
pub(crate) fn cursor_advance(space: Live<Space>) {
    let mut spaces = SPACES.lock();
    if spaces.cursor == space.as_ptr() {
        // SAFETY: It is on the list, as the cursor is on it.
        spaces.cursor = unsafe { (*space.links.get()).next };
    }
}

/// Does `each` for every space, holding a reference to it but no lock. Spaces leave the list only with the engine held,
/// which the caller has; those entered meanwhile may be missed.
pub(crate) fn for_each(
    engine: &mut super::Engine,
    mut each: impl FnMut(&mut super::Engine, Live<Space>),
) {
    let mut at = SPACES.lock().first;
    // SAFETY: The caller has the engine, so nothing leaves the list between two steps.
    while let Some(space) = unsafe { Live::from_raw(at) } {
        space.get();
        each(engine, space);
        {
            let _spaces = SPACES.lock();
            // SAFETY: Under the lock.
            at = unsafe { (*space.links.get()).next };
        }
        space.put();
    }
}

impl Space {
    /// The mm. Its struct exists as long as the space, its mappings as long as there is a user, or somebody has the mmap lock
    /// who saw one with it ([`Space::try_read_lock`]).
    pub(crate) fn mm(&self) -> *mut b::mm_struct {
        // SAFETY: Set once before the space was seen by anybody.
        unsafe { (*self.c.get()).mm }
    }

    fn c(&self) -> *mut b::swapksm_space {
        self.c.get()
    }

    /// The space C hands back to us.
    ///
    /// # Safety
    ///
    /// `c` is that of a space which the caller's context keeps.
    pub(crate) unsafe fn from_c(c: *mut b::swapksm_space) -> Live<Self> {
        // SAFETY: It is the first field.
        unsafe { Live::from_raw(c.cast::<Self>()).unwrap_unchecked() }
    }

    pub(crate) fn get(&self) {
        self.refs.fetch_add(1, Ordering::Relaxed);
    }

    /// Subscribes to invalidations, the first time. Called by the scanner. May sleep.
    ///
    /// As a user of the mm, and with its mmap lock for as long as a small allocation takes: __mmu_notifier_register() wants
    /// both, once in the life of an mm.
    pub(crate) fn watch(self: Live<Self>) -> Watch {
        let life = self.state.lock().life;
        match life {
            Life::Fresh => {}
            Life::Watched => return Watch::Yes,
            Life::Dead => return Watch::No,
        }
        let Some(_user) = MmUser::get(&self) else {
            self.kill();
            return Watch::No;
        };
        self.get();
        // SAFETY: We hold a user of the mm.
        let err = unsafe { b::swapksm_space_subscribe(self.c()) };
        if err != 0 {
            self.put();
            return if err == EAGAIN.to_errno() {
                Watch::Later
            } else {
                Watch::No
            };
        }
        let mut state = self.state.lock();
        if state.life == Life::Dead {
            // Killed in between (create_init_stack_vma() in mm/vma_exec.c exits an mm that has users).
            drop(state);
            // SAFETY: Subscribed above and not yet ended.
            unsafe { b::swapksm_space_unsubscribe(self.c()) };
            return Watch::No;
        }
        state.life = Life::Watched;
        Watch::Yes
    }

    /// Has the mm's last user gone?
    pub(crate) fn has_no_users(&self) -> bool {
        // SAFETY: The space keeps the struct.
        unsafe { b::swapksm_mm_has_no_users(self.mm()) }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().life == Life::Dead
    }

    /// Ends the space: no pointer is left in it when this returns, nobody finds it by its mm any more, the reaper gets it.
    /// Whatever mm locks are held. May sleep.
    ///
    /// Two may come at once, the exiting task and the scanner, which finds that the mm has no user. Both clear, and the
    /// space stays in the index until that is done, so neither goes on to unmap while a pointer is left: a dead space gets
    /// no new one.
    pub(crate) fn kill(self: Live<Self>) {
        let before = {
            let mut state = self.state.lock();
            state.seq += 1;
            core::mem::replace(&mut state.life, Life::Dead)
        };
        self.clear(0, usize::MAX, u64::MAX, true);
        if before == Life::Dead {
            return;
        }
        SPACES.lock().unindex(self);
        STATS.pending.inc();
        reap::bury(self);
        if before == Life::Watched {
            // SAFETY: Subscribed, and this is the only place that ends it.
            unsafe { b::swapksm_space_unsubscribe(self.c()) };
        }
    }

    /// The reaper has emptied the space: takes it off the list and drops the list's reference.
    pub(crate) fn unlist(self: Live<Self>, _engine: &mut super::Engine) {
        SPACES.lock().remove(self);
        STATS.spaces.dec();
        self.put();
    }

    /// The reaper's queue of dead spaces.
    pub(crate) fn dead_link(&self) -> *mut *mut Space {
        // SAFETY: Takes an address only.
        unsafe { &raw mut (*self.links.get()).dead }
    }

    /// Drops a reference. Any context.
    pub(crate) fn put(self: Live<Self>) {
        if self.refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: Nobody has it any more; its chunks, which have references, are gone.
            unsafe {
                b::swapksm_space_fini(self.c());
                b::swapksm_object_free(
                    b::swapksm_object_SWAPKSM_OBJECT_SPACE,
                    self.as_ptr().cast(),
                );
            }
        }
    }

    /// What to hand to [`Chunk::install`], to be taken before page tables are read.
    pub(crate) fn look(&self) -> Look {
        let state = self.state.lock();
        let running = (state.running > 0).then_some((state.first, state.last));
        Look {
            seq: state.seq,
            running,
        }
    }

    /// May no pointer be installed in this chunk that was read after `look`? With `fresh` also when any invalidation began
    /// since anywhere, for a chunk that did not exist then and could not be told.
    pub(crate) fn is_invalidating(&self, index: usize, look: Look, fresh: bool) -> bool {
        let state = self.state.lock();
        state.life != Life::Watched
            || (state.running > 0 && state.first <= index && index <= state.last)
            || look.covers(index)
            || (fresh && state.seq != look.seq)
    }

    /// Is any invalidation running?
    #[cfg(swapksm_debug)]
    pub(crate) fn is_quiet(&self) -> bool {
        self.state.lock().running == 0
    }

    /// Notifier: an invalidation of `[start, end)` begins.
    pub(crate) fn invalidate_start(&self, start: usize, end: usize, blockable: bool) {
        let (first, last) = (start >> 21, (end - 1) >> 21);
        let seq = {
            let mut state = self.state.lock();
            if state.running == 0 {
                (state.first, state.last) = (first, last);
            } else {
                state.first = state.first.min(first);
                state.last = state.last.max(last);
            }
            state.running += 1;
            state.seq += 1;
            state.seq
        };
        self.clear(start, end, seq, blockable);
    }

    /// Notifier: it is over.
    pub(crate) fn invalidate_end(&self) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
    }

    /// Clears the pointers in a range of addresses. Work is proportional to the chunks that exist, and other tasks get
    /// their turn between two of them where that is allowed.
    fn clear(&self, start: usize, end: usize, seq: u64, blockable: bool) {
        let last = (end - 1) >> 21;
        let mut index = start >> 21;
        while index <= last {
            {
                let _rcu = Rcu::lock();
                let Some(chunk) = self.find_from(&mut index, last) else {
                    break;
                };
                let from = if index == start >> 21 {
                    (start >> 12) & 511
                } else {
                    0
                };
                let to = if index == last {
                    ((end - 1) >> 12 & 511) + 1
                } else {
                    512
                };
                let mut state = chunk.state.lock();
                if !state.is_dead() {
                    let suspects = state.clear(from, to, seq);
                    STATS.pending.add(suspects);
                    if suspects > 0 && state.queue() {
                        reap::queue(chunk);
                    }
                }
            }
            index += 1;
            if blockable {
                // SAFETY: The invalidation may block, and no lock of ours is held.
                unsafe { b::swapksm_cond_resched() };
            }
        }
    }

    fn find_from(&self, index: &mut usize, last: usize) -> Option<Live<Chunk>> {
        // SAFETY: The caller is in an RCU section, or has the engine, without which no chunk is freed.
        unsafe { Live::from_raw(b::swapksm_space_find(self.c(), index, last).cast()) }
    }

    /// The first chunk in `[*index, last]`, with its index. It stays while the engine is held.
    pub(crate) fn find(
        &self,
        _engine: &super::Engine,
        index: &mut usize,
        last: usize,
    ) -> Option<Live<Chunk>> {
        self.find_from(index, last)
    }

    /// The chunk with this index for a reader that has only RCU.
    pub(crate) fn find_rcu(&self, _rcu: &Rcu, index: usize) -> Option<Live<Chunk>> {
        let mut at = index;
        self.find_from(&mut at, index)
    }

    /// The first chunk from `*index` on, with its index, for a reader that has only RCU.
    pub(crate) fn next_rcu(&self, _rcu: &Rcu, index: &mut usize) -> Option<Live<Chunk>> {
        self.find_from(index, usize::MAX)
    }

    /// Adds a chunk; false: out of memory. May sleep.
    pub(crate) fn insert(&self, chunk: Live<Chunk>) -> bool {
        // SAFETY: The index takes the address only.
        unsafe { b::swapksm_space_insert(self.c(), chunk.index, chunk.as_ptr().cast()) == 0 }
    }

    pub(crate) fn erase(&self, index: usize) {
        // SAFETY: As above.
        unsafe { b::swapksm_space_erase(self.c(), index) };
    }
}

/// Is a space being told of invalidations?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Yes,
    /// Not in this pass: out of memory, dead, or another's subscription takes its time.
    No,
    /// Somebody has the mmap lock, or that of a VMA.
    Later,
}

/// A user of an mm: while held, its mappings exist.
///
/// Scanner and reaper do without ([`Space::try_read_lock`]). Who exits meanwhile is gone before his memory is, which the
/// last user gives back; when the machine is out of memory the OOM killer then sees no victim to wait for and takes the
/// next process, and the next (`oom/global`).
pub(crate) struct MmUser(*mut b::mm_struct);

impl MmUser {
    /// None: the mm is dying.
    pub(crate) fn get(space: &Space) -> Option<Self> {
        let mm = space.mm();
        // SAFETY: The space keeps the struct.
        unsafe { b::swapksm_mm_get(mm) }.then(|| Self(mm))
    }

    pub(crate) fn mm(&self) -> *mut b::mm_struct {
        self.0
    }
}

impl Drop for MmUser {
    fn drop(&mut self) {
        // SAFETY: Ours from `get`.
        unsafe { b::swapksm_mm_put(self.0) };
    }
}

/// The mmap lock, held for reading, of an mm that had users when it was taken.
pub(crate) struct MmapRead(*mut b::mm_struct);

/// What became of an attempt to take the mmap lock.
pub(crate) enum Reading {
    Possible(MmapRead),
    /// Somebody has it.
    Later,
    /// The mm has no users: it is being torn down, or has been.
    Gone,
}

impl Space {
    /// Takes the mmap lock for reading if that can be had at once. The caller keeps the space as long as the lock.
    ///
    /// Without being a user, as mm/ksm.c (`ksm_test_exit()`): if the mm has one while we have the lock, then
    /// exit_mmap() has not got to where it frees page tables and mappings, for which it takes the lock for writing. It
    /// may come to empty the page tables, as MADV_DONTNEED may; our pointers into it are gone before that
    /// (`Space::kill`, by mmu_notifier_release()). What is hung into a dead space after that, the reaper takes out.
    pub(crate) fn try_read_lock(&self) -> Reading {
        if self.has_no_users() {
            return Reading::Gone;
        }
        // SAFETY: The space keeps the struct.
        if !unsafe { b::swapksm_mm_read_trylock(self.mm()) } {
            return Reading::Later;
        }
        self.locked().map_or(Reading::Gone, Reading::Possible)
    }

    /// The same, waiting as long as it takes; `None`: the mm has no users. `EINTR` when the caller is killed.
    pub(crate) fn read_lock_killable(&self) -> kernel::error::Result<Option<MmapRead>> {
        // SAFETY: The space keeps the struct.
        kernel::error::to_result(unsafe { b::swapksm_mm_read_lock_killable(self.mm()) })?;
        Ok(self.locked())
    }

    /// The same when nobody else has it: no munmap() is between taking a mapping away and emptying its page tables.
    #[cfg(swapksm_debug)]
    pub(crate) fn read_lock_alone(&self) -> Option<MmapRead> {
        // SAFETY: The space keeps the struct.
        unsafe { b::swapksm_mm_read_lock_alone(self.mm()) };
        self.locked()
    }

    /// Takes over the lock, which is ours; `None`: the mm has no users, and the lock is dropped.
    fn locked(&self) -> Option<MmapRead> {
        let lock = MmapRead(self.mm());
        (!self.has_no_users()).then_some(lock)
    }
}

impl MmapRead {
    pub(crate) fn mm(&self) -> *mut b::mm_struct {
        self.0
    }

    /// The mergeable VMA at an address, null if there is none.
    pub(crate) fn mergeable_vma(&self, address: usize) -> *mut b::vm_area_struct {
        // SAFETY: The mmap lock is held.
        unsafe { b::swapksm_mergeable_vma(self.mm(), address) }
    }
}

impl Drop for MmapRead {
    fn drop(&mut self) {
        // SAFETY: Taken before it was made.
        unsafe { b::swapksm_mm_read_unlock(self.mm()) };
    }
}

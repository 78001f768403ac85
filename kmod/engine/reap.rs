// SPDX-License-Identifier: GPL-2.0

//! The reaper: finishes in its own thread what notifier callbacks, which may neither sleep nor free, have begun.
//!
//! It takes what the callbacks marked as suspect, chunk by chunk, and decides what became of it:
//!
//! - A Volatile or Unstable item lived by its pointer: it ends. If the page is still there the scanner finds it again,
//!   and its hash with it.
//! - A Stable item ends if its page-table entry no longer names the node's page. It is read with the mark already taken
//!   off, so an invalidation that begins after the reading marks it again; while one runs that may have marked it,
//!   nothing is decided.
//!
//! While anything is marked or queued, `pending` is not zero; `sync` waits until what was pending when it was called has
//! been looked at.

use core::{
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use super::{
    chunk::{Chunk, Slots},
    hold,
    locks::{Event, Live, Spin},
    node::{Node, Sharer, Wait},
    space::{MmapRead, Reading, Space},
    word::State,
    Engine,
};
use crate::{
    stats::STATS,
    sys::{bindings as b, thread},
};

/// Chunks with suspects, nodes whose sharers are all in doubt, and dead spaces.
struct Dirty {
    chunks: *mut Chunk,
    nodes: *mut Node,
    spaces: *mut Space,
}

// SAFETY: Plain pointers, reached under the lock only.
unsafe impl Send for Dirty {}

static DIRTY: Spin<Dirty> = Spin::new_static(Dirty {
    chunks: ptr::null_mut(),
    nodes: ptr::null_mut(),
    spaces: ptr::null_mut(),
});
/// Work arrived, or the reaper shall stop.
pub(super) static WORK: Event = Event::new_static();
/// Somebody waits for it to be done.
static HURRY: Event = Event::new_static();
/// The reaper has finished a round.
static DONE: Event = Event::new_static();
/// Something was put off in that round.
static PUT_OFF: AtomicBool = AtomicBool::new(false);

/// To be called once, before any space exists.
pub(super) fn init() {
    // SAFETY: Nobody uses it yet.
    unsafe {
        Spin::init(
            (&raw const DIRTY).cast_mut(),
            b::swapksm_lock_class_SWAPKSM_LOCK_DIRTY,
        );
    }
    WORK.init();
    HURRY.init();
    DONE.init();
}

/// Queues a chunk that `ChunkState::queue` said to. Under the chunk's lock; it stays until it is taken from here.
pub(super) fn queue(chunk: Live<Chunk>) {
    {
        let mut dirty = DIRTY.lock();
        // SAFETY: In no queue now.
        unsafe { *chunk.next_dirty.get() = dirty.chunks };
        dirty.chunks = chunk.as_ptr();
    }
    WORK.signal();
}

/// Has all sharers of a node looked at. Any context.
pub(super) fn doubt(node: Live<Node>) {
    {
        let mut dirty = DIRTY.lock();
        // SAFETY: Under the lock.
        unsafe {
            if core::mem::replace(&mut *node.is_doubted.get(), true) {
                return;
            }
            *node.next_doubted.get() = dirty.nodes;
        }
        node.get();
        // Before the reaper can take it from here, and count it as done.
        STATS.pending.inc();
        dirty.nodes = node.as_ptr();
    }
    WORK.signal();
}

/// Takes the next node in doubt from the queue, with the queue's reference.
fn next_doubted() -> Option<Live<Node>> {
    let mut dirty = DIRTY.lock();
    // SAFETY: Queued nodes have a reference; the links are under the lock.
    unsafe {
        let node = Live::from_raw(dirty.nodes)?;
        dirty.nodes = *node.next_doubted.get();
        *node.is_doubted.get() = false;
        Some(node)
    }
}

/// Marks all sharers of a node.
fn suspect_sharers(engine: &mut Engine, node: Live<Node>) {
    for sharer in node.sharers(engine) {
        suspect(sharer.chunk(), sharer.slot());
        thread::cond_resched();
    }
}

/// Queues a space that has just died. The list's reference keeps it.
pub(super) fn bury(space: Live<Space>) {
    {
        let mut dirty = DIRTY.lock();
        // SAFETY: In no queue now.
        unsafe { *space.dead_link() = dirty.spaces };
        dirty.spaces = space.as_ptr();
    }
    WORK.signal();
}

/// Marks a slot for the reaper to look at. Any context.
pub(super) fn suspect(chunk: Live<Chunk>, slot: usize) {
    let mut state = chunk.state.lock();
    if state.is_dead() {
        return;
    }
    STATS.pending.add(state.suspect(slot));
    if state.queue() {
        queue(chunk);
    }
}

/// Waits until what is pending now is done. `ERESTARTSYS` when a signal comes first. No lock held.
pub(super) fn sync() -> kernel::error::Result {
    settle(|seen| DONE.wait_user(seen))
}

/// Does everything that is pending; nothing is being added. In the caller's own context. May sleep.
pub(super) fn finish_all() {
    loop {
        let seen = DONE.read();
        round();
        if STATS.pending.get() == 0 {
            // Who waits in `settle` waits for a round of the reaper's, which may have gone to sleep when we took the rest.
            DONE.signal();
            return;
        }
        // The reaper's thread has taken the rest.
        HURRY.signal();
        DONE.wait_jiffy(seen);
    }
}

/// As `sync`, for a kernel thread of ours; returns early when it shall stop.
pub(super) fn sync_thread() {
    let _ = settle(|seen| {
        DONE.wait(seen, 0);
        if thread::should_stop() {
            return Err(kernel::error::code::EINTR);
        }
        Ok(())
    });
}

/// Not for an instant of silence, which a process can put off for as long as it likes: what is pending now has been
/// looked at when the round that may be running and one more are over. If something had to be put off then, for a lock
/// or an invalidation that goes on, some more rounds are waited for, at the reaper's own pace.
fn settle(wait: impl Fn(i32) -> kernel::error::Result) -> kernel::error::Result {
    let first = DONE.read();
    let since_ns = thread::now_ns();
    loop {
        let seen = DONE.read();
        let rounds = seen.wrapping_sub(first);
        let is_over =
            rounds >= 2 && (!PUT_OFF.load(Relaxed) || thread::now_ns() - since_ns >= PATIENCE_NS);
        if STATS.pending.get() == 0 || is_over {
            return Ok(());
        }
        if rounds < 2 {
            HURRY.signal();
        }
        wait(seen)?;
    }
}

/// How long who waits is patient with those who keep a lock, or an invalidation running.
const PATIENCE_NS: u64 = 1_000_000_000;
/// Microseconds that work may lie before it is done. To wake the reaper costs the task that is being told of an
/// invalidation more than all the rest, so it is done for many at once.
const REST_US: u64 = 10_000;

/// The reaper's thread.
pub(crate) fn main() {
    while !thread::should_stop() {
        let seen = WORK.read();
        let hurry = HURRY.read();
        let put_off = round();
        PUT_OFF.store(put_off, Relaxed);
        DONE.signal();
        if !put_off {
            WORK.wait(seen, 0);
        }
        HURRY.wait(hurry, REST_US);
    }
}

/// Does all that is queued. True: some of it could not be told yet and is queued again. May sleep.
pub(super) fn round() -> bool {
    while let Some(node) = next_doubted() {
        suspect_sharers(&mut hold(), node);
        node.put();
        STATS.pending.dec();
    }
    let (mut chunks, mut spaces) = {
        let mut dirty = DIRTY.lock();
        (
            core::mem::replace(&mut dirty.chunks, ptr::null_mut()),
            core::mem::replace(&mut dirty.spaces, ptr::null_mut()),
        )
    };
    let mut put_off = false;
    // SAFETY: A queued chunk is not freed, a dead space not before it is unlisted below. Links are read before the
    // chunk can be queued again.
    unsafe {
        while let Some(chunk) = Live::from_raw(chunks) {
            chunks = *chunk.next_dirty.get();
            put_off |= reap(&mut hold(), chunk);
            thread::cond_resched();
        }
        while let Some(space) = Live::from_raw(spaces) {
            spaces = *space.dead_link();
            if purge(&mut hold(), space) {
                STATS.pending.dec();
            } else {
                bury(space);
                put_off = true;
            }
            thread::cond_resched();
        }
    }
    put_off
}

/// Judges the suspects of a chunk that has left the queue. True: some are queued again.
fn reap(engine: &mut Engine, chunk: Live<Chunk>) -> bool {
    let suspects = chunk.state.lock().take_suspects();
    let space = chunk.space();
    // An invalidation counts itself before it marks, so the one that marked these is over, with what it changed, or is
    // seen here as running: then what still stands in the page table says nothing.
    let unsettled = space.look().covers(chunk.index);
    // The reads of page tables below need the mm; those of a dying one name nothing that lasts.
    space.get();
    let mut put_off = false;
    let mut gone = Slots::default();
    {
        // Who keeps his mmap lock shall not keep us: everybody waits for us.
        let lock = space.try_read_lock();
        each(&suspects, |slot| {
            match judge(chunk, slot, &lock, unsettled) {
                Judgement::Stays => {}
                Judgement::Ends => {
                    gone.put(slot, true);
                }
                Judgement::Later => {
                    suspect(chunk, slot);
                    put_off = true;
                }
            }
        });
    }
    // Without the mmap lock, whose owner shall not wait for what is freed here: nobody hangs an item in or out but us.
    each(&gone, |slot| {
        if !forget(engine, chunk, slot, Wait::No) {
            suspect(chunk, slot);
            put_off = true;
        }
    });
    each(&suspects, |_| STATS.pending.dec());
    chunk.try_free(engine);
    space.put();
    put_off
}

fn each(slots: &Slots, mut then: impl FnMut(usize)) {
    let mut at = 0;
    while let Some(slot) = slots.next(at) {
        then(slot);
        at = slot + 1;
    }
}

enum Judgement {
    Stays,
    Ends,
    /// It cannot be told yet.
    Later,
}

/// Decides what became of an item. The engine is held.
fn judge(chunk: Live<Chunk>, slot: usize, lock: &Reading, unsettled: bool) -> Judgement {
    let (state, live) = {
        let mut chunk = chunk.state.lock();
        (chunk.state(slot), chunk.is_live(slot))
    };
    match state {
        State::Free => Judgement::Stays,
        // Found again by the scanner in the meantime.
        State::Volatile | State::Unstable if live => Judgement::Stays,
        State::Volatile | State::Unstable => Judgement::Ends,
        State::Stable => match verdict(chunk, slot, lock) {
            Verdict::Member | Verdict::InSwap(_) if !unsettled => Judgement::Stays,
            Verdict::Gone => Judgement::Ends,
            Verdict::Member | Verdict::InSwap(_) | Verdict::Later => Judgement::Later,
        },
    }
}

enum Verdict {
    Member,
    /// A member by this swap entry.
    InSwap(u64),
    Gone,
    Later,
}

fn verdict(chunk: Live<Chunk>, slot: usize, lock: &Reading) -> Verdict {
    let lock = match lock {
        Reading::Possible(lock) => lock,
        Reading::Later => return Verdict::Later,
        Reading::Gone => return Verdict::Gone,
    };
    // The engine is held, so the sharer stays, and its node.
    let Some(sharer) = chunk.state.lock().sharer(slot) else {
        return Verdict::Gone;
    };
    let node = sharer.node();
    let verdict = membership(sharer, lock);
    let Verdict::InSwap(entry) = verdict else {
        return verdict;
    };
    // A fault that the swap-in hook has warned of may be about to change the entry. It has the lock of the folio in the
    // swap cache from before the warning until after the change. Not waited for: it may be reading the folio in, or
    // reclaiming, and everybody who needs the engine would wait with us.
    // SAFETY: Any context.
    if unsafe { b::swapksm_swapin_is_busy(entry as usize) } {
        return Verdict::Later;
    }
    let Some(folio) = node.folio() else {
        // Nothing tells whose page is at an entry while the node has none: a stranger's there counts as the node's until it
        // comes back, and turns out to be another by its content (`swapin::revive`).
        return membership(sharer, lock);
    };
    // The node remembers the entry until it gets another. Its page may have left the swap cache since, and a page of this
    // very process, who has forked, have come there. With the folio locked neither it nor the entry of a member moves.
    let Some(folio) = folio.try_lock_owned() else {
        return Verdict::Later;
    };
    match membership(sharer, lock) {
        // It has just moved.
        Verdict::InSwap(_) if folio.node() != node.as_ptr().cast() => Verdict::Later,
        // A broken one is taken out of the swap cache, and what it was is in swap all the same.
        Verdict::InSwap(entry) if !folio.is_at(entry) && !folio.is_poisoned() => Verdict::Gone,
        verdict => verdict,
    }
}

/// Does the page-table entry of a sharer still name its node's page?
fn membership(sharer: Live<Sharer>, lock: &MmapRead) -> Verdict {
    let node = sharer.node();
    // SAFETY: The mmap lock is held.
    let is_mapping = unsafe {
        b::swapksm_is_mapping(
            lock.mm(),
            sharer.address(),
            sharer.anon_vma(),
            sharer.index(),
        )
    };
    if !is_mapping {
        return Verdict::Gone;
    }
    let mut value = 0;
    // SAFETY: The mmap lock is held, and it is the mapping we know.
    let kind = unsafe { b::swapksm_pte_read(lock.mm(), sharer.address(), &mut value) };
    let value = value as u64;
    match kind {
        b::swapksm_pte_kind_SWAPKSM_PTE_PAGE if is_page_of(value, node) => Verdict::Member,
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP if node.state.lock().entry == value => {
            Verdict::InSwap(value)
        }
        // It will be what it was or something else; only then it can be told.
        b::swapksm_pte_kind_SWAPKSM_PTE_MIGRATION => Verdict::Later,
        _ => Verdict::Gone,
    }
}

/// Is the frame that was just read from a page table the page of `node`? The key alone decides: a frame number alone
/// could be that of a page long gone. A change after the reading comes with an invalidation that is running then, or begins
/// later (see `reap`).
fn is_page_of(pfn: u64, node: Live<Node>) -> bool {
    // SAFETY: The frame is valid and was mapped a moment ago; the key is compared, not followed.
    unsafe { b::swapksm_page_node(b::swapksm_pfn_page(pfn as usize)) == node.as_ptr().cast() }
}

/// Ends an item: out of the trees, out of its node, its slot free. False: it stays, as its node's page is locked (see
/// [`Wait`]). May sleep.
pub(super) fn forget(engine: &mut Engine, chunk: Live<Chunk>, slot: usize, wait: Wait) -> bool {
    let done = take_out(engine, chunk, slot, wait);
    if done {
        chunk.release(engine, slot);
    }
    done
}

/// Takes an item out of the tree or node it hangs in; it is Volatile then. False: it stays Stable, as its node's page is
/// locked by somebody else; nothing else fails. May sleep.
pub(super) fn unhang(engine: &mut Engine, chunk: Live<Chunk>, slot: usize) -> bool {
    take_out(engine, chunk, slot, Wait::No)
}

fn take_out(engine: &mut Engine, chunk: Live<Chunk>, slot: usize, wait: Wait) -> bool {
    let state = chunk.state.lock().state(slot);
    match state {
        State::Free | State::Volatile => true,
        State::Unstable => {
            // SAFETY: An Unstable item is in the unstable tree.
            unsafe { engine.unstable.erase(chunk.tree_link(slot)) };
            chunk.set_state(engine, slot, State::Volatile);
            STATS.pages_unshared.dec();
            true
        }
        State::Stable => Node::detach(engine, chunk, slot, wait),
    }
}

/// Ends all items of a space. False: some stay (see [`forget`]). May sleep.
pub(super) fn forget_all(engine: &mut Engine, space: Live<Space>, wait: Wait) -> bool {
    let (mut index, last) = (0, usize::MAX);
    let mut all = true;
    while let Some(chunk) = space.find(engine, &mut index, last) {
        for slot in 0..super::chunk::SLOTS {
            if chunk.state.lock().state(slot) != State::Free {
                all &= forget(engine, chunk, slot, wait);
            }
        }
        // If the queue has it, it is freed when it comes out.
        chunk.try_free(engine);
        thread::cond_resched();
        if index >= last {
            break;
        }
        index += 1;
    }
    all
}

/// Ends a dead space. False: not yet.
fn purge(engine: &mut Engine, space: Live<Space>) -> bool {
    let all = forget_all(engine, space, Wait::No);
    if all {
        space.unlist(engine);
    }
    all
}

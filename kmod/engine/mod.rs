// SPDX-License-Identifier: GPL-2.0

//! The engine: address spaces, items, nodes, and what is done with them.
//!
//! Two doors lead in. The scanner's: scan → item → trees → merge → node. The kernel's: notifier → item → reaper. They
//! meet in a chunk's lock, which is all that the kernel's side ever waits for. `locks` has the order of all locks.

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::atomic::Ordering::Relaxed,
};
use kernel::prelude::*;

#[cfg(swapksm_debug)]
mod check;
pub(crate) mod chunk;
pub(crate) mod entry;
mod hash;
pub(crate) mod locks;
mod merge;
mod nh;
pub(crate) mod node;
#[cfg(swapksm_debug)]
mod probe;
pub(crate) mod process;
pub(crate) mod reap;
pub(crate) mod rmap;
pub(crate) mod scan;
pub(crate) mod space;
pub(crate) mod swapin;
mod tree;
mod word;

#[cfg(swapksm_debug)]
pub(crate) use check::self_check;
pub(crate) use chunk::ITEM_SIZE;
#[cfg(swapksm_debug)]
pub(crate) use probe::{probe, EXITS};

use crate::{
    config::{CONFIG, RUN_MERGE, RUN_STOP, RUN_UNMERGE},
    stats::STATS,
    sys::{bindings as b, thread},
};
use locks::Live;
use node::{ByKey, Node, Wait};

/// What the engine's mutex protects, besides every `EngineCell`.
pub(crate) struct Engine {
    stable: tree::Tree<ByKey>,
    unstable: merge::Unstable,
    cursor: scan::Cursor,
    /// Where the last page table was read to.
    found: Option<scan::Found>,
    /// A private copy of the page that is being hashed.
    buffer: [u8; 4096],
    /// Hash of an empty page in the realm last asked for.
    empty_hash: Option<(hash::Realm, u64)>,
    /// `run` 2 is at work: other settings wait for it.
    unmerging: bool,
}

struct Cell(UnsafeCell<Engine>);

// SAFETY: Only reached through `hold`.
unsafe impl Sync for Cell {}

static ENGINE: Cell = Cell(UnsafeCell::new(Engine {
    stable: tree::Tree::new(),
    unstable: tree::Tree::new(),
    cursor: scan::Cursor::new(),
    found: None,
    buffer: [0; 4096],
    empty_hash: None,
    unmerging: false,
}));

/// The held engine.
pub(crate) struct Hold(());

/// Takes the engine. May sleep. No lock of the kernel's mm may be held.
pub(crate) fn hold() -> Hold {
    // SAFETY: Process context.
    unsafe { b::swapksm_engine_lock() };
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: Taken by `hold`.
        unsafe { b::swapksm_engine_unlock() };
    }
}

impl Deref for Hold {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        // SAFETY: The mutex is held.
        unsafe { &*ENGINE.0.get() }
    }
}

impl DerefMut for Hold {
    fn deref_mut(&mut self) -> &mut Engine {
        // SAFETY: The mutex is held, and this is its only guard.
        unsafe { &mut *ENGINE.0.get() }
    }
}

/// Prepares everything and starts the threads, which do nothing yet. To be called once. May sleep.
pub(crate) fn start() -> Result {
    space::init();
    node::entries::init()?;
    crate::sys::random::init();
    reap::init();
    scan::CHANGED.init();
    let sizes = [
        core::mem::size_of::<space::Space>(),
        core::mem::size_of::<chunk::Chunk>(),
        core::mem::size_of::<Node>(),
        core::mem::size_of::<node::Sharer>(),
    ];
    // SAFETY: As many sizes as there are kinds of objects, in their order.
    kernel::error::to_result(unsafe { b::swapksm_memory_init(sizes.as_ptr()) })
        .inspect_err(|_| node::entries::fini())?;
    let started = scan::Found::new()
        .ok_or(ENOMEM)
        .map(|found| hold().found = Some(found))
        .and_then(|()| thread::REAPER.start())
        .and_then(|()| thread::SCANNER.start());
    if started.is_err() {
        stop();
    }
    started
}

/// Stops the threads and frees everything. All address spaces have been ended. May sleep.
pub(crate) fn stop() {
    scan::CHANGED.signal();
    thread::SCANNER.stop();
    // The subscriptions' references go first, then what the reaper has still to do.
    // SAFETY: Process context, no lock held.
    unsafe { b::swapksm_space_unsubscribe_wait() };
    reap::WORK.signal();
    thread::REAPER.stop();
    reap::round();
    hold().found = None;
    node::entries::fini();
    // SAFETY: No object is left.
    unsafe { b::swapksm_memory_fini() };
}

/// Allows merging: every task runs our entry points now.
pub(crate) fn activate() {
    scan::set_active(&mut hold(), true);
}

/// Forbids merging and takes our nodes off every folio; pages still shared then stay merged for good, and are counted.
/// May sleep.
///
/// Against the swap-in hook, which does not take the engine: it looks at `is_active` under the node's lock, and every
/// node is dissolved, under its lock, after that is off; it finds no node then.
pub(crate) fn deactivate() {
    let mut engine = hold();
    scan::set_active(&mut engine, false);
    let mut nodeless = 0;
    loop {
        let link = engine.stable.first();
        let Some(node) =
            // SAFETY: Links in the tree are those of nodes.
            (unsafe { Live::from_raw(Node::of_link(link)) }).filter(|_| !link.is_null())
        else {
            break;
        };
        if node.dissolve(&mut engine) {
            nodeless += 1;
        }
        thread::cond_resched();
    }
    STATS.nodeless.add(nodeless);
    if nodeless > 0 {
        pr_warn!(
            "{} merged pages could not be unmerged; they stay shared until their users write to them or exit\n",
            nodeless
        );
    }
}

/// What of the merged memory is in swap.
#[derive(Clone, Copy, Default)]
pub(crate) struct InSwap {
    /// Merged pages that are in swap only.
    pub(crate) nodes: u64,
    /// Mappings of merged pages that are in swap, those of pages that others have in memory included.
    pub(crate) sharers: u64,
}

/// Counts what is in swap, node by node: reclaim does not tell when it drops a page. May sleep.
pub(crate) fn in_swap() -> InSwap {
    let mut sum = InSwap::default();
    let mut engine = hold();
    for_each_node(&mut engine, |node| {
        let (whole, sharers) = node.in_swap();
        sum.nodes += u64::from(whole);
        sum.sharers += u64::from(sharers);
        thread::cond_resched();
    });
    sum
}

/// Does `each` for every node.
fn for_each_node(engine: &mut Engine, mut each: impl FnMut(Live<Node>)) {
    let mut link = engine.stable.first();
    while !link.is_null() {
        // SAFETY: Links in the tree are those of nodes.
        let first = unsafe { Live::from_raw(Node::of_link(link)).unwrap_unchecked() };
        let mut node = first;
        loop {
            each(node);
            node = node.next_copy(engine);
            if node == first {
                break;
            }
        }
        // SAFETY: In the tree.
        link = unsafe { engine.stable.next(link) };
    }
}

/// Waits, with the engine, until no memory is going offline and no `run` 2 is at work. `ERESTARTSYS` when a signal comes first.
fn hold_settled() -> Result<Hold> {
    loop {
        let seen = scan::CHANGED.read();
        let engine = hold();
        if !scan::is_offlining() && !engine.unmerging {
            return Ok(engine);
        }
        drop(engine);
        scan::CHANGED.wait_user(seen)?;
    }
}

/// `run`: 0 stops, 1 merges, 2 stops and unmerges everything. `EINVAL` for other values; `ENOMEM`, or `EINTR` on a
/// signal, when unmerging could not be finished: `run` is 0 then. May sleep.
pub(crate) fn set_run(run: u32) -> Result {
    if run > RUN_UNMERGE {
        return Err(EINVAL);
    }
    {
        let mut engine = hold_settled()?;
        if CONFIG.run.swap(run, Relaxed) == run {
            return Ok(());
        }
        if run == RUN_UNMERGE {
            engine.unmerging = true;
            drop(engine);
            let result = unmerge();
            engine = hold();
            engine.unmerging = false;
            scan::CHANGED.signal();
            if result.is_err() {
                CONFIG.run.store(RUN_STOP, Relaxed);
                return result;
            }
            forget_everything(&mut engine);
        }
    }
    if run == RUN_MERGE {
        scan::CHANGED.signal();
    } else {
        // Numbers shown after the write are those of the result.
        // A signal only means an earlier look at them: the setting stands.
        let _ = reap::sync();
    }
    Ok(())
}

/// Gives every sharer a page of its own.
///
/// Without the engine: the mmap lock, and a page fault in a private mapping of a file, may be waited for as long as the
/// process likes. `run` is 2, so the scanner merges nothing meanwhile, and other settings wait. What else takes the engine
/// may come in between: the reaper and offline memory find what a process that writes to its pages leaves, too; hand-back
/// takes all nodes away, and waits for us when it takes the files of the directory away.
///
/// A child that is forked meanwhile may have pages that its parent shared still. It was entered then, and is in the next lot.
/// It ends with a lot that has nobody: a fork that began after all before it were unmerged has nothing that is merged.
fn unmerge() -> Result {
    // Every copy made here is memory that this task asked for: it goes first when there is none left.
    let _first_victim = thread::FirstVictim::new();
    space::for_each(&mut hold(), |engine, space| {
        space.unmerged.set(engine, false);
    });
    loop {
        let lot = take_merged()?;
        if lot.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        for space in lot {
            if result.is_ok() {
                result = unmerge_one(space);
            }
            space.put();
        }
        result?;
    }
}

fn unmerge_one(space: Live<space::Space>) -> Result {
    match space.read_lock_killable()? {
        // SAFETY: The mmap lock is held.
        Some(lock) => kernel::error::to_result(unsafe { b::swapksm_break_all(lock.mm()) }),
        None => Ok(()),
    }
}

/// Spaces that [`unmerge`] has not come to, with a reference each: all of them, or as many as there is memory to remember.
/// `ENOMEM` when there is none.
fn take_merged() -> Result<KVVec<Live<space::Space>>> {
    let mut lot = KVVec::new();
    let mut result = Ok(());
    space::for_each(&mut hold(), |engine, space| {
        if result.is_err() || space.unmerged.get(engine) {
            return;
        }
        result = lot.push(space, GFP_KERNEL).map_err(|_| ENOMEM);
        if result.is_ok() {
            space.get();
            space.unmerged.set(engine, true);
        }
    });
    if lot.is_empty() {
        result?;
    }
    Ok(lot)
}

/// Forgets all items and nodes. May sleep.
fn forget_everything(engine: &mut Engine) {
    scan::start_over(engine);
    space::for_each(engine, |engine, space| {
        space.scan_at.set(engine, 0);
        space.seen_mergeable.set(engine, false);
        reap::forget_all(engine, space, Wait::Yes);
    });
    // The reaper took sharers away while forks that nobody knows mapped their page still: it had to leave the nodes.
    scan::prune(engine, true, Wait::Yes);
    STATS.full_scans.set(0);
}

/// `merge_across_nodes`. `EBUSY` while pages are shared. May sleep.
pub(crate) fn set_merge_across_nodes(on: bool) -> Result {
    set_when_empty(
        || CONFIG.merge_across_nodes.store(u32::from(on), Relaxed),
        || (CONFIG.merge_across_nodes.load(Relaxed) != 0) == on,
    )
}

/// `max_page_sharing`, at least 2. `EBUSY` while pages are shared. May sleep.
pub(crate) fn set_max_page_sharing(count: u32) -> Result {
    set_when_empty(
        || CONFIG.max_page_sharing.store(count, Relaxed),
        || CONFIG.max_page_sharing.load(Relaxed) == count,
    )
}

fn set_when_empty(set: impl Fn(), is_set: impl Fn() -> bool) -> Result {
    let mut engine = hold_settled()?;
    if is_set() {
        return Ok(());
    }
    if STATS.pages_shared.get() != 0 {
        return Err(EBUSY);
    }
    scan::prune(&mut engine, true, Wait::Yes);
    if !engine.stable.first().is_null() {
        return Err(EBUSY);
    }
    set();
    Ok(())
}

/// Waits until no invalidation is left to be worked off. `ERESTARTSYS` when a signal comes first.
pub(crate) fn sync() -> Result {
    reap::sync()
}

/// Waits until nothing at all is pending. All spaces have ended, so nothing is added. May sleep.
pub(crate) fn finish_pending() {
    reap::finish_all();
}

/// A setting that the scanner may be sleeping over was changed.
pub(crate) fn settings_changed() {
    scan::CHANGED.signal();
}

/// Memory is about to go: the scanner rests. May sleep.
pub(crate) fn memory_going_offline() {
    scan::set_offlining(&mut hold(), true);
}

/// These frames are gone. May sleep.
pub(crate) fn memory_offline(start: u64, pages: u64) {
    scan::forget_frames(&mut hold(), start, pages);
}

/// It is over, or nobody will tell us. May sleep.
pub(crate) fn memory_settled() {
    scan::set_offlining(&mut hold(), false);
}

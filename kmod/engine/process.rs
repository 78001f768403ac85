// SPDX-License-Identifier: GPL-2.0

//! What is known of one process, for /proc/PID/ksm_stat.
//!
//! How many of its merged pages are in swap is counted when asked, from the page tables. To keep it counted would cost
//! more: when a page goes to swap or comes back, each of its sharers would have to be told, of whichever process, in the
//! middle of reclaim. And it would be less true: swapping in one mapping does not tell of the others, and reclaim does not
//! tell when it drops a page.
//!
//! The engine is not taken, as everybody may read the file of his own processes as often as he likes: it would keep
//! scanner and reaper waiting. A chunk is found and looked at under RCU; the mmap lock is held for one chunk at a time.

#![forbid(unsafe_code)]

use kernel::error::Result;

use super::{
    chunk::Slots,
    locks::{Live, Rcu},
    space::{self, Space},
    ITEM_SIZE,
};
use crate::{
    stats::SwapIns,
    sys::{proc::ProcessMm, thread},
};

/// What the kernel counts itself.
pub(crate) struct Counts {
    /// Pages watched.
    pub(crate) items: i64,
    /// Pages that are the kernel's zero page instead of one of their own.
    pub(crate) zero_pages: i64,
    /// Mappings of merged pages, those in swap included.
    pub(crate) merging: i64,
    /// Everything compatible is mergeable.
    pub(crate) merge_any: bool,
}

/// The numbers of a process.
pub(crate) struct Process {
    pub(crate) counts: Counts,
    /// Something is mergeable.
    pub(crate) mergeable: bool,
    /// Of the merged pages, those in swap.
    pub(crate) swapped: Swapped,
    /// How its swap-ins ended.
    pub(crate) swapins: SwapIns,
}

/// Mappings of merged pages that are in swap.
#[derive(Clone, Copy, Default)]
pub(crate) struct Swapped {
    /// All of them: those that their node's other sharers have in memory, too.
    pub(crate) sharers: u64,
    /// Of them, those whose page nobody has in memory.
    pub(crate) nodes: u64,
}

/// Bytes saved less bytes of our own.
pub(crate) fn profit(counts: &Counts) -> i64 {
    (counts.merging + counts.zero_pages) * 4096 - counts.items * ITEM_SIZE as i64
}

/// Everything about a process. `EINTR` when the caller has been killed. May sleep.
pub(crate) fn numbers(mm: &ProcessMm) -> Result<Process> {
    let space = space::lookup(mm.as_ptr());
    let numbers = of(mm, space);
    if let Some(space) = space {
        space.put();
    }
    numbers
}

/// The caller has a reference to the space, which is that of the mm.
fn of(mm: &ProcessMm, space: Option<Live<Space>>) -> Result<Process> {
    let counts = mm.counts();
    let mergeable = mm.read_lock()?.has_mergeable();
    let swapped = match space {
        Some(space) if counts.merging > 0 => swapped(mm, space)?,
        _ => Swapped::default(),
    };
    Ok(Process {
        counts,
        mergeable,
        swapped,
        swapins: space.map_or(const { SwapIns::new() }, |space| space.swapins.copy()),
    })
}

/// Work is proportional to the chunks there are, and other tasks get their turn after each.
fn swapped(mm: &ProcessMm, space: Live<Space>) -> Result<Swapped> {
    let mut sum = Swapped::default();
    let mut index = 0;
    while let Some(mut slots) = stable_slots(space, &mut index) {
        mm.read_lock()?.keep_swapped(index, slots.words());
        let mut from = 0;
        while let Some(slot) = slots.next(from) {
            sum.sharers += 1;
            sum.nodes += u64::from(nobody_has_it(space, index, slot));
            from = slot + 1;
        }
        index += 1;
        thread::cond_resched();
    }
    Ok(sum)
}

/// The Stable slots of the first chunk from `*index` on, with its index.
fn stable_slots(space: Live<Space>, index: &mut usize) -> Option<Slots> {
    let rcu = Rcu::lock();
    let chunk = space.next_rcu(&rcu, index)?;
    let slots = chunk.state.lock().stable();
    Some(slots)
}

/// Is the page of a Stable slot in swap for everybody?
fn nobody_has_it(space: Live<Space>, index: usize, slot: usize) -> bool {
    let node = {
        let rcu = Rcu::lock();
        let Some(chunk) = space.find_rcu(&rcu, index) else {
            return false;
        };
        let mut state = chunk.state.lock();
        // A node's lock is not taken under a chunk's: a reference takes it out of here.
        let Some(sharer) = state.sharer(slot) else {
            return false;
        };
        let node = sharer.node();
        node.get();
        node
    };
    let (whole, _) = node.in_swap();
    node.put();
    whole
}

// SPDX-License-Identifier: GPL-2.0

//! The self-check of debug builds: compares page tables with items, nodes and counters.
//!
//! Whatever is found different is looked at once more with the mark of running invalidations, since processes go on
//! meanwhile; what is still different then is an error.

use core::fmt::Write;
use kernel::prelude::*;

use super::{
    chunk::{Chunk, SLOTS},
    for_each_node, hold,
    locks::Live,
    reap,
    space::{self, MmapRead, Space},
    word::State,
    Engine,
};
use crate::{stats::STATS, sys::bindings as b};

#[derive(Default)]
struct Tally {
    items: i64,
    unstable: i64,
    stable: i64,
    differences: usize,
}

/// Writes a line for each difference, and says whether there was none. `EINTR` on a signal. May sleep.
pub(crate) fn self_check(out: &mut dyn Write) -> Result<bool> {
    reap::sync()?;
    let mut engine = hold();
    let mut tally = Tally::default();
    let pending = STATS.pending.get();
    space::for_each(&mut engine, |engine, space| {
        check_space(engine, space, &mut tally, out);
    });
    let (mut shared, mut sharers) = (0, 0);
    for_each_node(&mut engine, |node| {
        let state = node.state.lock();
        let listed = state.sharers().count() as i64;
        if listed != i64::from(state.count()) {
            let _ = writeln!(
                out,
                "node: {} sharers on the list, {} counted",
                listed,
                state.count()
            );
            tally.differences += 1;
        }
        shared += i64::from(listed > 0);
        sharers += listed;
    });
    // What still is to be done shows in no counter yet.
    if pending == 0 && STATS.pending.get() == 0 {
        for (name, counted, found) in [
            ("pages_shared", STATS.pages_shared.get(), shared),
            ("pages_sharing", STATS.pages_sharing.get(), sharers - shared),
            ("pages_unshared", STATS.pages_unshared.get(), tally.unstable),
            ("items", STATS.rmap_items.get(), tally.items),
            ("sharers of nodes", sharers, tally.stable),
        ] {
            if counted != found {
                let _ = writeln!(out, "{}: {} counted, {} found", name, counted, found);
                tally.differences += 1;
            }
        }
    }
    Ok(tally.differences == 0)
}

fn check_space(engine: &mut Engine, space: Live<Space>, tally: &mut Tally, out: &mut dyn Write) {
    let lock = space.read_lock_alone();
    let mut index = 0;
    while let Some(chunk) = space.find(engine, &mut index, usize::MAX >> 21) {
        for slot in 0..SLOTS {
            let (state, is_used) = {
                let mut chunk = chunk.state.lock();
                (chunk.state(slot), chunk.is_used(slot))
            };
            if is_used != (state != State::Free) {
                let _ = writeln!(out, "{state:?} item: its slot counts as used: {is_used}");
                tally.differences += 1;
            }
            if state == State::Free {
                continue;
            }
            tally.items += 1;
            tally.unstable += i64::from(state == State::Unstable);
            tally.stable += i64::from(state == State::Stable);
            if let Some(lock) = lock.as_ref() {
                if let Some(what) = differs(space, chunk, slot, lock) {
                    let _ = writeln!(out, "{:?} item: {}", state, what);
                    tally.differences += 1;
                }
            }
        }
        index += 1;
    }
}

/// What is wrong with an item, looked at twice.
fn differs(
    space: Live<Space>,
    chunk: Live<Chunk>,
    slot: usize,
    lock: &MmapRead,
) -> Option<&'static str> {
    for _ in 0..100 {
        let before = space.look();
        if !space.is_quiet() {
            // SAFETY: No spinlock is held.
            unsafe { b::swapksm_cond_resched() };
            continue;
        }
        let what = look(chunk, slot, lock)?;
        if space.is_quiet() && space.look() == before && look(chunk, slot, lock).is_some() {
            return Some(what);
        }
    }
    None
}

fn look(chunk: Live<Chunk>, slot: usize, lock: &MmapRead) -> Option<&'static str> {
    let (pfn, suspect, sharer) = {
        let mut state = chunk.state.lock();
        (state.pfn(slot), state.is_suspect(slot), state.sharer(slot))
    };
    // SAFETY: The mmap lock is held.
    if !unsafe { b::swapksm_has_anon(lock.mm(), chunk.address(slot)) } {
        // On its way out: munmap() zaps with the lock downgraded.
        return (!suspect && (pfn.is_some() || sharer.is_some())).then_some("outlived its mapping");
    }
    let mut value = 0;
    // SAFETY: The mmap lock is held, and there is an anonymous mapping.
    let kind = unsafe { b::swapksm_pte_read(lock.mm(), chunk.address(slot), &mut value) };
    let value = value as u64;
    let mapped = (kind == b::swapksm_pte_kind_SWAPKSM_PTE_PAGE).then_some(value);
    if pfn.is_some() && pfn != mapped {
        return Some("points to a page that is not mapped there");
    }
    let node = sharer?.node();
    if suspect {
        return None;
    }
    let is_member = match kind {
        b::swapksm_pte_kind_SWAPKSM_PTE_PAGE => node.folio().is_some_and(|f| f.pfn() == value),
        b::swapksm_pte_kind_SWAPKSM_PTE_SWAP => node.state.lock().entry == value,
        b::swapksm_pte_kind_SWAPKSM_PTE_MIGRATION => true,
        _ => false,
    };
    (!is_member).then_some("shares a page that is not mapped there")
}

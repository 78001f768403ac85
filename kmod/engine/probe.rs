// SPDX-License-Identifier: GPL-2.0

//! A look at single items, in debug builds: tests ask whether a page pointer is there, and whether it is true.
//!
//! # Pointers at exit
//!
//! When the exit hook comes, nothing has been unmapped yet, so every live pointer must name the page that its
//! page-table entry names. [`before_exit`] looks, [`after_exit`] sees whether any pointer was left.
//!
//! No lock keeps the page table from changing meanwhile, and none is needed:
//!
//! - Without users nobody faults or unmaps. The scanner may have the mmap lock since there were users, install pointers and
//!   merge, until the hook kills the space. Page-table pages above the lowest are freed by exit_mmap() only, which follows the
//!   hook in the same task; `swapksm_pte_read` copes with lowest ones that khugepaged, not yet sent away, takes out.
//! - The OOM killer's reaper, reclaim, migration and khugepaged may still take pages. Each tells us before: the pointer is
//!   cleared first, the entry changed after that. So an entry that differs proves nothing by itself, but a pointer that is
//!   still there *after* the entry was seen to differ is wrong, because nobody could have installed it anew.
//! - create_init_stack_vma() in mm/vma_exec.c exits an mm that has a user, its own caller, when making the stack failed. That
//!   caller holds the mmap lock for writing and has mapped no page: there is no item.

use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

use super::{
    chunk::{Chunk, SLOTS},
    locks::{Live, Rcu},
    space::{self, Space},
    word::State,
};
use crate::sys::bindings as b;

/// What is known of one address.
pub(crate) struct Probe {
    /// `None`: there is no item, not even a free one.
    state: Option<State>,
    /// The frame the pointer names, if it is live.
    pfn: Option<u64>,
    suspect: bool,
    /// For a sharer: has its node a page in memory?
    has_page: Option<bool>,
}

impl Probe {
    const NOTHING: Self = Self {
        state: None,
        pfn: None,
        suspect: false,
        has_page: None,
    };
}

/// As `key=value`, `-` where there is no value.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            None => "none",
            Some(State::Free) => "free",
            Some(State::Volatile) => "volatile",
            Some(State::Unstable) => "unstable",
            Some(State::Stable) => "stable",
        };
        write!(f, "state={state} live={}", u8::from(self.pfn.is_some()))?;
        match self.pfn {
            Some(pfn) => write!(f, " pfn={pfn}")?,
            None => write!(f, " pfn=-")?,
        }
        write!(f, " suspect={}", u8::from(self.suspect))?;
        match self.has_page {
            Some(has_page) => write!(f, " page={}", u8::from(has_page)),
            None => write!(f, " page=-"),
        }
    }
}

/// Looks at the item of an address. `ESRCH`: there is no process with this number, or it has no memory of its own. Does
/// not take the engine, so that it tells what is, not what will be when deferred work is done. May sleep.
pub(crate) fn probe(pid: i32, address: usize) -> Result<Probe> {
    // SAFETY: Process context.
    let mm = unsafe { b::swapksm_mm_of_pid(pid) };
    if mm.is_null() {
        return Err(ESRCH);
    }
    let probe = match space::lookup(mm) {
        Some(space) => {
            let probe = look(space, address);
            space.put();
            probe
        }
        None => Probe::NOTHING,
    };
    // SAFETY: The user from above.
    unsafe { b::swapksm_mm_put(mm) };
    Ok(probe)
}

fn look(space: Live<Space>, address: usize) -> Probe {
    let slot = (address >> 12) % SLOTS;
    let (mut probe, node) = {
        let rcu = Rcu::lock();
        let Some(chunk) = space.find_rcu(&rcu, address >> 21) else {
            return Probe::NOTHING;
        };
        let mut state = chunk.state.lock();
        if state.is_dead() {
            return Probe::NOTHING;
        }
        let probe = Probe {
            state: Some(state.state(slot)),
            pfn: state.pfn(slot),
            suspect: state.is_suspect(slot),
            has_page: None,
        };
        // A node's lock is not taken under a chunk's: a reference takes it out of here.
        let node = state.sharer(slot).map(|sharer| sharer.node());
        if let Some(node) = node {
            node.get();
        }
        (probe, node)
    };
    if let Some(node) = node {
        probe.has_page = Some(node.folio().is_some());
        node.put();
    }
    probe
}

/// What all exit hooks so far have found.
pub(crate) struct Exits {
    /// Pointers that were live when the hook came.
    live: AtomicU64,
    /// Of them, those that named another page than the page table did.
    wrong: AtomicU64,
    /// Pointers that were live when the hook was done.
    left: AtomicU64,
}

/// See [`Exits`].
pub(crate) static EXITS: Exits = Exits {
    live: AtomicU64::new(0),
    wrong: AtomicU64::new(0),
    left: AtomicU64::new(0),
};

impl fmt::Display for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit_pointers={} exit_pointers_wrong={} exit_pointers_left={}",
            self.live.load(Relaxed),
            self.wrong.load(Relaxed),
            self.left.load(Relaxed)
        )
    }
}

/// The exit hook has come and cleared nothing yet: counts the live pointers and those of them that are wrong. May sleep.
pub(super) fn before_exit(space: Live<Space>) {
    each_live(space, |chunk, slot, pfn| {
        EXITS.live.fetch_add(1, Relaxed);
        if !is_true(chunk, slot, pfn) {
            EXITS.wrong.fetch_add(1, Relaxed);
        }
    });
}

/// The exit hook is done: counts the pointers that are left. May sleep.
pub(super) fn after_exit(space: Live<Space>) {
    each_live(space, |_, _, _| {
        EXITS.left.fetch_add(1, Relaxed);
    });
}

/// Does `each` for every live pointer of a space, in an RCU section.
fn each_live(space: Live<Space>, mut each: impl FnMut(Live<Chunk>, usize, u64)) {
    let mut index = 0;
    loop {
        {
            let rcu = Rcu::lock();
            let Some(chunk) = space.next_rcu(&rcu, &mut index) else {
                return;
            };
            for slot in 0..SLOTS {
                let pfn = chunk.state.lock().pfn(slot);
                if let Some(pfn) = pfn {
                    each(chunk, slot, pfn);
                }
            }
        }
        index += 1;
        // SAFETY: No spinlock is held.
        unsafe { b::swapksm_cond_resched() };
    }
}

/// Does a pointer of an exiting mm name the page that the page table names?
fn is_true(chunk: Live<Chunk>, slot: usize, pfn: u64) -> bool {
    let mut value = 0;
    // SAFETY: Nobody unmaps: see the module's comment.
    let kind = unsafe { b::swapksm_pte_read(chunk.space().mm(), chunk.address(slot), &mut value) };
    if kind == b::swapksm_pte_kind_SWAPKSM_PTE_PAGE && value as u64 == pfn {
        return true;
    }
    // Somebody may have taken the page between our two looks, and told us before.
    chunk.state.lock().pfn(slot).is_none()
}

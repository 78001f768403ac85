// SPDX-License-Identifier: GPL-2.0

//! Who shares a merged page: one mapping of it, from the merge to the end of its membership, against everything that may
//! happen to its page-table entry meanwhile.
//!
//! The node is shared by others too, so that it stays. What a step stands for:
//!
//! | step | code |
//! | --- | --- |
//! | `Merge…` | `merge::merge_into`: folio lock, `Chunk::busy`, then `protect()` and `replace()` of `shims/merge.c`, each between its own start and end of an invalidation, `Node::attach` |
//! | `Write`, `Fault` | what a process does that no notifier tells of: a write to a page of its own, a fault on nothing |
//! | `Start`, `Change`, `End` | an invalidation by another task: `Space::invalidate_start`, the kernel's change, `Space::invalidate_end` |
//! | `Reclaim…`, `Migrate…` | `rmap::walk` by reclaim and by migration: folio lock, `entries::remember`, `Node::walk`, the walker's own invalidation, `names_folio()` in `shims/rmap.c` |
//! | `Restore` | remove_migration_ptes(): a walk without notifier |
//! | `Hook…` | `swapin::decide` with the folio locked, then what do_swap_page() maps |
//! | `ForkFault` | the same by a fork that finds the entry to be another's: `entries::forget_if`, `reap::doubt` |
//! | `Drop`, `FreeSlot` | reclaim frees the unmapped folio; the last user of the swap slot is gone |
//! | `Reap…` | `reap::reap`, `judge`, `verdict` (with `swapksm_swapin_is_busy()` and the lock of the page: what they put off is a wait here), `Node::part` |
//! | `Visit` | `Chunk::install` and what `scan::visit` does where nothing is to be merged |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// An invalidation marks every item, not only those with a pointer or a node.
    MarkAllUsed,
    /// Only the invalidations of the walking task itself raise no suspicion.
    WalkerIsAsked,
    /// The walk looks what it has left in the page table.
    WalkLooks,
    /// The walk remembers the entry before it unmaps.
    WalkRemembers,
    /// The swap-in hook marks the mapping that gets something else.
    HookSuspects,
    /// The reaper waits for a fault that may be about to change a swap entry, and reads again.
    Settle,
    /// The reaper asks the node's page, if it is in memory, whether it is at the entry at all.
    PageIsAsked,
    /// The reaper decides nothing while an invalidation runs.
    Unsettled,
    /// The reaper takes the mark before it reads.
    TakeBeforeRead,
    /// Who forgets an entry has all sharers looked at again.
    Doubt,
    /// A migration entry is looked at again later.
    MigrationIsLater,
    /// An invalidation alone ends no membership.
    InvalidationKeeps,
    /// A page is replaced only if its entry is what write protection has left.
    PteSame,
    /// Bytes are compared after write protection.
    CompareProtected,
    /// The sharer is on the list before the folio is unlocked.
    AttachLocked,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pte {
    None,
    /// A page of its own. Has the scanner forbidden writing? Has it the node's content?
    Own {
        protected: bool,
        same: bool,
    },
    Merged,
    /// The swap entry that the model has.
    Swap,
    Migration,
}

/// Whose content the swap slot has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Slot {
    Free,
    Node,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Item {
    Free,
    Volatile,
    Stable,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Who {
    Merger,
    Walker,
    Hook,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Merger {
    Idle,
    Begun,
    ProtectStarted,
    Protected(bool),
    /// Do the bytes agree?
    Compared(bool),
    ReplaceStarted,
    Replaced(bool),
    /// Is the page replaced? The folio may be unlocked already where the rule says that it may not.
    Ended(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Task {
    Idle,
    Started,
    Changed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Walk {
    Idle,
    /// The folio is locked; for migration?
    Begun(bool),
    Started(bool),
    Changed(bool),
    Ended(bool),
    Looked(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Hook {
    Idle,
    Locked,
    /// Is the merged page what will be mapped?
    Decided(bool),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Idle,
    Taken,
    Looked(bool),
    Read(bool, Verdict),
    Settled(bool),
    Verdict(bool, Verdict),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Verdict {
    Member,
    InSwap,
    Gone,
    Later,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    pte: Pte,
    item: Item,
    live: bool,
    suspect: bool,
    busy: bool,
    running: u8,
    /// `NodeState::entry` is the entry.
    entry: bool,
    slot: Slot,
    /// The node's page, or what was read in from the slot, is in the swap cache.
    cached: bool,
    /// The node has a page in memory.
    resident: bool,
    folio_lock: Option<Who>,
    walker: bool,
    merger: Merger,
    task: Task,
    walk: Walk,
    hook: Hook,
    reaper: Reaper,
    /// Invalidations that other tasks may still begin.
    left: u8,
    /// A page was replaced whose content was another.
    lost_write: bool,
    /// A walk found the entry without finding the sharer.
    missed: bool,
    seen: Seen,
}

/// What must have happened for the model to show anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Seen {
    merged_again: bool,
    unsettled: bool,
    settled_to_other: bool,
    reused: bool,
    walk_lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    MergeBegin,
    ProtectStart,
    Protect,
    ProtectEnd,
    ReplaceStart,
    Replace,
    ReplaceEnd,
    Unbusy,
    Attach,
    Write,
    Fault(bool),
    Start,
    ChangeCopy,
    ChangeZap,
    ChangeNothing,
    /// Reclaim takes the process's own page to the free slot.
    ChangeSwapOut,
    End,
    WalkBegin(bool),
    WalkStart,
    /// True: the entry is changed as wanted; false: the page is kept (reclaim and migration may fail).
    WalkChange(bool),
    /// A lazily freed page is dropped.
    WalkDiscard,
    WalkEnd,
    WalkLook,
    WalkUnlock,
    Drop,
    /// Have the others read their page back? They are gone otherwise.
    FreeSlot(bool),
    HookLock,
    HookDecide(bool),
    HookMap,
    HookUnlock,
    ForkFault,
    ReapTake,
    ReapLook,
    ReapRead,
    ReapSettle,
    ReapRead2,
    ReapAct,
    Visit,
}

struct Membership {
    without: Without,
    /// Invalidations of other tasks.
    rounds: u8,
}

impl Membership {
    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    /// `ChunkState::clear` by somebody else than the merger and the walker.
    fn clear_foreign(&self, s: &mut State) {
        let hit = if self.has(Without::MarkAllUsed) {
            s.item != Item::Free
        } else {
            s.live || s.item == Item::Stable
        };
        s.live = false;
        let is_walkers = s.walker && s.item == Item::Stable && !self.has(Without::WalkerIsAsked);
        s.suspect |= hit && !is_walkers;
    }

    fn clear_own(s: &mut State) {
        s.live = false;
    }

    fn engine_is_free(s: &State) -> bool {
        s.merger == Merger::Idle && s.reaper == Reaper::Idle
    }

    fn merge(&self, s: &mut State, step: Step) -> Option<()> {
        s.merger = match (step, s.merger) {
            (Step::MergeBegin, Merger::Idle) => {
                let can = Self::engine_is_free(s)
                    && s.item == Item::Volatile
                    && s.live
                    && s.resident
                    && s.folio_lock.is_none();
                can.then_some(())?;
                s.folio_lock = Some(Who::Merger);
                s.busy = true;
                Merger::Begun
            }
            (Step::ProtectStart, Merger::Begun) => {
                s.running += 1;
                Self::clear_own(s);
                Merger::ProtectStarted
            }
            (Step::Protect, Merger::ProtectStarted) => match s.pte {
                Pte::Own { same, .. } => {
                    s.pte = Pte::Own {
                        protected: true,
                        same,
                    };
                    Merger::Protected(same || !self.has(Without::CompareProtected))
                }
                _ => Merger::Protected(false),
            },
            (Step::ProtectEnd, Merger::Protected(go_on)) => {
                s.running -= 1;
                Merger::Compared(go_on)
            }
            (Step::ReplaceStart, Merger::Compared(true)) => {
                s.running += 1;
                Self::clear_own(s);
                Merger::ReplaceStarted
            }
            (Step::Replace, Merger::ReplaceStarted) => match s.pte {
                Pte::Own { protected, same } if protected || !self.has(Without::PteSame) => {
                    s.lost_write |= !same;
                    s.pte = Pte::Merged;
                    Merger::Replaced(true)
                }
                _ => Merger::Replaced(false),
            },
            (Step::ReplaceEnd, Merger::Replaced(done)) => {
                s.running -= 1;
                Merger::Compared(false).ended(done)
            }
            (Step::Unbusy, Merger::Compared(false)) => Merger::Ended(false),
            (Step::Unbusy, Merger::Ended(true)) if s.busy => {
                s.busy = false;
                if !self.has(Without::AttachLocked) {
                    s.folio_lock = None;
                }
                Merger::Ended(true)
            }
            (Step::Attach, Merger::Ended(done)) if !done || !s.busy => {
                if done {
                    s.item = Item::Stable;
                }
                s.busy = false;
                if s.folio_lock == Some(Who::Merger) {
                    s.folio_lock = None;
                }
                Merger::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn task(&self, s: &mut State, step: Step) -> Option<()> {
        s.task = match (step, s.task) {
            (Step::Start, Task::Idle) if s.left > 0 => {
                s.left -= 1;
                s.running += 1;
                self.clear_foreign(s);
                Task::Started
            }
            (Step::ChangeCopy, Task::Started) if s.pte == Pte::Merged => {
                s.pte = Pte::Own {
                    protected: false,
                    same: false,
                };
                Task::Changed
            }
            (Step::ChangeZap, Task::Started) if s.pte != Pte::None => {
                s.pte = Pte::None;
                Task::Changed
            }
            (Step::ChangeSwapOut, Task::Started)
                if matches!(s.pte, Pte::Own { .. }) && s.slot == Slot::Free =>
            {
                s.pte = Pte::Swap;
                s.slot = Slot::Other;
                s.seen.reused |= s.entry;
                Task::Changed
            }
            (Step::ChangeNothing, Task::Started) => Task::Changed,
            (Step::End, Task::Changed) => {
                s.running -= 1;
                Task::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn walk(&self, s: &mut State, step: Step) -> Option<()> {
        s.walk = match (step, s.walk) {
            (Step::WalkBegin(migrates), Walk::Idle) => {
                // Reclaim wants the slot; a page under migration stays out of the swap cache here.
                let can = s.resident
                    && s.folio_lock.is_none()
                    && s.pte == Pte::Merged
                    && (migrates || s.slot != Slot::Other);
                can.then_some(())?;
                s.folio_lock = Some(Who::Walker);
                if !migrates {
                    s.cached = true;
                    s.slot = Slot::Node;
                    s.entry |= self.has(Without::WalkRemembers);
                }
                s.missed |= s.item != Item::Stable;
                s.walker = true;
                Walk::Begun(migrates)
            }
            (Step::WalkStart, Walk::Begun(migrates)) if s.item == Item::Stable => {
                s.running += 1;
                Self::clear_own(s);
                Walk::Started(migrates)
            }
            (Step::WalkChange(wanted), Walk::Started(migrates)) => {
                if wanted && s.pte == Pte::Merged {
                    s.pte = if migrates { Pte::Migration } else { Pte::Swap };
                }
                Walk::Changed(migrates)
            }
            (Step::WalkDiscard, Walk::Started(false)) if s.pte == Pte::Merged => {
                s.pte = Pte::None;
                Walk::Changed(false)
            }
            (Step::WalkEnd, Walk::Changed(migrates)) => {
                s.running -= 1;
                Walk::Ended(migrates)
            }
            (Step::WalkLook, Walk::Ended(migrates)) => {
                let names = match s.pte {
                    Pte::Merged | Pte::Migration => true,
                    Pte::Swap => s.cached,
                    Pte::None | Pte::Own { .. } => false,
                };
                if !names && self.has(Without::WalkLooks) && s.item == Item::Stable {
                    s.suspect = true;
                    s.seen.walk_lost = true;
                }
                Walk::Looked(migrates)
            }
            (Step::WalkLook, Walk::Begun(migrates)) if s.item != Item::Stable => {
                Walk::Looked(migrates)
            }
            (Step::WalkUnlock, Walk::Looked(_)) => {
                // remove_migration_ptes() comes before the folio is unlocked.
                if s.pte == Pte::Migration {
                    s.pte = Pte::Merged;
                }
                s.walker = false;
                s.folio_lock = None;
                Walk::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn hook(&self, s: &mut State, step: Step) -> Option<()> {
        s.hook = match (step, s.hook) {
            (Step::HookLock, Hook::Idle) if s.pte == Pte::Swap && s.folio_lock.is_none() => {
                s.folio_lock = Some(Who::Hook);
                s.cached = true;
                Hook::Locked
            }
            // `mergeable`: is the VMA still?
            (Step::HookDecide(mergeable), Hook::Locked) => {
                let shares = s.slot == Slot::Node && s.entry && s.item == Item::Stable && mergeable;
                if s.slot == Slot::Other && s.entry {
                    self.forget(s);
                }
                if !shares && self.has(Without::HookSuspects) && s.item == Item::Stable {
                    s.suspect = true;
                }
                s.resident |= shares;
                Hook::Decided(shares)
            }
            (Step::HookMap, Hook::Decided(shares)) => {
                // The fault looks whether the entry is still there.
                if s.pte == Pte::Swap {
                    s.seen.merged_again |= shares;
                    s.pte = if shares {
                        Pte::Merged
                    } else {
                        Pte::Own {
                            protected: false,
                            same: true,
                        }
                    };
                }
                Hook::Done
            }
            (Step::HookUnlock, Hook::Done) => {
                s.folio_lock = None;
                Hook::Idle
            }
            _ => return None,
        };
        Some(())
    }

    /// `entries::forget_if` and `reap::doubt`.
    fn forget(&self, s: &mut State) {
        s.entry = false;
        s.suspect |= s.item == Item::Stable && self.has(Without::Doubt);
    }

    fn read(&self, s: &State) -> Verdict {
        if !self.has(Without::InvalidationKeeps) {
            return Verdict::Gone;
        }
        match s.pte {
            Pte::Merged => Verdict::Member,
            Pte::Swap if s.entry => Verdict::InSwap,
            Pte::Migration if self.has(Without::MigrationIsLater) => Verdict::Later,
            _ => Verdict::Gone,
        }
    }

    fn reap(&self, s: &mut State, step: Step) -> Option<()> {
        s.reaper = match (step, s.reaper) {
            (Step::ReapTake, Reaper::Idle) if s.suspect && Self::engine_is_free(s) => {
                s.suspect = !self.has(Without::TakeBeforeRead);
                Reaper::Taken
            }
            (Step::ReapLook, Reaper::Taken) => {
                Reaper::Looked(s.running > 0 && self.has(Without::Unsettled))
            }
            (Step::ReapRead, Reaper::Looked(unsettled)) => match s.item {
                Item::Stable => match self.read(s) {
                    Verdict::InSwap if self.has(Without::Settle) => {
                        Reaper::Read(unsettled, Verdict::InSwap)
                    }
                    verdict => Reaper::Verdict(unsettled, verdict),
                },
                Item::Volatile if !s.live => Reaper::Verdict(false, Verdict::Gone),
                _ => Reaper::Verdict(false, Verdict::Member),
            },
            (Step::ReapSettle, Reaper::Read(unsettled, _))
                if !s.cached || s.folio_lock.is_none() =>
            {
                Reaper::Settled(unsettled)
            }
            (Step::ReapRead2, Reaper::Settled(unsettled)) => {
                let mut verdict = self.read(s);
                if verdict == Verdict::InSwap && s.resident && self.has(Without::PageIsAsked) {
                    // With the page locked, or later.
                    s.folio_lock.is_none().then_some(())?;
                    if s.slot != Slot::Node {
                        verdict = Verdict::Gone;
                    }
                }
                s.seen.settled_to_other |= verdict == Verdict::Gone;
                Reaper::Verdict(unsettled, verdict)
            }
            (Step::ReapAct, Reaper::Verdict(unsettled, verdict)) => {
                if !self.has(Without::TakeBeforeRead) {
                    s.suspect = false;
                }
                match verdict {
                    Verdict::Gone => {
                        // `Node::part` takes the lock of the page, if there is one.
                        (s.item != Item::Stable || !s.resident || s.folio_lock.is_none())
                            .then_some(())?;
                        s.item = Item::Free;
                        s.live = false;
                    }
                    Verdict::Later => s.suspect = true,
                    Verdict::Member | Verdict::InSwap => {
                        s.suspect |= unsettled;
                        s.seen.unsettled |= unsettled;
                    }
                }
                Reaper::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn visit(s: &mut State) -> Option<()> {
        // `Chunk::install` refuses while one runs; the whole visit has the engine.
        (Self::engine_is_free(s) && s.running == 0).then_some(())?;
        match (s.pte, s.item) {
            (Pte::Own { .. }, _) => {
                (s.item != Item::Volatile || !s.live).then_some(())?;
                // A Stable item leaves its node under the lock of the page.
                (s.item != Item::Stable || !s.resident || s.folio_lock.is_none()).then_some(())?;
                s.item = Item::Volatile;
                s.live = true;
            }
            (Pte::Merged, Item::Stable) if !s.live => s.live = true,
            (Pte::Merged, Item::Free | Item::Volatile) if s.folio_lock.is_none() => {
                s.item = Item::Stable;
                s.live = true;
            }
            (Pte::None | Pte::Swap | Pte::Migration, Item::Volatile) => {
                s.item = Item::Free;
                s.live = false;
            }
            _ => return None,
        }
        Some(())
    }

    fn is_quiet(s: &State) -> bool {
        Self::engine_is_free(s)
            && s.task == Task::Idle
            && s.walk == Walk::Idle
            && s.hook == Hook::Idle
            && !s.suspect
    }
}

impl Merger {
    /// After `replace()` has ended.
    fn ended(self, done: bool) -> Self {
        if done {
            Self::Ended(true)
        } else {
            self
        }
    }
}

impl Protocol for Membership {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            pte: Pte::Own {
                protected: false,
                same: true,
            },
            item: Item::Free,
            live: false,
            suspect: false,
            busy: false,
            running: 0,
            entry: false,
            slot: Slot::Free,
            cached: false,
            resident: true,
            folio_lock: None,
            walker: false,
            merger: Merger::Idle,
            task: Task::Idle,
            walk: Walk::Idle,
            hook: Hook::Idle,
            reaper: Reaper::Idle,
            left: self.rounds,
            lost_write: false,
            missed: false,
            seen: Seen::default(),
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            Step::MergeBegin,
            Step::ProtectStart,
            Step::Protect,
            Step::ProtectEnd,
            Step::ReplaceStart,
            Step::Replace,
            Step::ReplaceEnd,
            Step::Unbusy,
            Step::Attach,
            Step::Write,
            Step::Fault(false),
            Step::Fault(true),
            Step::Start,
            Step::ChangeCopy,
            Step::ChangeZap,
            Step::ChangeNothing,
            Step::ChangeSwapOut,
            Step::End,
            Step::WalkBegin(false),
            Step::WalkBegin(true),
            Step::WalkStart,
            Step::WalkChange(false),
            Step::WalkChange(true),
            Step::WalkDiscard,
            Step::WalkEnd,
            Step::WalkLook,
            Step::WalkUnlock,
            Step::Drop,
            Step::FreeSlot(false),
            Step::FreeSlot(true),
            Step::HookLock,
            Step::HookDecide(false),
            Step::HookDecide(true),
            Step::HookMap,
            Step::HookUnlock,
            Step::ForkFault,
            Step::ReapTake,
            Step::ReapLook,
            Step::ReapRead,
            Step::ReapSettle,
            Step::ReapRead2,
            Step::ReapAct,
            Step::Visit,
        ]
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Write => match s.pte {
                Pte::Own { protected, same } if protected || same => {
                    s.pte = Pte::Own {
                        protected: false,
                        same: false,
                    };
                    Some(())
                }
                _ => None,
            },
            Step::Fault(same) if s.pte == Pte::None => {
                s.pte = Pte::Own {
                    protected: false,
                    same,
                };
                Some(())
            }
            Step::Drop if s.cached && s.folio_lock.is_none() && s.pte != Pte::Merged => {
                (s.resident || s.slot == Slot::Other).then_some(())?;
                s.cached = false;
                if s.slot == Slot::Node {
                    s.resident = false;
                }
                Some(())
            }
            Step::FreeSlot(read_back) if s.pte != Pte::Swap && s.folio_lock.is_none() => {
                (s.slot != Slot::Free).then_some(())?;
                s.slot = Slot::Free;
                s.cached = false;
                s.resident |= read_back;
                Some(())
            }
            Step::ForkFault if s.slot == Slot::Other && s.entry && s.folio_lock.is_none() => {
                self.forget(s);
                Some(())
            }
            Step::Visit => Self::visit(s),
            _ => self
                .merge(s, step)
                .or_else(|| self.task(s, step))
                .or_else(|| self.walk(s, step))
                .or_else(|| self.hook(s, step))
                .or_else(|| self.reap(s, step)),
        }
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(TRUE, |_, s: &State| {
                let is_member = match s.pte {
                    Pte::Merged => true,
                    // While the page is out nobody knows; content tells, if it is read in.
                    Pte::Swap => s.entry && (s.slot == Slot::Node || !s.resident),
                    _ => false,
                };
                !Self::is_quiet(s) || s.item != Item::Stable || is_member
            }),
            Property::always(KEPT, |_, s: &State| {
                !Self::is_quiet(s) || s.pte != Pte::Merged || s.item == Item::Stable
            }),
            Property::always(DATA, |_, s: &State| !s.lost_write),
            Property::always(FOUND, |_, s: &State| !s.missed),
            Property::sometimes("comes back merged", |_, s: &State| s.seen.merged_again),
            Property::sometimes("a verdict is put off", |_, s: &State| s.seen.unsettled),
            Property::sometimes("settling finds another page", |_, s: &State| {
                s.seen.settled_to_other
            }),
            Property::sometimes("an entry is reused", |_, s: &State| s.seen.reused),
            Property::sometimes("a walk loses a mapping", |_, s: &State| s.seen.walk_lost),
        ]
    }
}

const TRUE: &str = "when nothing is pending, a sharer's entry names its node's page";
const KEPT: &str = "when nothing is pending, who maps the node's page is a sharer";
const DATA: &str = "a page that was written is not replaced";
const FOUND: &str = "a walk that has the folio finds every sharer";

#[test]
fn sharers_are_true_and_none_is_lost() {
    let protocol = Membership {
        without: Without::Nothing,
        rounds: 2,
    };
    holds("membership", protocol);
}

#[test]
fn each_rule_of_membership_is_needed() {
    for (without, violated) in [
        (Without::MarkAllUsed, TRUE),
        (Without::WalkerIsAsked, TRUE),
        (Without::WalkLooks, TRUE),
        (Without::WalkRemembers, TRUE),
        (Without::HookSuspects, TRUE),
        (Without::Settle, TRUE),
        (Without::PageIsAsked, TRUE),
        (Without::Unsettled, TRUE),
        (Without::TakeBeforeRead, TRUE),
        (Without::Doubt, TRUE),
        (Without::MigrationIsLater, KEPT),
        (Without::InvalidationKeeps, KEPT),
        (Without::PteSame, DATA),
        (Without::CompareProtected, DATA),
        (Without::AttachLocked, FOUND),
    ] {
        let name = format!("membership without {without:?}");
        is_violated(&name, Membership { without, rounds: 2 }, violated);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Moving a sharer to another copy of its page: one mapping of A that the scanner gives B instead, against everything that
//! may happen meanwhile to the mapping, to both pages, and to a fork of the process that the scanner has not come by yet.
//!
//! B is shared by others and stays; so does A, or it ends when nobody is left. Both pages stay in memory or in the swap cache.
//! What a step stands for:
//!
//! | step | code |
//! | --- | --- |
//! | `Look` | `scan::visit`, `merge::visit_merged`: a sharer of A by its pointer; `larger_copy` finds B |
//! | `LockMmap`, `Ask` | `merge::gather`: `try_read_lock`, `has_only_sharers` (A's folio trylocked, asked, unlocked) |
//! | `LockB` | `merge::merge_locked`: `try_lock_owned` |
//! | `LockA`, `Protect`, `Replace`, `UnlockA` | `swapksm_merge_into()`: `lock_small()`, `protect()`, `replace()`, each between its own start and end of an invalidation. Of these nobody sees anything: `Chunk::busy` has them raise no suspicion, and who looks whether one runs has the engine, as we do |
//! | `Take`, `Attach`, `Release` | `Chunk::take_sharer`, `Node::attach`, and `drop((folio, lock))` |
//! | `Part` | `Node::part` and `Node::try_free` |
//! | `Start`, `Copy`, `Zap`, `Nothing`, `End` | an invalidation by another task: `Space::invalidate_start`, the kernel's change (`Copy`: a write), `Space::invalidate_end` |
//! | `Walk…` | `rmap::walk` of either page by reclaim or migration, with its own invalidation, `names_folio()`, and remove_migration_ptes() |
//! | `Hook`, `HookMap` | do_swap_page() with the folio locked: `swapin::decide`, and what it maps |
//! | `Reap…` | `reap::reap`, `verdict` (both reads, and `swapksm_swapin_is_busy()`, in one: see membership.rs), `Node::detach` |
//! | `Fork` | fork(), with the mmap lock for writing |
//! | `ChildVisit`, `ChildFault`, `ChildGoes`, `ChildReap` | `merge::visit_merged` of the fork's mapping, its swap-in (`swapin::is_fork`), its end, and that of its membership |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// B is locked until the sharer is on its list.
    LockedUntilAttached,
    /// The sharer leaves A's list under the lock of A's folio.
    PartLocked,
    /// The sharer leaves A's list when the mapping has B.
    ListedUntilReplaced,
    /// Only from a page that nobody but sharers maps.
    OnlySharers,
    /// Only from a page that is nobody's in swap.
    NotInSwap,
    /// That is asked with the mmap lock held.
    AskedUnderMmap,
    /// A page is replaced only if its entry is the one that was looked at.
    PteSame,
    /// An invalidation marks every item, also the one that is on its way.
    MarkAllUsed,
}

/// A merged page with its node, one of two.
type Node = usize;
const A: Node = 0;
const B: Node = 1;
const NODES: [Node; 2] = [A, B];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pte {
    None,
    /// A page of its own, which was written.
    Own,
    Merged(Node),
    Swap(Node),
    Migration(Node),
}

impl Pte {
    fn names(self) -> Option<Node> {
        match self {
            Self::None | Self::Own => None,
            Self::Merged(node) | Self::Swap(node) | Self::Migration(node) => Some(node),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Item {
    Free,
    Volatile,
    Stable(Node),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Who {
    Move,
    Walker,
    Hook,
}

/// Where the move is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Move {
    Idle,
    Looked,
    /// Where the rule says that the mmap lock comes first.
    AskedEarly,
    MmapLocked,
    Refused,
    Asked,
    LockedB,
    LockedBoth,
    /// Go on?
    Protected(bool),
    /// Is it done?
    Replaced(bool),
    UnlockedA(bool),
    Taken,
    Attached,
    Parting,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Task {
    Idle,
    Started,
    Changed,
}

/// What a walk knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Walker {
    migrates: bool,
    /// Its invalidation has hit a sharer of its own node (`Node::announce_moved`).
    moved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Walk {
    Idle,
    Begun(Walker),
    Started(Walker),
    Changed(Walker),
    Ended(Walker),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Idle,
    Taken,
    /// Was an invalidation running?
    Looked(bool),
    Read(bool, Verdict),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Verdict {
    Member,
    Gone,
    Later,
}

/// The fork's mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Child {
    pte: Pte,
    /// Has the scanner made it a sharer?
    known: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    pte: Pte,
    item: Item,
    /// On whose lists of sharers is the mapping?
    listed: [bool; 2],
    suspect: bool,
    /// Invalidations that run, but for those of the move.
    running: u8,
    folio_lock: [Option<Who>; 2],
    mover: Move,
    task: Task,
    walks: [Walk; 2],
    /// Of this node, and is its page what will be mapped?
    hook: Option<(Node, bool)>,
    reaper: Reaper,
    child: Child,
    /// A fork that was a sharer of A is gone, and not reaped yet.
    stale: bool,
    /// A's node is freed.
    ended: bool,
    /// Invalidations that other tasks may still begin.
    left: u8,
    /// A page was replaced that had been written.
    lost_write: bool,
    /// A walk did not find the mapping.
    missed: bool,
    /// A walk was at the sharer when it was freed.
    used_freed: bool,
    /// A fork that nobody knows was left behind.
    orphaned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Look,
    LockMmap,
    Ask,
    LockB,
    LockA,
    Protect,
    Replace,
    UnlockA,
    Take,
    Attach,
    Release,
    Part,
    Start,
    Copy,
    Zap,
    Nothing,
    End,
    /// For migration?
    WalkBegin(Node, bool),
    WalkStart(Node),
    /// Is the entry changed as wanted?
    WalkChange(Node, bool),
    WalkEnd(Node),
    /// Does it unmap the fork's page, too?
    WalkLook(Node, bool),
    /// Is the VMA mergeable?
    Hook(bool),
    HookMap,
    ReapTake,
    ReapLook,
    ReapRead,
    ReapAct,
    Fork,
    ChildVisit,
    ChildFault,
    ChildGoes,
    ChildReap,
}

#[derive(Clone, Copy)]
struct Gather {
    without: Without,
    /// Have others, that stay, A too?
    shared: bool,
    /// May the process fork while a sharer of A is gone and not reaped yet? See the last test.
    forks_unreaped: bool,
}

impl Gather {
    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    fn engine_is_free(s: &State) -> bool {
        s.mover == Move::Idle && s.reaper == Reaper::Idle
    }

    fn mmap_is_locked(s: &State) -> bool {
        !matches!(
            s.mover,
            Move::Idle | Move::Looked | Move::AskedEarly | Move::Parting
        )
    }

    /// `ChunkState::clear`. `walked`: the node whose walk it is that invalidates. True: it is the walk of the sharer's node.
    fn clear(&self, s: &mut State, walked: Option<Node>) -> bool {
        match s.item {
            Item::Stable(node) if walked == Some(node) => return true,
            Item::Free => {}
            Item::Volatile => s.suspect |= self.has(Without::MarkAllUsed),
            Item::Stable(_) => s.suspect = true,
        }
        false
    }

    /// Does a sharer of the node lead to the fork's mapping?
    fn finds_child(s: &State, node: Node) -> bool {
        s.child.known || s.listed[node]
    }

    /// `merge::has_only_sharers`. Those who share A and stay are on both sides.
    fn has_only_sharers(&self, s: &State) -> bool {
        let count = |all: &[bool]| all.iter().filter(|yes| **yes).count();
        let child_is_known = s.child.pte.names() == Some(A) && s.child.known;
        let mapped = count(&[s.pte == Pte::Merged(A), s.child.pte == Pte::Merged(A)]);
        let sharers = count(&[s.listed[A], child_is_known, s.stale]);
        let in_swap = [s.pte, s.child.pte].contains(&Pte::Swap(A));
        (mapped <= sharers || !self.has(Without::OnlySharers))
            && (!in_swap || !self.has(Without::NotInSwap))
    }

    /// `Node::try_free` of A.
    fn try_free(&self, s: &mut State) {
        let child_keeps = match s.child.pte.names() {
            Some(A) => s.child.known || s.child.pte == Pte::Merged(A),
            _ => false,
        };
        s.ended |= !self.shared && !s.listed[A] && !s.stale && !child_keeps;
    }

    fn gather(&self, s: &mut State, step: Step) -> Option<()> {
        s.mover = match (step, s.mover) {
            (Step::Look, Move::Idle) => {
                let is_sharer = s.item == Item::Stable(A) && s.pte == Pte::Merged(A);
                (Self::engine_is_free(s) && is_sharer).then_some(())?;
                Move::Looked
            }
            (Step::LockMmap, Move::Looked) if self.has(Without::AskedUnderMmap) => Move::MmapLocked,
            (Step::LockMmap, Move::AskedEarly) => Move::Asked,
            (Step::Ask, Move::Looked)
                if !self.has(Without::AskedUnderMmap) && s.folio_lock[A].is_none() =>
            {
                self.has_only_sharers(s).then_some(Move::AskedEarly)?
            }
            (Step::Ask, Move::MmapLocked) if s.folio_lock[A].is_none() => {
                if self.has_only_sharers(s) {
                    s.listed[A] &= self.has(Without::ListedUntilReplaced);
                    Move::Asked
                } else {
                    Move::Refused
                }
            }
            (Step::LockB, Move::Asked) if s.folio_lock[B].is_none() => {
                s.folio_lock[B] = Some(Who::Move);
                Move::LockedB
            }
            (Step::LockA, Move::LockedB) => match s.folio_lock[A] {
                None => {
                    s.folio_lock[A] = Some(Who::Move);
                    Move::LockedBoth
                }
                Some(_) => Move::UnlockedA(false),
            },
            (Step::Protect, Move::LockedBoth) => Move::Protected(s.pte == Pte::Merged(A)),
            (Step::Replace, Move::Protected(true)) => match s.pte {
                Pte::Own if !self.has(Without::PteSame) => {
                    s.lost_write = true;
                    Move::Replaced(true)
                }
                Pte::Merged(A) => {
                    s.pte = Pte::Merged(B);
                    Move::Replaced(true)
                }
                _ => Move::Replaced(false),
            },
            (Step::UnlockA, Move::Replaced(done)) => Self::unlock_a(s, done),
            (Step::UnlockA, Move::Protected(false)) => Self::unlock_a(s, false),
            (Step::Take, Move::UnlockedA(true)) => {
                if !self.has(Without::LockedUntilAttached) {
                    s.folio_lock[B] = None;
                }
                s.item = Item::Volatile;
                Move::Taken
            }
            (Step::Attach, Move::Taken) => {
                s.item = Item::Stable(B);
                s.listed[B] = true;
                Move::Attached
            }
            (Step::Release, Move::Refused) => Move::Idle,
            (Step::Release, Move::UnlockedA(false) | Move::Attached) => {
                if s.folio_lock[B] == Some(Who::Move) {
                    s.folio_lock[B] = None;
                }
                match s.mover {
                    Move::Attached => Move::Parting,
                    _ => Move::Idle,
                }
            }
            (Step::Part, Move::Parting) => {
                (s.folio_lock[A].is_none() || !self.has(Without::PartLocked)).then_some(())?;
                s.used_freed |= s.walks[A] != Walk::Idle;
                s.orphaned |= s.child.pte.names() == Some(A) && !s.child.known;
                s.listed[A] = false;
                self.try_free(s);
                Move::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn unlock_a(s: &mut State, done: bool) -> Move {
        s.folio_lock[A] = None;
        Move::UnlockedA(done)
    }

    fn task(&self, s: &mut State, step: Step) -> Option<()> {
        s.task = match (step, s.task) {
            (Step::Start, Task::Idle) if s.left > 0 => {
                s.left -= 1;
                s.running += 1;
                self.clear(s, None);
                Task::Started
            }
            (Step::Copy, Task::Started) if matches!(s.pte, Pte::Merged(_)) => {
                s.pte = Pte::Own;
                Task::Changed
            }
            (Step::Zap, Task::Started) if s.pte != Pte::None => {
                s.pte = Pte::None;
                Task::Changed
            }
            (Step::Nothing, Task::Started) => Task::Changed,
            (Step::End, Task::Changed) => {
                s.running -= 1;
                Task::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn walk(&self, s: &mut State, node: Node, step: Step) -> Option<()> {
        s.walks[node] = match (step, s.walks[node]) {
            (Step::WalkBegin(_, migrates), Walk::Idle) => {
                let has_ended = s.ended && node == A;
                // Walks of two pages have only what they do to the mapping in common.
                let is_only = s.walks == [Walk::Idle; 2];
                (s.folio_lock[node].is_none() && is_only && !has_ended).then_some(())?;
                s.folio_lock[node] = Some(Who::Walker);
                s.missed |= s.pte == Pte::Merged(node) && !s.listed[node];
                Walk::Begun(Walker {
                    migrates,
                    moved: false,
                })
            }
            (Step::WalkStart(_), Walk::Begun(walker)) if s.listed[node] => {
                s.running += 1;
                let moved = self.clear(s, Some(node));
                Walk::Started(Walker { moved, ..walker })
            }
            (Step::WalkChange(_, wanted), Walk::Started(walker)) => {
                if wanted && s.pte == Pte::Merged(node) {
                    s.pte = match walker.migrates {
                        true => Pte::Migration(node),
                        false => Pte::Swap(node),
                    };
                }
                Walk::Changed(walker)
            }
            (Step::WalkEnd(_), Walk::Changed(walker)) => {
                s.running -= 1;
                Walk::Ended(walker)
            }
            (Step::WalkLook(_, with_child), Walk::Ended(walker) | Walk::Begun(walker)) => {
                let is_over = matches!(s.walks[node], Walk::Ended(_)) || !s.listed[node];
                is_over.then_some(())?;
                let lost = walker.moved && s.pte.names() != Some(node);
                s.suspect |= lost && s.item != Item::Free;
                if with_child {
                    let finds = s.child.pte == Pte::Merged(node) && Self::finds_child(s, node);
                    (finds && !walker.migrates).then_some(())?;
                    s.child.pte = Pte::Swap(node);
                }
                if s.pte == Pte::Migration(node) {
                    s.missed |= !s.listed[node];
                    s.pte = Pte::Merged(node);
                }
                s.folio_lock[node] = None;
                Walk::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn hook(s: &mut State, step: Step) -> Option<()> {
        s.hook = match (step, s.hook, s.pte) {
            (Step::Hook(mergeable), None, Pte::Swap(node)) if s.folio_lock[node].is_none() => {
                s.folio_lock[node] = Some(Who::Hook);
                let shares = mergeable && s.item == Item::Stable(node);
                s.suspect |= !shares && s.item != Item::Free;
                Some((node, shares))
            }
            (Step::HookMap, Some((node, shares)), pte) => {
                // The fault looks whether the entry is still there.
                if pte == Pte::Swap(node) {
                    s.pte = if shares { Pte::Merged(node) } else { Pte::Own };
                }
                s.folio_lock[node] = None;
                None
            }
            _ => return None,
        };
        Some(())
    }

    fn reap(&self, s: &mut State, step: Step) -> Option<()> {
        s.reaper = match (step, s.reaper) {
            (Step::ReapTake, Reaper::Idle) if s.suspect && Self::engine_is_free(s) => {
                s.suspect = false;
                Reaper::Taken
            }
            (Step::ReapLook, Reaper::Taken) => Reaper::Looked(s.running > 0),
            (Step::ReapRead, Reaper::Looked(unsettled)) => {
                let verdict = match (s.item, s.pte) {
                    (Item::Stable(_), Pte::Migration(_)) => Verdict::Later,
                    (Item::Stable(node), Pte::Swap(entry)) if node == entry => {
                        match s.folio_lock[node] {
                            Some(_) => Verdict::Later,
                            None => Verdict::Member,
                        }
                    }
                    (Item::Stable(node), Pte::Merged(page)) if node == page => Verdict::Member,
                    _ => Verdict::Gone,
                };
                Reaper::Read(unsettled, verdict)
            }
            (Step::ReapAct, Reaper::Read(unsettled, verdict)) => {
                match (verdict, s.item) {
                    (Verdict::Gone, Item::Stable(node)) => {
                        s.folio_lock[node].is_none().then_some(())?;
                        s.item = Item::Free;
                        s.listed[node] = false;
                        self.try_free(s);
                    }
                    (Verdict::Gone, _) => {}
                    (Verdict::Member, _) => s.suspect |= unsettled,
                    (Verdict::Later, _) => s.suspect = true,
                }
                Reaper::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn child(&self, s: &mut State, step: Step) -> Option<()> {
        let none = Child {
            pte: Pte::None,
            known: false,
        };
        match (step, s.child.pte) {
            (Step::Fork, Pte::None) => {
                // Faults, and the invalidations of most others, have the mmap lock for reading or the VMA's.
                let can = !Self::mmap_is_locked(s) && s.task == Task::Idle && s.hook.is_none();
                (can && (!s.stale || self.forks_unreaped)).then_some(())?;
                s.child.pte = match s.pte {
                    Pte::None | Pte::Own => return None,
                    // When the migration is over.
                    Pte::Migration(node) => Pte::Merged(node),
                    pte => pte,
                };
            }
            (Step::ChildVisit, Pte::Merged(node)) if !s.child.known => {
                (Self::engine_is_free(s) && s.folio_lock[node].is_none()).then_some(())?;
                s.child.known = true;
            }
            (Step::ChildFault, Pte::Swap(node)) if s.folio_lock[node].is_none() => {
                if Self::finds_child(s, node) {
                    s.child.pte = Pte::Merged(node);
                } else {
                    s.child = none;
                }
            }
            (Step::ChildGoes, Pte::Merged(node) | Pte::Swap(node)) => {
                (!s.stale).then_some(())?;
                s.stale = s.child.known && node == A;
                s.child = none;
            }
            (Step::ChildReap, _) if s.stale => {
                (Self::engine_is_free(s) && s.folio_lock[A].is_none()).then_some(())?;
                s.stale = false;
                self.try_free(s);
            }
            _ => return None,
        }
        Some(())
    }

    fn is_quiet(s: &State) -> bool {
        Self::engine_is_free(s)
            && s.task == Task::Idle
            && s.walks == [Walk::Idle; 2]
            && s.hook.is_none()
            && !s.suspect
    }
}

impl Protocol for Gather {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            pte: Pte::Merged(A),
            item: Item::Stable(A),
            listed: [true, false],
            suspect: false,
            running: 0,
            folio_lock: [None; 2],
            mover: Move::Idle,
            task: Task::Idle,
            walks: [Walk::Idle; 2],
            hook: None,
            reaper: Reaper::Idle,
            child: Child {
                pte: Pte::None,
                known: false,
            },
            stale: false,
            ended: false,
            left: 1,
            lost_write: false,
            missed: false,
            used_freed: false,
            orphaned: false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Look,
            Step::LockMmap,
            Step::Ask,
            Step::LockB,
            Step::LockA,
            Step::Protect,
            Step::Replace,
            Step::UnlockA,
            Step::Take,
            Step::Attach,
            Step::Release,
            Step::Part,
            Step::Start,
            Step::Copy,
            Step::Zap,
            Step::Nothing,
            Step::End,
            Step::Hook(false),
            Step::Hook(true),
            Step::HookMap,
            Step::ReapTake,
            Step::ReapLook,
            Step::ReapRead,
            Step::ReapAct,
            Step::Fork,
            Step::ChildVisit,
            Step::ChildFault,
            Step::ChildGoes,
            Step::ChildReap,
        ];
        for node in NODES {
            for yes in [false, true] {
                steps.push(Step::WalkBegin(node, yes));
                steps.push(Step::WalkChange(node, yes));
                steps.push(Step::WalkLook(node, yes));
            }
            steps.push(Step::WalkStart(node));
            steps.push(Step::WalkEnd(node));
        }
        steps
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::WalkBegin(node, _)
            | Step::WalkStart(node)
            | Step::WalkChange(node, _)
            | Step::WalkEnd(node)
            | Step::WalkLook(node, _) => self.walk(s, node, step),
            _ => self
                .gather(s, step)
                .or_else(|| self.task(s, step))
                .or_else(|| Self::hook(s, step))
                .or_else(|| self.reap(s, step))
                .or_else(|| self.child(s, step)),
        }
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(TRUE, |_, s: &State| match s.item {
                Item::Stable(node) => !Self::is_quiet(s) || s.pte.names() == Some(node),
                _ => true,
            }),
            Property::always(KEPT, |_, s: &State| match s.pte.names() {
                Some(node) => !Self::is_quiet(s) || s.item == Item::Stable(node),
                None => true,
            }),
            Property::always(LISTED, |_, s: &State| {
                let is_sharer = |node| s.item == Item::Stable(node);
                s.mover != Move::Idle || NODES.into_iter().all(|n| s.listed[n] == is_sharer(n))
            }),
            Property::always(FOUND, |_, s: &State| !s.missed),
            Property::always(FREED, |_, s: &State| !s.used_freed),
            Property::always(FORKS, |_, s: &State| !s.orphaned),
            Property::always(DATA, |_, s: &State| !s.lost_write),
            Property::always(ENDED, |_, s: &State| {
                !s.ended || (s.pte.names() != Some(A) && s.child.pte != Pte::Merged(A))
            }),
            Property::sometimes("a sharer moves", |_, s: &State| {
                Self::is_quiet(s) && s.item == Item::Stable(B)
            }),
            Property::sometimes("a walk of A meets who has moved", |_, s: &State| {
                matches!(s.walks[A], Walk::Started(_)) && s.item == Item::Stable(B)
            }),
            Property::sometimes("the reaper finds who has moved a member", |_, s: &State| {
                matches!(s.reaper, Reaper::Read(false, Verdict::Member))
                    && s.item == Item::Stable(B)
            }),
            Property::sometimes("the move waits for a walk of A", |_, s: &State| {
                s.mover == Move::Parting && s.folio_lock[A] == Some(Who::Walker)
            }),
            Property::sometimes("a write comes first", |_, s: &State| {
                s.mover == Move::Replaced(false) && s.pte == Pte::Own
            }),
            Property::sometimes(
                "an invalidation meets an item on its way",
                |_, s: &State| s.mover == Move::Taken && s.task == Task::Started,
            ),
            Property::sometimes("A's page is in swap before it is locked", |_, s: &State| {
                s.mover == Move::LockedBoth && s.pte == Pte::Swap(A)
            }),
            Property::sometimes("who has moved comes back from swap", |_, s: &State| {
                s.hook == Some((B, true))
            }),
            Property::sometimes("a fork keeps the sharer", |_, s: &State| {
                s.mover == Move::Refused && s.child.pte == Pte::Merged(A) && !s.child.known
            }),
            Property::sometimes("a fork in swap keeps the sharer", |_, s: &State| {
                s.mover == Move::Refused && s.child.pte == Pte::Swap(A)
            }),
            Property::sometimes("a fork that is known stays behind", |_, s: &State| {
                s.mover == Move::Idle && s.item == Item::Stable(B) && s.child.pte.names() == Some(A)
            }),
            Property::sometimes("who has moved forks", |_, s: &State| {
                s.mover == Move::Parting && s.child.pte == Pte::Merged(B)
            }),
            Property::sometimes("A ends by it", |m: &Checked<Self>, s: &State| {
                m.0.shared || (s.ended && s.item == Item::Stable(B))
            }),
        ]
    }
}

const TRUE: &str = "when nothing is pending, a sharer's entry names its node's page";
const KEPT: &str = "when nothing is pending, who has a node's page is its sharer";
const LISTED: &str =
    "but for the move, a mapping is on the list of its item's node, and on no other";
const FOUND: &str = "a walk that has the folio finds the mapping";
const FREED: &str = "no sharer is freed under a walk";
const FORKS: &str = "no sharer moves away from a fork that is found through it";
const DATA: &str = "a page that was written is not replaced";
const ENDED: &str = "nobody has the page of a node that was freed";

/// As the code is.
const GATHER: Gather = Gather {
    without: Without::Nothing,
    shared: true,
    forks_unreaped: false,
};

#[test]
fn sharers_move_and_none_is_lost() {
    holds("gather, A stays", GATHER);
    holds(
        "gather, A may end",
        Gather {
            shared: false,
            ..GATHER
        },
    );
}

#[test]
fn each_rule_of_gathering_is_needed() {
    for (without, violated) in [
        (Without::LockedUntilAttached, FOUND),
        (Without::PartLocked, FREED),
        (Without::ListedUntilReplaced, FOUND),
        (Without::OnlySharers, FORKS),
        (Without::NotInSwap, FORKS),
        (Without::AskedUnderMmap, FORKS),
        (Without::PteSame, DATA),
        (Without::MarkAllUsed, TRUE),
    ] {
        let name = format!("gather without {without:?}");
        is_violated(&name, Gather { without, ..GATHER }, violated);
    }
}

/// What `merge::gather` says of itself: mappings and sharers are counted only, so a sharer whose mapping has gone stands for a
/// fork. No walk finds that one until its visit, as after its parent's exit.
#[test]
fn a_fork_hides_behind_who_has_gone() {
    let forks = Gather {
        forks_unreaped: true,
        ..GATHER
    };
    is_violated("gather, a sharer is not reaped yet", forks, FORKS);
}

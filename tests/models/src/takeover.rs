// SPDX-License-Identifier: GPL-2.0

//! Taking over and handing back: two tasks that switch at their own time between mm/ksm.c and the module, a folio that
//! either side may put its node on, and an mm that either side may enter and exit.
//!
//! The kernel lets a task switch only while it is in none of the replaced functions, unless somebody writes to `force`.
//! A transition may be turned round at any time; of the four callbacks then only the last is called, for where it went.
//!
//! | step | code |
//! | --- | --- |
//! | `Run`, `Pause`, `Unmerge`, `KernelMerge` | 1, 0 or 2 is written to the kernel's `run`; what ksmd does then |
//! | `Load` … `Refuse` | `takeover::pre_patch`: `remove_in_tree`, `intree::check`, `intree::stop`, or the directory is given back |
//! | `Switch`, `Force`, `Reverse`, `Complete` | the livepatch core's transition |
//! | `Take` … `Activate` | `takeover::post_patch`: `intree::take_all` with `entry::adopt`, the look for dead mms, `engine::activate` |
//! | `Deactivate`, `Dissolve` | `takeover::pre_unpatch`: the two halves of `engine::deactivate` |
//! | `Look` … `Restore` | `takeover::post_unpatch`: `MmUser::get`, `intree::give` or `entry::stay_unmerged`, `Space::kill`, `give_files_back` |
//! | `Merge`, `Break` | the scanner makes a node; its last sharer writes |
//! | `SwapOut`, `Hook…` | the folio goes; the swap-in hook puts the node on the one that comes back, under the node's lock |
//! | `Walk…` | `rmap_walk_ksm()` of whichever side, under the folio's lock |
//! | `Enter…` | `__ksm_enter()` of whichever side, under the mmap lock; a task has a user of its mm |
//! | `LastUser`, `Exit…` | the mm has no user any more; `__ksm_exit()` of whichever side |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// The kernel's files go before it is looked whether its merging is empty.
    FilesFirst,
    /// It must not be running,
    NotRunning,
    /// and must have no nodes.
    NoNodes,
    /// The engine is active from `post_patch` on, not before.
    ActiveLate,
    /// `pre_unpatch` makes it inactive,
    Inactive,
    /// and takes its node off every folio,
    Dissolve,
    /// under the folio's lock.
    DissolveLocks,
    /// The swap-in hook finds the node and uses it under the node's lock.
    HookLocks,
    /// The kernel's list is taken over in `post_patch`, not in `pre_patch`.
    TakeLate,
    /// It is taken over each time, also when an unpatching was turned round.
    TakeAgain,
    /// `post_patch` ends what mm/ksm.c has seen exiting.
    Sweep,
    /// Our `__ksm_exit()` looks on the kernel's list, too.
    ExitForgets,
    /// Mms are handed back in `post_unpatch`, not in `pre_unpatch`.
    GiveLate,
    /// Who is handed back has a user meanwhile.
    UserHeld,
    /// Who cannot be put on a list is marked as being on none.
    StayUnmerged,
    /// Handed back or not, nobody stays on our list.
    KillAll,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Side {
    Kernel,
    Ours,
}

/// What is being done to the livepatch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// All is the kernel's.
    Stock,
    FilesGone,
    /// Found empty.
    Checked,
    Patching,
    /// In `post_patch`.
    Taking,
    /// Off the kernel's list, not yet on ours.
    Adopting,
    Sweeping,
    Activating,
    Patched,
    /// In `pre_unpatch`.
    Dissolving,
    Unpatching,
    /// In `post_unpatch`.
    Looking,
    /// Has the mm a user that can be kept?
    Giving(bool),
    Killing,
    Restoring,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Doing {
    /// In none of the functions that are replaced.
    Else,
    Entering(Side),
    Exiting(Side),
    Walking(Side),
    /// The node that was found is about to be put on the folio.
    Hooking,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Task {
    /// Whose functions it will call.
    side: Side,
    doing: Doing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Mm {
    has_users: bool,
    exited: bool,
    /// MMF_VM_MERGEABLE: a list has it.
    marked: bool,
    on_kernels: u8,
    on_ours: u8,
    /// The hand-back has a user of its own.
    held: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    stage: Stage,
    tasks: [Task; 2],
    mm: Mm,
    /// The kernel's `run` is there to be written to; it is 1.
    files: bool,
    runs: bool,
    active: bool,
    /// Whose node the folio names.
    key: Option<Side>,
    /// We have a node, on the folio or with its page in swap.
    node: bool,
    folio_locked: bool,
    node_locked: bool,
    /// The kernel's list has been taken over since the module was loaded.
    taken: bool,
    forced: bool,
    /// A task followed the other side's node, or one that went away meanwhile.
    lost: bool,
    seen: Seen,
}

/// What must have happened for the model to show anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Seen {
    refused: bool,
    turned_round: bool,
    /// Entered here, exited in mm/ksm.c, and the reverse.
    exited_there: bool,
    exited_here: bool,
    came_back: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Run,
    Pause,
    Unmerge,
    KernelMerge,
    Load,
    Check,
    Stop,
    Refuse,
    Switch(usize),
    Force,
    Reverse,
    Complete,
    Take,
    /// Is there memory for it?
    Adopt(bool),
    Taken,
    Sweep,
    Activate,
    Deactivate,
    Dissolve,
    Look,
    Give(bool),
    Kill,
    Restore,
    Merge,
    Break,
    SwapOut,
    HookFind(usize),
    HookMap(usize),
    WalkBegin(usize),
    WalkEnd(usize),
    EnterBegin(usize),
    EnterEnd(usize),
    LastUser,
    ExitBegin(usize),
    ExitEnd(usize),
}

struct TakeOver(Without);

impl TakeOver {
    fn has(&self, rule: Without) -> bool {
        self.0 != rule
    }

    /// mm/ksm.c while it has its files.
    fn kernel(s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Run if s.files && !s.runs => s.runs = true,
            // 2 also ends so where a page is still mapped.
            Step::Pause if s.files && s.runs => s.runs = false,
            Step::Unmerge if s.files && !s.folio_locked && s.key != Some(Side::Ours) => {
                s.runs = false;
                s.key = None;
            }
            Step::KernelMerge if s.runs && s.key.is_none() && !s.folio_locked => {
                s.key = Some(Side::Kernel);
            }
            _ => return None,
        }
        Some(())
    }

    fn is_empty(&self, s: &State) -> bool {
        (!s.runs || !self.has(Without::NotRunning))
            && (s.key.is_none() || !self.has(Without::NoNodes))
    }

    fn load(&self, s: &mut State, step: Step) -> Option<()> {
        s.stage = match (step, s.stage) {
            (Step::Load, Stage::Stock) if !s.forced => {
                s.files = !self.has(Without::FilesFirst);
                Stage::FilesGone
            }
            (Step::Check, Stage::FilesGone) if self.is_empty(s) => Stage::Checked,
            (Step::Refuse, Stage::FilesGone) if !self.is_empty(s) => {
                s.files = true;
                s.seen.refused = true;
                Stage::Stock
            }
            (Step::Stop, Stage::Checked) => {
                s.files = false;
                s.runs = false;
                s.active = !self.has(Without::ActiveLate);
                s.taken = false;
                if self.has(Without::TakeLate) {
                    Stage::Patching
                } else {
                    Stage::Taking
                }
            }
            _ => return None,
        };
        Some(())
    }

    /// Where the transition that runs goes to.
    fn target(s: &State) -> Option<Side> {
        match s.stage {
            Stage::Patching => Some(Side::Ours),
            Stage::Unpatching => Some(Side::Kernel),
            _ => None,
        }
    }

    fn transition(&self, s: &mut State, step: Step) -> Option<()> {
        let target = Self::target(s)?;
        match step {
            Step::Switch(t) => {
                let task = &mut s.tasks[t];
                (task.side != target && task.doing == Doing::Else).then_some(())?;
                task.side = target;
            }
            Step::Force if s.tasks.iter().any(|task| task.side != target) => {
                for task in &mut s.tasks {
                    task.side = target;
                }
                s.forced = true;
            }
            Step::Reverse => {
                s.seen.turned_round = true;
                s.stage = match target {
                    Side::Ours => Stage::Unpatching,
                    Side::Kernel => Stage::Patching,
                };
            }
            Step::Complete if s.tasks.iter().all(|task| task.side == target) => {
                s.stage = match target {
                    Side::Ours if s.taken && !self.has(Without::TakeAgain) => Stage::Sweeping,
                    Side::Ours if !self.has(Without::TakeLate) => Stage::Sweeping,
                    Side::Ours => Stage::Taking,
                    Side::Kernel if !self.has(Without::GiveLate) => Stage::Restoring,
                    Side::Kernel => Stage::Looking,
                };
            }
            _ => return None,
        }
        Some(())
    }

    fn take_over(&self, s: &mut State, step: Step) -> Option<()> {
        s.stage = match (step, s.stage) {
            (Step::Take, Stage::Taking) if s.mm.on_kernels > 0 => {
                s.mm.on_kernels -= 1;
                if s.mm.has_users {
                    Stage::Adopting
                } else {
                    Stage::Taking
                }
            }
            (Step::Adopt(true), Stage::Adopting) => {
                s.mm.on_ours += 1;
                s.mm.marked = true;
                Self::leave_if_dead(s);
                Stage::Taking
            }
            (Step::Adopt(false), Stage::Adopting) => {
                s.mm.marked &= !self.has(Without::StayUnmerged);
                Stage::Taking
            }
            (Step::Taken, Stage::Taking) if s.mm.on_kernels == 0 => {
                s.taken = true;
                if self.has(Without::TakeLate) {
                    Stage::Sweeping
                } else {
                    Stage::Patching
                }
            }
            (Step::Sweep, Stage::Sweeping) => {
                if self.has(Without::Sweep) {
                    Self::leave_if_dead(s);
                }
                Stage::Activating
            }
            (Step::Activate, Stage::Activating) => {
                s.active = true;
                Stage::Patched
            }
            _ => return None,
        };
        Some(())
    }

    /// What has no users is ended, whether its exit came before or comes yet.
    fn leave_if_dead(s: &mut State) {
        if !s.mm.has_users {
            s.mm.on_ours = 0;
        }
    }

    fn hand_back(&self, s: &mut State, step: Step) -> Option<()> {
        s.stage = match (step, s.stage) {
            (Step::Deactivate, Stage::Patched) => {
                s.active = !self.has(Without::Inactive);
                Stage::Dissolving
            }
            (Step::Dissolve, Stage::Dissolving) => {
                if self.has(Without::Dissolve) && s.node {
                    // Each lock is waited for. Of a page that is just read in the node knows nothing.
                    let waits = s.folio_locked && s.key == Some(Side::Ours);
                    (!s.node_locked).then_some(())?;
                    (!waits || !self.has(Without::DissolveLocks)).then_some(())?;
                    s.node = false;
                    if s.key == Some(Side::Ours) {
                        s.key = None;
                    }
                }
                if self.has(Without::GiveLate) {
                    Stage::Unpatching
                } else {
                    Stage::Looking
                }
            }
            (Step::Look, Stage::Looking) if s.mm.on_ours > 0 => {
                s.mm.held = s.mm.has_users && self.has(Without::UserHeld);
                Stage::Giving(s.mm.has_users)
            }
            (Step::Look, Stage::Looking) => self.after_giving(),
            (Step::Give(true), Stage::Giving(true)) => {
                s.mm.on_kernels += 1;
                s.mm.marked = true;
                Stage::Killing
            }
            (Step::Give(false), Stage::Giving(true)) => {
                s.mm.marked &= !self.has(Without::StayUnmerged);
                Stage::Killing
            }
            (Step::Give(false), Stage::Giving(false)) => Stage::Killing,
            (Step::Kill, Stage::Killing) => {
                if self.has(Without::KillAll) {
                    s.mm.on_ours = 0;
                }
                s.mm.held = false;
                self.after_giving()
            }
            (Step::Restore, Stage::Restoring) => {
                s.files = true;
                Stage::Stock
            }
            _ => return None,
        };
        Some(())
    }

    fn after_giving(&self) -> Stage {
        if self.has(Without::GiveLate) {
            Stage::Restoring
        } else {
            Stage::Unpatching
        }
    }

    /// Our engine; `deactivate` has it while it dissolves.
    fn engine(&self, s: &mut State, step: Step) -> Option<()> {
        (!s.folio_locked).then_some(())?;
        match step {
            Step::Merge
                if s.active && !s.node && s.key.is_none() && s.stage != Stage::Dissolving =>
            {
                s.node = true;
                s.key = Some(Side::Ours);
            }
            Step::Break if s.key == Some(Side::Ours) && s.stage != Stage::Dissolving => {
                s.key = None;
                s.node = false;
            }
            Step::SwapOut if s.key == Some(Side::Ours) => s.key = None,
            _ => return None,
        }
        Some(())
    }

    fn hook(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::HookFind(t) if s.tasks[t].side == Side::Ours => {
                let can = s.tasks[t].doing == Doing::Else
                    && s.active
                    && s.node
                    && s.key.is_none()
                    && !s.node_locked
                    && !s.folio_locked;
                can.then_some(())?;
                s.tasks[t].doing = Doing::Hooking;
                s.node_locked = self.has(Without::HookLocks);
                // do_swap_page() has it locked.
                s.folio_locked = true;
            }
            Step::HookMap(t) if s.tasks[t].doing == Doing::Hooking => {
                s.key = Some(Side::Ours);
                s.seen.came_back = true;
                s.node_locked = false;
                s.folio_locked = false;
                s.tasks[t].doing = Doing::Else;
            }
            _ => return None,
        }
        Some(())
    }

    fn walk(s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::WalkBegin(t) if s.tasks[t].doing == Doing::Else && !s.folio_locked => {
                let key = s.key?;
                let side = s.tasks[t].side;
                s.lost |= key != side;
                s.folio_locked = true;
                s.tasks[t].doing = Doing::Walking(side);
            }
            Step::WalkEnd(t) => {
                let Doing::Walking(side) = s.tasks[t].doing else {
                    return None;
                };
                s.lost |= s.key != Some(side);
                s.folio_locked = false;
                s.tasks[t].doing = Doing::Else;
            }
            _ => return None,
        }
        Some(())
    }

    fn is_entered(s: &State) -> bool {
        s.tasks
            .iter()
            .any(|task| matches!(task.doing, Doing::Entering(_)))
    }

    fn enter(s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::EnterBegin(t) if s.tasks[t].doing == Doing::Else => {
                (s.mm.has_users && !s.mm.marked && !Self::is_entered(s)).then_some(())?;
                s.tasks[t].doing = Doing::Entering(s.tasks[t].side);
            }
            Step::EnterEnd(t) => {
                match s.tasks[t].doing {
                    Doing::Entering(Side::Kernel) => s.mm.on_kernels += 1,
                    Doing::Entering(Side::Ours) => s.mm.on_ours += 1,
                    _ => return None,
                }
                s.mm.marked = true;
                s.tasks[t].doing = Doing::Else;
            }
            _ => return None,
        }
        Some(())
    }

    fn exit(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::LastUser if s.mm.has_users && !s.mm.held && !Self::is_entered(s) => {
                s.mm.has_users = false;
            }
            Step::ExitBegin(t) if s.tasks[t].doing == Doing::Else => {
                let is_first = !s
                    .tasks
                    .iter()
                    .any(|task| matches!(task.doing, Doing::Exiting(_)));
                (!s.mm.has_users && !s.mm.exited && is_first).then_some(())?;
                s.tasks[t].doing = Doing::Exiting(s.tasks[t].side);
            }
            Step::ExitEnd(t) => {
                match s.tasks[t].doing {
                    Doing::Exiting(Side::Kernel) => {
                        s.seen.exited_there |= s.mm.on_ours > 0;
                        s.mm.on_kernels = s.mm.on_kernels.saturating_sub(1);
                    }
                    Doing::Exiting(Side::Ours) => {
                        s.seen.exited_here |= s.mm.on_kernels > 0;
                        if s.mm.on_ours > 0 {
                            s.mm.on_ours = 0;
                        } else if self.has(Without::ExitForgets) {
                            s.mm.on_kernels = s.mm.on_kernels.saturating_sub(1);
                        }
                    }
                    _ => return None,
                }
                s.mm.marked = false;
                s.mm.exited = true;
                s.tasks[t].doing = Doing::Else;
            }
            _ => return None,
        }
        Some(())
    }

    /// Nobody is between two steps, and nobody was made to switch in the midst of one.
    fn is_settled(s: &State) -> bool {
        matches!(s.stage, Stage::Stock | Stage::Patched)
            && s.tasks.iter().all(|task| task.doing == Doing::Else)
            && !s.forced
    }
}

impl Protocol for TakeOver {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            stage: Stage::Stock,
            tasks: [Task {
                side: Side::Kernel,
                doing: Doing::Else,
            }; 2],
            mm: Mm {
                has_users: true,
                exited: false,
                marked: false,
                on_kernels: 0,
                on_ours: 0,
                held: false,
            },
            files: true,
            runs: false,
            active: false,
            key: None,
            node: false,
            folio_locked: false,
            node_locked: false,
            taken: false,
            forced: false,
            lost: false,
            seen: Seen::default(),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Run,
            Step::Pause,
            Step::Unmerge,
            Step::KernelMerge,
            Step::Load,
            Step::Check,
            Step::Stop,
            Step::Refuse,
            Step::Force,
            Step::Reverse,
            Step::Complete,
            Step::Take,
            Step::Adopt(true),
            Step::Adopt(false),
            Step::Taken,
            Step::Sweep,
            Step::Activate,
            Step::Deactivate,
            Step::Dissolve,
            Step::Look,
            Step::Give(true),
            Step::Give(false),
            Step::Kill,
            Step::Restore,
            Step::Merge,
            Step::Break,
            Step::SwapOut,
            Step::LastUser,
        ];
        for t in 0..2 {
            steps.extend([
                Step::Switch(t),
                Step::HookFind(t),
                Step::HookMap(t),
                Step::WalkBegin(t),
                Step::WalkEnd(t),
                Step::EnterBegin(t),
                Step::EnterEnd(t),
                Step::ExitBegin(t),
                Step::ExitEnd(t),
            ]);
        }
        steps
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        Self::kernel(s, step)
            .or_else(|| self.load(s, step))
            .or_else(|| self.transition(s, step))
            .or_else(|| self.take_over(s, step))
            .or_else(|| self.hand_back(s, step))
            .or_else(|| self.engine(s, step))
            .or_else(|| self.hook(s, step))
            .or_else(|| Self::walk(s, step))
            .or_else(|| Self::enter(s, step))
            .or_else(|| self.exit(s, step))
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(OWN, |_, s: &State| !s.lost),
            Property::always(LISTED, |_, s: &State| {
                let (right, wrong) = match s.stage {
                    Stage::Patched => (s.mm.on_ours, s.mm.on_kernels),
                    _ => (s.mm.on_kernels, s.mm.on_ours),
                };
                !Self::is_settled(s)
                    || s.mm.exited
                    || !s.mm.has_users
                    || wrong == 0 && right == u8::from(s.mm.marked)
            }),
            Property::always(FREED, |_, s: &State| {
                !Self::is_settled(s) || !s.mm.exited || s.mm.on_kernels + s.mm.on_ours == 0
            }),
            Property::sometimes("loading is refused", |_, s: &State| s.seen.refused),
            Property::sometimes("entered here, exited in mm/ksm.c", |_, s: &State| {
                s.seen.exited_there
            }),
            Property::sometimes("entered in mm/ksm.c, exited here", |_, s: &State| {
                s.seen.exited_here
            }),
            Property::sometimes("a node comes back from swap", |_, s: &State| {
                s.seen.came_back
            }),
            Property::sometimes("taken over after turning round", |_, s: &State| {
                s.stage == Stage::Patched && s.seen.turned_round && !s.forced
            }),
            Property::sometimes("merged after force", |_, s: &State| {
                s.forced && s.key == Some(Side::Ours)
            }),
            Property::sometimes("handed back with its mm", |_, s: &State| {
                s.stage == Stage::Stock && s.taken && s.mm.on_kernels == 1
            }),
        ]
    }
}

const OWN: &str = "nobody follows a node of the other side, or one that goes away";
const LISTED: &str =
    "an mm that is marked mergeable is on the list of the side in charge, once, and on no other";
const FREED: &str = "no list keeps an mm that has exited";

#[test]
fn both_sides_keep_to_their_own() {
    holds("takeover", TakeOver(Without::Nothing));
}

#[test]
fn each_rule_of_taking_over_is_needed() {
    for (without, violated) in [
        (Without::FilesFirst, OWN),
        (Without::NotRunning, OWN),
        (Without::NoNodes, OWN),
        (Without::ActiveLate, OWN),
        (Without::Inactive, OWN),
        (Without::Dissolve, OWN),
        (Without::DissolveLocks, OWN),
        (Without::HookLocks, OWN),
        (Without::TakeLate, LISTED),
        (Without::TakeAgain, LISTED),
        (Without::Sweep, FREED),
        (Without::ExitForgets, FREED),
        (Without::GiveLate, LISTED),
        (Without::UserHeld, FREED),
        (Without::StayUnmerged, LISTED),
        (Without::KillAll, LISTED),
    ] {
        let name = format!("takeover without {without:?}");
        is_violated(&name, TakeOver(without), violated);
    }
}

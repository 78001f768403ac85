// SPDX-License-Identifier: GPL-2.0

//! Waking the reaper, and waiting for it: no wake-up is lost, and who waits has been served.
//!
//! | step | code |
//! | --- | --- |
//! | `Mark`, `Queue`, `Signal` | `ChunkState::clear` with `pending`, `reap::queue`, `WORK.signal()` |
//! | `ReadWork` … `Rest` | `reap::main`: reads `WORK`, a round (`reap::round`: takes the queue, then each chunk's marks), `DONE.signal()`, waits for `WORK`, rests until `HURRY` or for `REST_US` |
//! | `SyncCall` … `SyncWait` | `reap::settle` for `sync` |
//! | `FinishTake` … `FinishLook` | `reap::finish_all`, at the end of handing back: nothing is marked any more; another round if the reaper has the rest |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// The reaper reads `WORK` before its round.
    WorkFirst,
    /// Who waits reads `DONE` before he looks.
    DoneFirst,
    /// Two rounds are waited for, as the one that is running may have passed the chunk.
    SecondRound,
    /// A chunk leaves the queue before its marks are taken: who marks it later queues it again.
    Requeue,
    /// Who finishes all tells those who wait for the reaper.
    FinishTells,
}

const MARKS: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Marker {
    Idle,
    Marked,
    Queued,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Start,
    Round,
    /// Has taken the queue.
    HasChunk,
    /// Has taken the marks.
    HasMarks,
    RoundOver,
    Waiting,
    Resting,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Sync {
    Idle,
    Looking,
    Looked,
    Waiting,
    Returned,
}

/// Who hands back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Finisher {
    Away,
    HasChunk,
    HasMarks,
    RoundOver,
    Returned,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    finisher: Finisher,
    /// It has marks in its hands.
    finishing: bool,
    marker: Marker,
    left: u8,
    /// The chunk is marked; the chunk says that it is in the queue; it is.
    marked: bool,
    says_queued: bool,
    queued: bool,
    pending: u8,
    work: u8,
    done: u8,
    reaper: Reaper,
    work_seen: u8,
    taken: bool,
    sync: Sync,
    first: u8,
    done_seen: u8,
    /// What was pending when `sync` was called, and has not been looked at: still marked, or taken.
    owed: [bool; 2],
    broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Mark,
    Queue,
    Signal,
    ReadWork,
    TakeQueue,
    TakeMarks,
    Judge,
    SignalDone,
    Wait,
    Rest,
    SyncCall,
    SyncLook,
    SyncReadDone,
    SyncWait,
    FinishTake,
    FinishMarks,
    FinishJudge,
    FinishLook,
}

struct Settling(Without);

impl Settling {
    fn has(&self, rule: Without) -> bool {
        self.0 != rule
    }

    fn mark(&self, s: &mut State, step: Step) -> Option<()> {
        s.marker = match (step, s.marker) {
            (Step::Mark, Marker::Idle) if s.left > 0 && s.finisher == Finisher::Away => {
                s.left -= 1;
                s.pending += u8::from(!s.marked);
                s.marked = true;
                if s.says_queued {
                    Marker::Idle
                } else {
                    s.says_queued = true;
                    Marker::Marked
                }
            }
            (Step::Queue, Marker::Marked) => {
                s.queued = true;
                Marker::Queued
            }
            (Step::Signal, Marker::Queued) => {
                s.work += 1;
                Marker::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn reap(&self, s: &mut State, step: Step) -> Option<()> {
        s.reaper = match (step, s.reaper) {
            (Step::ReadWork, Reaper::Start) => {
                s.work_seen = s.work;
                Reaper::Round
            }
            (Step::TakeQueue, Reaper::Round) => {
                if std::mem::take(&mut s.queued) {
                    Reaper::HasChunk
                } else {
                    Reaper::RoundOver
                }
            }
            // The marker has the chunk's lock from `Mark` to `Queue`.
            (Step::TakeMarks, Reaper::HasChunk) if s.marker != Marker::Marked => {
                if self.has(Without::Requeue) {
                    s.says_queued = false;
                }
                s.taken = std::mem::take(&mut s.marked);
                s.owed[1] |= std::mem::take(&mut s.owed[0]);
                Reaper::HasMarks
            }
            (Step::Judge, Reaper::HasMarks) => {
                s.pending -= u8::from(std::mem::take(&mut s.taken));
                s.owed[1] = false;
                s.says_queued &= self.has(Without::Requeue);
                Reaper::RoundOver
            }
            (Step::SignalDone, Reaper::RoundOver) => {
                s.done += 1;
                if !self.has(Without::WorkFirst) {
                    s.work_seen = s.work;
                }
                Reaper::Waiting
            }
            (Step::Wait, Reaper::Waiting) if s.work != s.work_seen => Reaper::Resting,
            // For a while, or until somebody is in a hurry.
            (Step::Rest, Reaper::Resting) => Reaper::Start,
            _ => return None,
        };
        Some(())
    }

    fn sync(&self, s: &mut State, step: Step) -> Option<()> {
        s.sync = match (step, s.sync) {
            // A marker that is on its way has not returned yet: what it does is not asked for.
            (Step::SyncCall, Sync::Idle) if s.marker == Marker::Idle => {
                s.first = s.done;
                s.owed = [s.marked, s.taken];
                s.done_seen = s.done;
                Sync::Looking
            }
            (Step::SyncLook, Sync::Looking) => {
                let rounds = if self.has(Without::SecondRound) { 2 } else { 1 };
                if s.pending == 0 || s.done - s.first >= rounds {
                    // Who hands back goes by what is pending, not by rounds; nobody acts on what sync says then.
                    s.broken |= s.owed != [false; 2] && s.finisher == Finisher::Away;
                    Sync::Returned
                } else {
                    Sync::Looked
                }
            }
            (Step::SyncReadDone, Sync::Looked) => {
                if !self.has(Without::DoneFirst) {
                    s.done_seen = s.done;
                }
                Sync::Waiting
            }
            (Step::SyncWait, Sync::Waiting) if s.done != s.done_seen => {
                s.done_seen = s.done;
                Sync::Looking
            }
            _ => return None,
        };
        Some(())
    }

    fn finish(&self, s: &mut State, step: Step) -> Option<()> {
        s.finisher = match (step, s.finisher) {
            // It comes when nobody marks any more.
            (Step::FinishTake, Finisher::Away) if s.marker == Marker::Idle => {
                if std::mem::take(&mut s.queued) {
                    Finisher::HasChunk
                } else {
                    Finisher::RoundOver
                }
            }
            (Step::FinishMarks, Finisher::HasChunk) => {
                s.says_queued = false;
                s.finishing = std::mem::take(&mut s.marked);
                s.owed[0] = false;
                Finisher::HasMarks
            }
            (Step::FinishJudge, Finisher::HasMarks) => {
                s.pending -= u8::from(std::mem::take(&mut s.finishing));
                Finisher::RoundOver
            }
            (Step::FinishLook, Finisher::RoundOver) if s.pending == 0 => {
                if self.has(Without::FinishTells) {
                    s.done += 1;
                }
                Finisher::Returned
            }
            _ => return None,
        };
        Some(())
    }
}

impl Protocol for Settling {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            finisher: Finisher::Away,
            finishing: false,
            marker: Marker::Idle,
            left: MARKS,
            marked: false,
            says_queued: false,
            queued: false,
            pending: 0,
            work: 0,
            done: 0,
            reaper: Reaper::Start,
            work_seen: 0,
            taken: false,
            sync: Sync::Idle,
            first: 0,
            done_seen: 0,
            owed: [false; 2],
            broken: false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            Step::Mark,
            Step::Queue,
            Step::Signal,
            Step::ReadWork,
            Step::TakeQueue,
            Step::TakeMarks,
            Step::Judge,
            Step::SignalDone,
            Step::Wait,
            Step::Rest,
            Step::SyncCall,
            Step::SyncLook,
            Step::SyncReadDone,
            Step::SyncWait,
            Step::FinishTake,
            Step::FinishMarks,
            Step::FinishJudge,
            Step::FinishLook,
        ]
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        self.mark(s, step)
            .or_else(|| self.reap(s, step))
            .or_else(|| self.sync(s, step))
            .or_else(|| self.finish(s, step))
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(SERVED, |_, s: &State| !s.broken),
            Property::always(AWAKE, |_, s: &State| {
                let sleeps = s.reaper == Reaper::Waiting && s.work == s.work_seen;
                // Who finishes all comes for it, too.
                let alone = s.finisher == Finisher::Away;
                !(sleeps && s.marker == Marker::Idle && s.marked && alone)
            }),
            Property::always(ENDS, |_, s: &State| {
                let waits = s.sync == Sync::Waiting && s.done == s.done_seen;
                let sleeps = s.reaper == Reaper::Waiting && s.work == s.work_seen;
                // Who finishes all is at work, and says so at the end.
                let nobody = matches!(s.finisher, Finisher::Away | Finisher::Returned);
                !(waits && sleeps && nobody && s.marker == Marker::Idle)
            }),
            Property::sometimes("sync waits and returns", |_, s: &State| {
                s.sync == Sync::Returned && s.done > s.first
            }),
            Property::sometimes("sync returns while more is pending", |_, s: &State| {
                s.sync == Sync::Returned && s.pending > 0
            }),
        ]
    }
}

const SERVED: &str = "what was pending when sync was called has been looked at when it returns";
const AWAKE: &str = "the reaper does not sleep over a mark";
const ENDS: &str = "nobody waits for a reaper that sleeps";

#[test]
fn the_reaper_wakes_and_sync_returns() {
    holds("settling", Settling(Without::Nothing));
}

#[test]
fn each_rule_of_waiting_is_needed() {
    for (without, violated) in [
        (Without::WorkFirst, AWAKE),
        (Without::DoneFirst, ENDS),
        (Without::SecondRound, SERVED),
        (Without::Requeue, AWAKE),
        (Without::FinishTells, ENDS),
    ] {
        let name = format!("settling without {without:?}");
        is_violated(&name, Settling(without), violated);
    }
}

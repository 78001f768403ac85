// SPDX-License-Identifier: GPL-2.0

//! Page pointers: scanner against invalidations, exit and the reaper, over the life of a chunk.
//!
//! One address in the first chunk of an mm. Two invalidators: one covers the address, the other only the second chunk. What
//! a step stands for:
//!
//! | step | code |
//! | --- | --- |
//! | `Look` | `scan::scan_found` → `Space::look`, with a user of the mm (`MmUser::get`) |
//! | `Read` | `Found::collect` (`swapksm_collect`): one PTE under its lock |
//! | `Find` | `scan::scan_chunk`: `Space::find`, or `Chunk::new` and `Space::insert` |
//! | `Check` | `Chunk::install`: takes the chunk's lock, `last_seq > look.seq` |
//! | `Ask` | `Space::is_invalidating` under the space's lock, the chunk's lock held |
//! | `Set` | the rest of `Chunk::install` |
//! | `FreeChunk` | `Chunk::try_free` |
//! | `Count`, `FindChunk`, `Clear`, `Change`, `Uncount` | `Space::invalidate_start` (count; then per chunk: find under RCU, clear under its lock), what the kernel does to the PTE, `Space::invalidate_end` |
//! | `Exit…` | `space::exit` and `Space::kill`, then what `exit_mmap()` unmaps |
//! | `Kill…` | the same by the scanner that finds no user (`scan::scan_space`) |
//! | `Reap…` | `reap::reap` |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// `install` refuses while an invalidation runs over the chunk. Not needed: see the test.
    RunningNow,
    /// `install` refuses if one ran at the look.
    RunningAtLook,
    /// `install` refuses if the chunk was told of an invalidation since the look.
    LastSeq,
    /// `install` into a chunk that did not exist refuses after any invalidation since the look.
    FreshSeq,
    /// `install` refuses in a space that is not watched.
    Life,
    /// An invalidation counts itself before it clears.
    CountFirst,
    /// A second running invalidation widens the range of the first.
    Widen,
    /// A killed space leaves the index only when its pointers are cleared.
    ClearBeforeUnindex,
    /// A chunk in the reaper's queue is not freed.
    QueuedStays,
    /// A callback that comes too late leaves a dead chunk alone.
    DeadIsLeft,
    /// The callback comes before the page-table entry is changed.
    TellFirst,
}

/// The page at the address: each fault brings another one.
type Page = u8;

const PAGES: Page = 3;
/// Chunks that may be made one after the other for the address.
const CHUNKS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Look {
    seq: u8,
    covered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Scanner {
    Idle,
    Looked(Look),
    Read(Look, Option<Page>),
    Found(Look, Option<Page>, usize, bool),
    Checked(Look, Option<Page>, usize, bool),
    Allowed(Option<Page>, usize),
    /// May free the chunk if it is empty, and ends.
    Freeing(usize),
    /// Killing the space: not cleared yet; was it watched?
    Killing(bool),
    Killed(bool),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Invalidator {
    Idle,
    Counted(u8),
    /// Has found this chunk under RCU.
    HasChunk(u8, usize),
    Cleared,
    Changed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Exit {
    No,
    /// The hook was called.
    Called,
    Marked(bool),
    Cleared(bool),
    /// The hook has returned: `exit_mmap()` unmaps without telling us.
    Unmapping,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Idle,
    Taken(usize),
    Judging(usize, bool),
    Freeing(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Chunk {
    exists: bool,
    dead: bool,
    locked: bool,
    used: bool,
    live: Option<Page>,
    last_seq: u8,
    suspect: bool,
    queued: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    pte: Option<Page>,
    next_page: Page,
    has_users: bool,
    is_dead: bool,
    indexed: bool,
    running: u8,
    /// The range of the running invalidations: does it hold the first chunk, the second?
    range: [bool; 2],
    seq: u8,
    /// The chunk in the index.
    current: Option<usize>,
    chunks: [Chunk; CHUNKS],
    made: usize,
    queue: Option<usize>,
    scanner: Scanner,
    invalidators: [Invalidator; 2],
    rounds: [u8; 2],
    exit: Exit,
    reaper: Reaper,
    /// Something was refused by: last_seq, running now, at the look, fresh, life.
    refused: [bool; 5],
    /// A callback has met a dead chunk.
    met_dead: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Look,
    Read,
    Find,
    Check,
    Ask,
    Set,
    FreeChunk,
    KeepChunk,
    Kill,
    KillClear,
    KillUnindex,
    Fault,
    Count(usize),
    FindChunk(usize),
    Clear(usize),
    Change(usize),
    ChangeNothing(usize),
    Uncount(usize),
    ExitLastUser,
    /// create_init_stack_vma(): the mm goes on to be used by its caller.
    ExitEarly,
    ExitFind,
    ExitMark,
    ExitClear,
    ExitUnindex,
    ExitUnmap,
    ReapTake,
    ReapSuspects,
    ReapJudge,
    ReapFree,
}

struct Pointers {
    without: Without,
    /// Does the mm exit? It is explored apart from many invalidations, or there would be too many states.
    exits: bool,
    /// How often each invalidator comes.
    rounds: [u8; 2],
}

impl Pointers {
    fn told(without: Without) -> Self {
        Self {
            without,
            exits: false,
            rounds: [2, 1],
        }
    }

    fn exiting(without: Without) -> Self {
        Self {
            without,
            exits: true,
            rounds: [1, 0],
        }
    }

    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    fn engine_is_free(s: &State) -> bool {
        s.scanner == Scanner::Idle && s.reaper == Reaper::Idle
    }

    /// `Chunk::try_free`.
    fn try_free(&self, s: &mut State, chunk: usize) {
        let c = &mut s.chunks[chunk];
        if c.used || (c.queued && self.has(Without::QueuedStays)) {
            return;
        }
        c.dead = true;
        s.current = None;
    }

    /// `ChunkState::clear`.
    fn clear(&self, s: &mut State, chunk: usize, seq: u8) {
        let c = &mut s.chunks[chunk];
        if c.dead {
            s.met_dead = true;
            if self.has(Without::DeadIsLeft) {
                return;
            }
        }
        c.last_seq = seq;
        c.live = None;
        if c.used || !self.has(Without::DeadIsLeft) {
            c.suspect = true;
            if !c.queued {
                c.queued = true;
                s.queue = Some(chunk);
            }
        }
    }

    fn count(&self, s: &mut State, who: usize) {
        if s.running == 0 || !self.has(Without::Widen) {
            s.range = [who == 0, who == 1];
        } else {
            s.range[who] = true;
        }
        s.running += 1;
        s.seq += 1;
    }

    fn invalidate(&self, s: &mut State, who: usize, step: Step) -> Option<()> {
        let at = s.invalidators[who];
        s.invalidators[who] = match (step, at) {
            (Step::Count(_), Invalidator::Idle) if s.rounds[who] < self.rounds[who] => {
                s.rounds[who] += 1;
                if self.has(Without::CountFirst) {
                    self.count(s, who);
                    Invalidator::Counted(s.seq)
                } else {
                    Invalidator::Counted(s.seq + 1)
                }
            }
            // The other invalidator's chunk does not exist.
            (Step::FindChunk(_), Invalidator::Counted(seq)) => match s.current {
                Some(chunk) if who == 0 => Invalidator::HasChunk(seq, chunk),
                _ => Invalidator::Cleared,
            },
            (Step::Clear(_), Invalidator::HasChunk(seq, chunk)) if !s.chunks[chunk].locked => {
                self.clear(s, chunk, seq);
                Invalidator::Cleared
            }
            (Step::Change(_), Invalidator::Cleared) if s.pte.is_some() && who == 0 => {
                s.pte = None;
                Invalidator::Changed
            }
            (Step::Change(_), Invalidator::Counted(_))
                if !self.has(Without::TellFirst) && s.pte.is_some() && who == 0 =>
            {
                s.pte = None;
                at
            }
            // Reclaim that fails, or a page that was not there.
            (Step::ChangeNothing(_), Invalidator::Cleared) => Invalidator::Changed,
            (Step::Uncount(_), Invalidator::Changed) => {
                if !self.has(Without::CountFirst) {
                    self.count(s, who);
                }
                s.running -= 1;
                Invalidator::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn scan(&self, s: &mut State, step: Step) -> Option<()> {
        s.scanner = match (step, s.scanner) {
            (Step::Look, Scanner::Idle) if Self::engine_is_free(s) && s.has_users && !s.is_dead => {
                Scanner::Looked(Look {
                    seq: s.seq,
                    covered: s.running > 0 && s.range[0],
                })
            }
            (Step::Read, Scanner::Looked(look)) => Scanner::Read(look, s.pte),
            (Step::Find, Scanner::Read(look, page)) => match s.current {
                Some(chunk) => Scanner::Found(look, page, chunk, false),
                // `unmerged`: nothing here, and nothing known.
                None if page.is_none() => Scanner::Idle,
                None if s.made < CHUNKS => {
                    let chunk = s.made;
                    s.made += 1;
                    s.chunks[chunk].exists = true;
                    s.current = Some(chunk);
                    Scanner::Found(look, page, chunk, true)
                }
                None => Scanner::Idle,
            },
            (Step::Check, Scanner::Found(look, page, chunk, fresh)) => {
                let c = &mut s.chunks[chunk];
                (!c.locked).then_some(())?;
                if c.last_seq > look.seq && self.has(Without::LastSeq) {
                    s.refused[0] = true;
                    Scanner::Freeing(chunk)
                } else {
                    c.locked = true;
                    Scanner::Checked(look, page, chunk, fresh)
                }
            }
            (Step::Ask, Scanner::Checked(look, page, chunk, fresh)) => {
                let reasons = [
                    (
                        s.running > 0 && s.range[0] && self.has(Without::RunningNow),
                        1,
                    ),
                    (look.covered && self.has(Without::RunningAtLook), 2),
                    (fresh && s.seq != look.seq && self.has(Without::FreshSeq), 3),
                    (s.is_dead && self.has(Without::Life), 4),
                ];
                let refused = reasons.iter().find(|(refused, _)| *refused);
                if let Some((_, reason)) = refused {
                    s.refused[*reason] = true;
                    s.chunks[chunk].locked = false;
                    Scanner::Freeing(chunk)
                } else {
                    Scanner::Allowed(page, chunk)
                }
            }
            (Step::Set, Scanner::Allowed(page, chunk)) => {
                let c = &mut s.chunks[chunk];
                match page {
                    Some(_) => {
                        c.live = page;
                        c.used = true;
                    }
                    // `drop_stale`: the item lived by its page.
                    None => {
                        c.live = None;
                        c.used = false;
                    }
                }
                c.locked = false;
                Scanner::Freeing(chunk)
            }
            (Step::FreeChunk, Scanner::Freeing(chunk)) => {
                self.try_free(s, chunk);
                Scanner::Idle
            }
            // A refused chunk that is new stays for the next try.
            (Step::KeepChunk, Scanner::Freeing(_)) => Scanner::Idle,
            (Step::Kill, Scanner::Idle) if Self::engine_is_free(s) && !s.has_users && s.indexed => {
                Scanner::Killing(!std::mem::replace(&mut s.is_dead, true))
            }
            (Step::KillClear, Scanner::Killing(first)) => {
                if let Some(chunk) = s.current {
                    (!s.chunks[chunk].locked).then_some(())?;
                    self.clear(s, chunk, u8::MAX);
                }
                Scanner::Killed(first)
            }
            (Step::KillUnindex, Scanner::Killing(true))
                if !self.has(Without::ClearBeforeUnindex) =>
            {
                s.indexed = false;
                Scanner::Killing(false)
            }
            (Step::KillUnindex, Scanner::Killed(first)) => {
                if first {
                    s.indexed = false;
                }
                Scanner::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn exit(&self, s: &mut State, step: Step) -> Option<()> {
        s.exit = match (step, s.exit) {
            (Step::ExitLastUser, Exit::No)
                if self.exits
                    && matches!(
                        s.scanner,
                        Scanner::Idle | Scanner::Killing(_) | Scanner::Killed(_)
                    ) =>
            {
                s.has_users = false;
                Exit::Called
            }
            (Step::ExitEarly, Exit::No) if self.exits => Exit::Called,
            (Step::ExitFind, Exit::Called) if !s.indexed => Exit::Unmapping,
            (Step::ExitMark, Exit::Called) if s.indexed => {
                Exit::Marked(!std::mem::replace(&mut s.is_dead, true))
            }
            (Step::ExitClear, Exit::Marked(first)) => {
                if let Some(chunk) = s.current {
                    (!s.chunks[chunk].locked).then_some(())?;
                    self.clear(s, chunk, u8::MAX);
                }
                Exit::Cleared(first)
            }
            (Step::ExitUnindex, Exit::Cleared(first)) => {
                if first {
                    s.indexed = false;
                }
                Exit::Unmapping
            }
            (Step::ExitUnmap, Exit::Unmapping) => {
                s.pte = None;
                Exit::Done
            }
            _ => return None,
        };
        Some(())
    }

    fn reap(&self, s: &mut State, step: Step) -> Option<()> {
        s.reaper = match (step, s.reaper) {
            (Step::ReapTake, Reaper::Idle) if Self::engine_is_free(s) => {
                Reaper::Taken(s.queue.take()?)
            }
            (Step::ReapSuspects, Reaper::Taken(chunk)) => {
                let c = &mut s.chunks[chunk];
                (!c.locked).then_some(())?;
                c.queued = false;
                Reaper::Judging(chunk, std::mem::take(&mut c.suspect))
            }
            (Step::ReapJudge, Reaper::Judging(chunk, suspect)) => {
                let c = &mut s.chunks[chunk];
                (!c.locked).then_some(())?;
                if suspect && c.used && c.live.is_none() {
                    c.used = false;
                }
                Reaper::Freeing(chunk)
            }
            (Step::ReapFree, Reaper::Freeing(chunk)) => {
                self.try_free(s, chunk);
                Reaper::Idle
            }
            _ => return None,
        };
        Some(())
    }
}

impl Protocol for Pointers {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            pte: Some(0),
            next_page: 1,
            has_users: true,
            is_dead: false,
            indexed: true,
            running: 0,
            range: [false; 2],
            seq: 0,
            current: None,
            chunks: [Chunk::default(); CHUNKS],
            made: 0,
            queue: None,
            scanner: Scanner::Idle,
            invalidators: [Invalidator::Idle; 2],
            rounds: [0; 2],
            exit: Exit::No,
            reaper: Reaper::Idle,
            refused: [false; 5],
            met_dead: false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Look,
            Step::Read,
            Step::Find,
            Step::Check,
            Step::Ask,
            Step::Set,
            Step::FreeChunk,
            Step::KeepChunk,
            Step::Kill,
            Step::KillClear,
            Step::KillUnindex,
            Step::Fault,
            Step::ExitLastUser,
            Step::ExitEarly,
            Step::ExitFind,
            Step::ExitMark,
            Step::ExitClear,
            Step::ExitUnindex,
            Step::ExitUnmap,
            Step::ReapTake,
            Step::ReapSuspects,
            Step::ReapJudge,
            Step::ReapFree,
        ];
        for who in 0..2 {
            steps.extend([
                Step::Count(who),
                Step::FindChunk(who),
                Step::Clear(who),
                Step::Change(who),
                Step::ChangeNothing(who),
                Step::Uncount(who),
            ]);
        }
        steps
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            // A page comes where there was none: no notifier tells of that.
            Step::Fault => {
                let can = s.pte.is_none() && s.has_users && s.next_page < PAGES;
                can.then_some(())?;
                s.pte = Some(s.next_page);
                s.next_page += 1;
                Some(())
            }
            Step::Count(who)
            | Step::FindChunk(who)
            | Step::Clear(who)
            | Step::Change(who)
            | Step::ChangeNothing(who)
            | Step::Uncount(who) => self.invalidate(s, who, step),
            Step::ExitLastUser
            | Step::ExitEarly
            | Step::ExitFind
            | Step::ExitMark
            | Step::ExitClear
            | Step::ExitUnindex
            | Step::ExitUnmap => self.exit(s, step),
            Step::ReapTake | Step::ReapSuspects | Step::ReapJudge | Step::ReapFree => {
                self.reap(s, step)
            }
            _ => self.scan(s, step),
        }
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(TRUE, |_, s: &State| {
                s.chunks
                    .iter()
                    .filter_map(|c| c.live)
                    .all(|page| s.pte == Some(page))
            }),
            Property::always(QUEUED_EXISTS, |_, s: &State| {
                s.chunks.iter().all(|c| !(c.queued && c.dead))
            }),
            Property::always(
                "a chunk without suspects ends or has its page",
                |_, s: &State| {
                    let quiet = Self::engine_is_free(s)
                        && s.invalidators == [Invalidator::Idle; 2]
                        && s.queue.is_none()
                        && !s.is_dead;
                    !quiet || s.chunks.iter().all(|c| c.used == c.live.is_some())
                },
            ),
            Property::sometimes("a pointer is set", |_, s: &State| {
                s.chunks.iter().any(|c| c.live.is_some())
            }),
            Property::sometimes("refused: told since", |_, s: &State| s.refused[0]),
            Property::sometimes("refused: runs now", |m: &Checked<Self>, s: &State| {
                s.refused[1] || !m.0.has(Without::RunningNow)
            }),
            Property::sometimes("refused: ran at the look", |_, s: &State| s.refused[2]),
            Property::sometimes("refused: fresh", |_, s: &State| s.refused[3]),
            Property::sometimes("refused: space dead", |m: &Checked<Self>, s: &State| {
                s.refused[4] || !m.0.exits
            }),
            Property::sometimes("a callback meets a dead chunk", |_, s: &State| s.met_dead),
            Property::sometimes("the second chunk is used", |_, s: &State| s.chunks[1].used),
        ]
    }
}

const TRUE: &str = "a live pointer names the page that is mapped";
const QUEUED_EXISTS: &str = "a chunk in the reaper's queue exists";

#[test]
fn pointers_are_true() {
    holds("pointers, told", Pointers::told(Without::Nothing));
}

#[test]
fn pointers_are_true_at_exit() {
    holds("pointers, exiting", Pointers::exiting(Without::Nothing));
}

#[test]
fn each_rule_of_pointers_is_needed() {
    for (without, violated) in [
        (Without::RunningAtLook, TRUE),
        (Without::LastSeq, TRUE),
        (Without::FreshSeq, TRUE),
        (Without::CountFirst, TRUE),
        (Without::Widen, TRUE),
        (Without::TellFirst, TRUE),
        (Without::QueuedStays, QUEUED_EXISTS),
        (Without::DeadIsLeft, QUEUED_EXISTS),
    ] {
        let name = format!("pointers without {without:?}");
        is_violated(&name, Pointers::told(without), violated);
    }
}

#[test]
fn each_rule_of_exit_is_needed() {
    for without in [Without::Life, Without::ClearBeforeUnindex] {
        let name = format!("pointers without {without:?}");
        is_violated(&name, Pointers::exiting(without), TRUE);
    }
}

/// One that runs now ran at the look, or began since: then the chunk was told, or will be, or is new and refuses. To refuse
/// it here as well only saves the setting of pointers that are cleared at once.
#[test]
fn running_now_follows_from_the_other_rules() {
    holds(
        "pointers without RunningNow",
        Pointers::told(Without::RunningNow),
    );
}

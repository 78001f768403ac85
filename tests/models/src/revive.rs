// SPDX-License-Identifier: GPL-2.0

//! Coming back from swap: when may a folio become a node's page again?
//!
//! Two processes: a sharer, and its fork, which is not registered and may move its mapping (mremap) to an address where no
//! reverse walk of the sharer's finds it. Two swap slots. What a step stands for:
//!
//! | step | code |
//! | --- | --- |
//! | `WriteMerged`, `WriteOwn` | do_wp_page(): a copy of a merged page; reuse of a page that is exclusive |
//! | `ReclaimMerged` | reclaim through `rmap::walk`: `entries::remember`, the mappings that it finds become swap entries |
//! | `ReclaimOwn` | reclaim of a private page to a free slot, shared by fork or exclusive |
//! | `DropFolio` | an unmapped folio leaves memory and swap cache |
//! | `Lock` | do_swap_page(): the entry is read, the folio found or read in, and locked |
//! | `Find` | `swapin::choose`, and `entries::find` |
//! | `First` | `swapin::revive` up to `is_sharer`: conditions 1, 2, 4, 6, 5 and the first half of 3 |
//! | `Second` | the rest, under the node's lock |
//! | `Map` | do_swap_page() maps what it was told to, if the entry is still there |
//! | `Swapoff` | the same by unuse_pte(), which takes a page that is exclusive for writable |
//! | `Merge` | `merge::merge_into`: an own page with the node's bytes |
//! | `Reap` | the reaper ends a sharer whose entry names something else: `Node::part`, `Node::try_free` |
//! | `Fork`, `Move`, `Zap`, `Unmergeable` | fork(), mremap(), MADV_DONTNEED, MADV_UNMERGEABLE |
//! | `Deactivate`, `TakeKey`, `Dissolve` | `engine::deactivate`: `set_active`, then the two halves of `Node::dissolve` |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A condition that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// 1: the entry in the page table is the folio's. See the test.
    Entry,
    /// 2: it is not exclusive.
    Exclusive,
    /// 3: the mapping is a sharer's or a fork's.
    Sharer,
    /// 3 for a merged folio found in the swap cache (`swapin::is_ours`).
    SharerOfMerged,
    /// 4: the node has no other page.
    NoOtherPage,
    /// 5: the VMA is mergeable.
    Mergeable,
    /// 6: the hash is the node's.
    Hash,
    /// 7: the module is active, asked again under the node's lock.
    ActiveAgain,
    /// 7: the node has the entry and sharers, asked again under the node's lock (or it may be freed by now).
    SharersAgain,
    /// Only the entry that was found wrong is forgotten.
    ForgetIf,
}

const PROCESSES: usize = 2;
const SLOTS: usize = 2;
const FOLIOS: usize = 3;

/// What a page holds: what was merged, or what was written later.
type Content = bool;
const MERGED: Content = true;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pte {
    None,
    /// A folio; exclusive ones may be written in place.
    Page {
        folio: usize,
        exclusive: bool,
    },
    Swap {
        slot: usize,
        exclusive: bool,
    },
}

/// What a folio's mapping says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    /// Read in, mapped by nobody yet.
    New,
    /// Somebody's own.
    Anon,
    Node,
    /// Merged, without node.
    Nodeless,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Folio {
    content: Content,
    key: Key,
    /// In the swap cache for this slot.
    cached: Option<usize>,
    locked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fault {
    None,
    /// The entry is a node's.
    Found {
        folio: usize,
        slot: usize,
        off: bool,
    },
    /// The folio is locked. Is it swapoff?
    Locked {
        folio: usize,
        slot: usize,
        off: bool,
    },
    /// The first half of the conditions hold; was the mapping a sharer?
    Half {
        folio: usize,
        slot: usize,
        off: bool,
        registered: bool,
    },
    /// Map the folio, or a copy.
    Answered {
        folio: usize,
        slot: usize,
        off: bool,
        copy: bool,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    ptes: [Pte; PROCESSES],
    /// What each process has written last.
    expected: [Content; PROCESSES],
    mergeable: [bool; PROCESSES],
    folios: [Option<Folio>; FOLIOS],
    slots: [Option<Content>; SLOTS],
    /// `NodeState::entry`.
    entry: Option<usize>,
    /// The first process is a sharer. The second is found through it unless it has moved.
    is_sharer: bool,
    moved: bool,
    active: bool,
    key_taken: bool,
    dissolved: bool,
    /// The node has no sharers and was freed.
    freed: bool,
    faults: [Fault; PROCESSES],
    /// Writes and the like that may still come.
    left: u8,
    /// A swap-in has mapped the node's page where no walk finds it.
    strange: bool,
    /// A swap-in has given a mapping that is not mergeable the node's page.
    unwanted: bool,
    /// A swap-in forgot an entry that was right.
    forgot: bool,
    revived: bool,
    reused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    WriteMerged(usize, Content),
    WriteOwn(usize, Content),
    ReclaimMerged(usize),
    ReclaimOwn(usize, usize),
    DropFolio(usize),
    Lock(usize, bool),
    Find(usize),
    First(usize),
    Second(usize),
    Map(usize),
    Merge(usize),
    Reap,
    Unmergeable(usize),
    Fork,
    Move,
    Zap(usize),
    Deactivate,
    TakeKey,
    Dissolve,
}

/// What may happen: all of it at once would be too many states.
#[derive(Clone, Copy)]
struct Revive {
    without: Without,
    /// Writes, forks, reclaim and the like.
    events: u8,
    /// A third sharer keeps the node's page in memory (mlock).
    pinned: bool,
    hands_back: bool,
    moves: bool,
}

/// A page that stays, slots that are reused.
const REUSE: Revive = Revive {
    without: Without::Nothing,
    events: 6,
    pinned: true,
    hands_back: false,
    moves: false,
};

/// All goes to swap and comes back.
const SWAP: Revive = Revive {
    events: 5,
    pinned: false,
    ..REUSE
};

/// Mappings that move, are unmerged, or are no sharer's any more.
const MOVES: Revive = Revive {
    events: 3,
    moves: true,
    ..SWAP
};

/// Handed back meanwhile.
const HANDS_BACK: Revive = Revive {
    events: 4,
    hands_back: true,
    ..SWAP
};

impl Revive {
    fn without(self, without: Without) -> Self {
        Self { without, ..self }
    }

    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    fn new_folio(
        s: &mut State,
        content: Content,
        key: Key,
        cached: Option<usize>,
    ) -> Option<usize> {
        let free = s.folios.iter().position(Option::is_none)?;
        s.folios[free] = Some(Folio {
            content,
            key,
            cached,
            locked: false,
        });
        Some(free)
    }

    fn mappers(&self, s: &State, folio: usize) -> usize {
        let maps = |pte: &&Pte| matches!(pte, Pte::Page { folio: f, .. } if *f == folio);
        s.ptes.iter().filter(maps).count() + usize::from(self.pinned && folio == 0)
    }

    fn node_folio(s: &State) -> Option<usize> {
        let is_nodes = |f: &Option<Folio>| f.is_some_and(|f| f.key == Key::Node);
        s.folios.iter().position(is_nodes)
    }

    /// Would a reverse walk find this process's mapping?
    fn is_found(s: &State, who: usize) -> bool {
        s.is_sharer && (who == 0 || !s.moved)
    }

    /// Frees slots that nothing refers to.
    fn tidy(&self, s: &mut State) {
        for slot in 0..SLOTS {
            let in_pte = s
                .ptes
                .iter()
                .any(|pte| matches!(pte, Pte::Swap { slot: e, .. } if *e == slot));
            let busy = s
                .folios
                .iter()
                .flatten()
                .any(|f| f.cached == Some(slot) && f.locked);
            if !in_pte && !busy {
                s.slots[slot] = None;
                for folio in s.folios.iter_mut().flatten() {
                    if folio.cached == Some(slot) {
                        folio.cached = None;
                    }
                }
            }
        }
        for folio in 0..FOLIOS {
            let Some(f) = s.folios[folio] else { continue };
            if f.cached.is_none() && !f.locked && self.mappers(s, folio) == 0 {
                s.folios[folio] = None;
            }
        }
    }

    fn write(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::WriteMerged(who, content) => {
                let Pte::Page { folio, exclusive } = s.ptes[who] else {
                    return None;
                };
                let key = s.folios[folio]?.key;
                (!exclusive && key != Key::New).then_some(())?;
                let copy = Self::new_folio(s, content, Key::Anon, None)?;
                s.ptes[who] = Pte::Page {
                    folio: copy,
                    exclusive: true,
                };
                s.expected[who] = content;
            }
            Step::WriteOwn(who, content) => {
                let Pte::Page { folio, exclusive } = s.ptes[who] else {
                    return None;
                };
                let page = s.folios[folio].as_mut()?;
                (exclusive && page.content != content && page.cached.is_none()).then_some(())?;
                page.content = content;
                s.expected[who] = content;
            }
            _ => return None,
        }
        s.left = s.left.checked_sub(1)?;
        Some(())
    }

    fn reclaim(&self, s: &mut State, step: Step) -> Option<()> {
        let slot = match step {
            Step::ReclaimMerged(slot) | Step::ReclaimOwn(slot, _) => slot,
            _ => return None,
        };
        let folio = match step {
            Step::ReclaimMerged(_) => Self::node_folio(s)?,
            Step::ReclaimOwn(_, who) => match s.ptes[who] {
                Pte::Page { folio, .. } => folio,
                _ => return None,
            },
            _ => return None,
        };
        let page = s.folios[folio]?;
        let is_merged = matches!(step, Step::ReclaimMerged(_));
        (!page.locked && is_merged == (page.key == Key::Node)).then_some(())?;
        (is_merged || page.key == Key::Anon).then_some(())?;
        match page.cached {
            Some(cached) => (cached == slot).then_some(())?,
            None => {
                s.slots[slot].is_none().then_some(())?;
                s.slots[slot] = Some(page.content);
                s.folios[folio].as_mut()?.cached = Some(slot);
            }
        }
        if is_merged {
            s.entry = Some(slot);
        } else {
            s.reused |= s.entry == Some(slot);
        }
        for who in 0..PROCESSES {
            if let Pte::Page {
                folio: f,
                exclusive,
            } = s.ptes[who]
            {
                if f == folio && (!is_merged || Self::is_found(s, who)) {
                    s.ptes[who] = Pte::Swap {
                        slot,
                        // What was merged never is; what one maps alone always.
                        exclusive: exclusive && !is_merged,
                    };
                }
            }
        }
        s.left = s.left.checked_sub(1)?;
        Some(())
    }

    /// The answer of `swapin::decide` to a folio that is in a rmap already.
    fn known(&self, s: &mut State, who: usize, folio: usize) -> bool {
        match s.folios[folio].map(|f| f.key) {
            Some(Key::Node) => {
                let ours = s.mergeable[who]
                    && (Self::is_found(s, who) || !self.has(Without::SharerOfMerged));
                !ours
            }
            // An own page that both map is found by either's rmap.
            Some(Key::Anon) => false,
            _ => true,
        }
    }

    fn waits(&self, s: &State, slot: usize) -> bool {
        s.active && s.entry == Some(slot) && s.is_sharer
    }

    /// What `swapin::choose` and `entries::find` make of the folio.
    fn find(&self, s: &mut State, who: usize) -> Option<()> {
        let Fault::Locked { folio, slot, off } = s.faults[who] else {
            return None;
        };
        s.faults[who] = if s.folios[folio]?.key != Key::New {
            let copy = self.known(s, who, folio);
            Fault::Answered {
                folio,
                slot,
                off,
                copy,
            }
        } else if s.entry == Some(slot) {
            Fault::Found { folio, slot, off }
        } else {
            Fault::Answered {
                folio,
                slot,
                off,
                copy: false,
            }
        };
        Some(())
    }

    fn first(&self, s: &mut State, who: usize) -> Option<()> {
        let Fault::Found { folio, slot, off } = s.faults[who] else {
            return None;
        };
        let page = s.folios[folio]?;
        let pte = s.ptes[who];
        let is_there = matches!(pte, Pte::Swap { slot: e, .. } if e == slot);
        let exclusive = matches!(pte, Pte::Swap { slot: e, exclusive: true } if e == slot);
        let is_nodes = is_there || !self.has(Without::Entry);
        let wrong = exclusive && self.has(Without::Exclusive);
        let elsewhere = Self::node_folio(s).is_some() && self.has(Without::NoOtherPage);
        let other = page.content != MERGED && self.has(Without::Hash);
        let mut copy = false;
        if is_nodes && (wrong || (self.waits(s, slot) && (elsewhere || other))) {
            // `entries::forget_if`.
            if s.entry == Some(slot) || !self.has(Without::ForgetIf) {
                s.forgot |= s.entry.is_some_and(|e| e != slot);
                s.entry = None;
            }
        } else if is_nodes && self.waits(s, slot) {
            if s.mergeable[who] || !self.has(Without::Mergeable) {
                s.faults[who] = Fault::Half {
                    folio,
                    slot,
                    off,
                    registered: who == 0 && s.is_sharer,
                };
                return Some(());
            }
            copy = true;
        }
        s.faults[who] = Fault::Answered {
            folio,
            slot,
            off,
            copy,
        };
        Some(())
    }

    fn second(&self, s: &mut State, who: usize) -> Option<()> {
        let Fault::Half {
            folio,
            slot,
            off,
            registered,
        } = s.faults[who]
        else {
            return None;
        };
        let answer = |copy| Fault::Answered {
            folio,
            slot,
            off,
            copy,
        };
        let active = s.active || !self.has(Without::ActiveAgain);
        let waits = (s.entry == Some(slot) && s.is_sharer) || !self.has(Without::SharersAgain);
        let other = Self::node_folio(s).is_some() && self.has(Without::NoOtherPage);
        if !active || !waits || other {
            s.faults[who] = answer(false);
        } else if !registered && !Self::is_found(s, who) && self.has(Without::Sharer) {
            s.faults[who] = answer(true);
        } else {
            s.folios[folio].as_mut()?.key = Key::Node;
            s.revived = true;
            s.faults[who] = answer(false);
        }
        Some(())
    }

    fn map(&self, s: &mut State, who: usize) -> Option<()> {
        let Fault::Answered {
            folio,
            slot,
            off,
            copy,
        } = s.faults[who]
        else {
            return None;
        };
        let page = s.folios[folio]?;
        if let Pte::Swap { slot: e, exclusive } = s.ptes[who] {
            if e == slot && copy {
                let copied = Self::new_folio(s, page.content, Key::Anon, None)?;
                s.ptes[who] = Pte::Page {
                    folio: copied,
                    exclusive: true,
                };
            } else if e == slot {
                if page.key == Key::New {
                    s.folios[folio].as_mut()?.key = Key::Anon;
                }
                if page.key == Key::Node {
                    s.strange |= !Self::is_found(s, who);
                    s.unwanted |= !s.mergeable[who];
                }
                s.ptes[who] = Pte::Page {
                    folio,
                    // do_swap_page() does not believe it of a merged page, unuse_pte() does.
                    exclusive: exclusive && (off || page.key != Key::Node),
                };
            }
        }
        s.folios[folio].as_mut()?.locked = false;
        s.faults[who] = Fault::None;
        Some(())
    }

    /// `Node::part` and `Node::try_free`: both take the lock of the node's page, if there is one.
    fn leave(&self, s: &mut State) -> Option<()> {
        let folio = Self::node_folio(s);
        if let Some(folio) = folio {
            (!s.folios[folio]?.locked).then_some(())?;
        }
        s.is_sharer = self.pinned && !s.dissolved;
        match folio {
            _ if s.is_sharer => {}
            // It stays until the scanner comes by.
            Some(folio) if self.mappers(s, folio) > 0 => {}
            folio => {
                if let Some(folio) = folio {
                    s.folios[folio].as_mut()?.key = Key::Nodeless;
                }
                s.entry = None;
                s.freed = true;
            }
        }
        Some(())
    }

    fn other(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::DropFolio(folio) => {
                let page = s.folios[folio]?;
                let can = page.cached.is_some() && !page.locked && self.mappers(s, folio) == 0;
                can.then_some(())?;
                s.folios[folio] = None;
            }
            Step::Lock(who, off) => {
                let Pte::Swap { slot, .. } = s.ptes[who] else {
                    return None;
                };
                (s.faults[who] == Fault::None).then_some(())?;
                let cached = s
                    .folios
                    .iter()
                    .position(|f| f.is_some_and(|f| f.cached == Some(slot)));
                let folio = match cached {
                    Some(folio) => folio,
                    None => {
                        let content = s.slots[slot]?;
                        Self::new_folio(s, content, Key::New, Some(slot))?
                    }
                };
                let page = s.folios[folio].as_mut()?;
                (!page.locked).then_some(())?;
                page.locked = true;
                s.faults[who] = Fault::Locked { folio, slot, off };
            }
            Step::Merge(who) => {
                let node = Self::node_folio(s)?;
                let Pte::Page { folio, .. } = s.ptes[who] else {
                    return None;
                };
                let page = s.folios[folio]?;
                let can = s.active
                    && s.mergeable[who]
                    && who == 0
                    && page.key == Key::Anon
                    && !page.locked
                    && page.content == s.folios[node]?.content
                    && !s.folios[node]?.locked;
                can.then_some(())?;
                s.ptes[who] = Pte::Page {
                    folio: node,
                    exclusive: false,
                };
                s.is_sharer = true;
            }
            Step::Reap => {
                s.is_sharer.then_some(())?;
                let is_member = match s.ptes[0] {
                    Pte::Page { folio, .. } => s.folios[folio]?.key == Key::Node,
                    Pte::Swap { slot, .. } => s.entry == Some(slot),
                    Pte::None => false,
                };
                (!is_member).then_some(())?;
                self.leave(s)?;
            }
            Step::Unmergeable(who) => {
                (self.moves && s.mergeable[who]).then_some(())?;
                // It holds the mmap lock for writing: no fault is on its way.
                (s.faults[who] == Fault::None).then_some(())?;
                if let Pte::Page { folio, .. } = s.ptes[who] {
                    let page = s.folios[folio]?;
                    if page.key == Key::Node {
                        let copy = Self::new_folio(s, page.content, Key::Anon, None)?;
                        s.ptes[who] = Pte::Page {
                            folio: copy,
                            exclusive: true,
                        };
                    }
                }
                s.mergeable[who] = false;
            }
            Step::Move => {
                // mremap() unmerges what is present, and moves swap entries as they are.
                let is_there = match s.ptes[1] {
                    Pte::Page { folio, .. } => s.folios[folio]?.key == Key::Node,
                    _ => false,
                };
                (self.moves && !s.moved && !is_there && s.faults[1] == Fault::None).then_some(())?;
                s.moved = true;
            }
            Step::Zap(who) => {
                (s.ptes[who] != Pte::None).then_some(())?;
                s.left = s.left.checked_sub(1)?;
                s.ptes[who] = Pte::None;
            }
            Step::Fork => {
                // It waits for the parent's faults, and the child has none yet.
                let can = s.faults == [Fault::None; PROCESSES] && s.ptes[0] != Pte::None;
                can.then_some(())?;
                s.left = s.left.checked_sub(1)?;
                s.ptes[0] = match s.ptes[0] {
                    Pte::None => Pte::None,
                    Pte::Page { folio, .. } => Pte::Page {
                        folio,
                        exclusive: false,
                    },
                    Pte::Swap { slot, .. } => Pte::Swap {
                        slot,
                        exclusive: false,
                    },
                };
                s.ptes[1] = s.ptes[0];
                s.expected[1] = s.expected[0];
                s.mergeable[1] = s.mergeable[0];
                s.moved = false;
            }
            Step::Deactivate => {
                (self.hands_back && s.active).then_some(())?;
                s.active = false;
            }
            Step::TakeKey => {
                (!s.active && !s.key_taken).then_some(())?;
                if let Some(folio) = Self::node_folio(s) {
                    let page = s.folios[folio].as_mut()?;
                    (!page.locked).then_some(())?;
                    page.key = Key::Nodeless;
                }
                s.key_taken = true;
            }
            Step::Dissolve => {
                (s.key_taken && !s.dissolved).then_some(())?;
                s.entry = None;
                self.leave(s)?;
                s.dissolved = true;
            }
            _ => return None,
        }
        Some(())
    }
}

impl Protocol for Revive {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            ptes: [Pte::Page {
                folio: 0,
                exclusive: false,
            }; PROCESSES],
            expected: [MERGED; PROCESSES],
            mergeable: [true; PROCESSES],
            folios: [
                Some(Folio {
                    content: MERGED,
                    key: Key::Node,
                    cached: None,
                    locked: false,
                }),
                None,
                None,
            ],
            slots: [None; SLOTS],
            entry: None,
            is_sharer: true,
            moved: false,
            active: true,
            key_taken: false,
            dissolved: false,
            freed: false,
            faults: [Fault::None; PROCESSES],
            left: self.events,
            strange: false,
            unwanted: false,
            forgot: false,
            revived: false,
            reused: false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Reap,
            Step::Fork,
            Step::Move,
            Step::Deactivate,
            Step::TakeKey,
            Step::Dissolve,
        ];
        for who in 0..PROCESSES {
            for content in [false, true] {
                steps.push(Step::WriteMerged(who, content));
                steps.push(Step::WriteOwn(who, content));
            }
            for slot in 0..SLOTS {
                steps.push(Step::ReclaimOwn(slot, who));
            }
            steps.extend([
                Step::Lock(who, false),
                Step::Lock(who, true),
                Step::Find(who),
                Step::First(who),
                Step::Second(who),
                Step::Map(who),
                Step::Merge(who),
                Step::Unmergeable(who),
                Step::Zap(who),
            ]);
        }
        steps.extend((0..SLOTS).map(Step::ReclaimMerged));
        steps.extend((0..FOLIOS).map(Step::DropFolio));
        steps
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::WriteMerged(..) | Step::WriteOwn(..) => self.write(s, step),
            Step::ReclaimMerged(_) | Step::ReclaimOwn(..) => self.reclaim(s, step),
            Step::Find(who) => self.find(s, who),
            Step::First(who) => self.first(s, who),
            Step::Second(who) => self.second(s, who),
            Step::Map(who) => self.map(s, who),
            _ => self.other(s, step),
        }?;
        self.tidy(s);
        Some(())
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(CONTENT, |_, s: &State| {
                (0..PROCESSES).all(|who| match s.ptes[who] {
                    Pte::None => true,
                    Pte::Page { folio, .. } => {
                        s.folios[folio].is_some_and(|f| f.content == s.expected[who])
                    }
                    Pte::Swap { slot, .. } => s.slots[slot] == Some(s.expected[who]),
                })
            }),
            Property::always(ALONE, |m: &Checked<Self>, s: &State| {
                (0..PROCESSES).all(|who| match s.ptes[who] {
                    Pte::Page {
                        folio,
                        exclusive: true,
                    } => {
                        m.0.mappers(s, folio) == 1
                            && s.folios[folio].is_some_and(|f| f.key != Key::Node)
                    }
                    _ => true,
                })
            }),
            Property::always(ONE, |_, s: &State| {
                let nodes = |f: &&Folio| f.key == Key::Node;
                s.folios.iter().flatten().filter(nodes).count() <= 1
            }),
            Property::always(BYTES, |_, s: &State| {
                let mut nodes = s.folios.iter().flatten().filter(|f| f.key == Key::Node);
                nodes.all(|f| f.content == MERGED)
            }),
            Property::always(STRANGE, |_, s: &State| !s.strange),
            Property::always(UNWANTED, |_, s: &State| !s.unwanted),
            Property::always(DISSOLVED, |_, s: &State| {
                !s.dissolved || Self::node_folio(s).is_none()
            }),
            Property::always(FREED, |_, s: &State| {
                !s.freed || Self::node_folio(s).is_none()
            }),
            Property::always(FORGOT, |_, s: &State| !s.forgot),
            Property::sometimes("comes back merged", |m: &Checked<Self>, s: &State| {
                s.revived || m.0.pinned
            }),
            Property::sometimes("a slot is reused", |m: &Checked<Self>, s: &State| {
                s.reused || m.0.events < 4
            }),
            Property::sometimes("handed back", |m: &Checked<Self>, s: &State| {
                s.dissolved || !m.0.hands_back
            }),
        ]
    }
}

const CONTENT: &str = "every process reads what it wrote last";
const ALONE: &str = "what may be written in place is mapped once, and no node's";
const ONE: &str = "one folio at most is the node's page";
const BYTES: &str = "the node's page has the node's bytes";
const STRANGE: &str = "no swap-in maps the node's page where no walk finds it";
const UNWANTED: &str = "no swap-in gives the node's page to who has called MADV_UNMERGEABLE";
const DISSOLVED: &str = "after handing back no folio has a node";
const FREED: &str = "no folio names a node that was freed";
const FORGOT: &str = "no entry is forgotten but the one found wrong";

#[test]
fn what_comes_back_is_right() {
    holds("revive, slots reused", REUSE);
    holds("revive, all in swap", SWAP);
    holds("revive, mappings move", MOVES);
    holds("revive, handed back", HANDS_BACK);
}

#[test]
fn each_condition_of_coming_back_is_needed() {
    for (without, events, violated) in [
        (Without::Exclusive, SWAP, ALONE),
        (Without::Sharer, MOVES, STRANGE),
        (Without::SharerOfMerged, MOVES, STRANGE),
        (Without::NoOtherPage, REUSE, ONE),
        (Without::Mergeable, MOVES, UNWANTED),
        (Without::Hash, SWAP, BYTES),
        (Without::ActiveAgain, HANDS_BACK, DISSOLVED),
        (Without::SharersAgain, SWAP, FREED),
        (Without::ForgetIf, REUSE, FORGOT),
    ] {
        let name = format!("revive without {without:?}");
        is_violated(&name, events.without(without), violated);
    }
}

/// An entry that is gone from the page table was exclusive, and then nobody has it any more, or was not. And the fault looks
/// at it again before it maps anything.
#[test]
fn condition_1_alone_keeps_nothing_out() {
    holds("revive without Entry", SWAP.without(Without::Entry));
}

// SPDX-License-Identifier: GPL-2.0

//! Life and death of a node: its page comes, goes and moves without telling it, and nobody may follow a key to a node, or a
//! list to a sharer, that is freed.
//!
//! A node with one sharer, three frames. What a step stands for:
//!
//! | step | code |
//! | --- | --- |
//! | `Detach`, `Look…`, `Unlink` | `Node::part` with `Node::lock_page`: the keyhole (`Node::folio`), the folio's lock, the key again, then the list under the node's lock |
//! | `Free…` | `Node::try_free`, the same page lock again |
//! | `Walk…` | `rmap::walk`: the key of a locked folio, then the node's list |
//! | `Migrate…` | migrate_folio(): the key is on the new folio, then `rmap::migrate` |
//! | `Unmap`, `FreeFrame` | reclaim: the last mapping goes, the folio is freed and its mapping cleared |
//! | `Read`, `Revive`, `Map` | do_swap_page(): any free frame gets the page, `entries::find`; `swapin::revive`; the fault goes on |
//! | `Put…` | references to the node: `Node::put` |

use stateright::Property;

use crate::explore::{holds, is_violated, Checked, Protocol};

/// A rule of the code that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// The keyhole is looked through under the node's lock.
    LookLocked,
    /// `lock_page` looks at the key again when it has the folio's lock.
    KeyAgain,
    /// `detach` asks again when a page has appeared meanwhile.
    PageAppeared,
    /// `detach` changes the list under the folio's lock too.
    ListLocked,
    /// `try_free` takes the key off an unmapped page.
    TakeKey,
    /// `try_free` keeps a node that is still mapped.
    MappedStays,
    /// The swap-in hook gives no page to a node without sharers.
    HasSharers,
    /// It looks at that under the node's lock.
    Reference,
    /// Migration changes frame and key under the node's lock.
    MigrateLocked,
}

const FRAMES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    /// The frame is free.
    Free,
    /// A folio without key.
    Plain,
    Node,
    Nodeless,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Frame {
    key: Key,
    mapped: bool,
    locked: bool,
    /// References besides that of the mapping: who has one keeps the frame from being freed.
    refs: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd)]
enum For {
    Detach,
    Free,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Reaper {
    Idle,
    /// Looks for the page.
    Looking(For),
    /// Has read the frame without the lock (rule left out).
    HasPfn(For, usize),
    /// That frame is not the node's (rule left out).
    NotThere(For, usize),
    /// Has a reference.
    Referenced(For, usize),
    /// Has the folio's lock, or found that there is none.
    Page(For, Option<usize>),
    Unlinked(Option<usize>),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Walker {
    Idle,
    Locked(usize),
    /// Has found the node by the key.
    AtNode(usize),
    /// Is at the sharer.
    AtSharer(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Migration {
    Idle,
    Begun(usize, usize),
    KeyCopied(usize, usize),
    /// The frame is told, the old key is still there (rule left out).
    Told(usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Hook {
    Idle,
    /// Read into a frame; has it found the node?
    Read(usize, bool),
    Answered(usize),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    frames: [Frame; FRAMES],
    /// `NodeState::pfn`.
    pfn: Option<usize>,
    /// The node remembers its entry, and the entry has its page.
    entry: bool,
    /// The sharer is on the list.
    listed: bool,
    sharer_freed: bool,
    /// Out of the trees; only references keep it.
    released: bool,
    refs: u8,
    reaper: Reaper,
    walker: Walker,
    migration: Migration,
    hook: Hook,
    left: u8,
    revived: bool,
    /// Somebody followed a pointer to what was freed.
    stale: bool,
    kept_mapped: bool,
    same_frame: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Detach,
    Look,
    Look2,
    Look3,
    Lock,
    Unlink,
    Free,
    Again,
    WalkLock(usize),
    WalkKey,
    WalkList,
    WalkEnd,
    MigrateBegin(usize, usize),
    MigrateKey,
    MigrateTell,
    MigrateEnd,
    Unmap(usize),
    FreeFrame(usize),
    Read(usize),
    Revive,
    Map,
}

struct Keyhole(Without);

impl Keyhole {
    fn has(&self, rule: Without) -> bool {
        self.0 != rule
    }

    fn is_freed(s: &State) -> bool {
        s.refs == 0
    }

    /// `swapksm_keyhole()`: a reference, if the frame is the node's page.
    fn keyhole(s: &mut State, frame: usize) -> bool {
        let is_nodes = s.frames[frame].key == Key::Node;
        s.frames[frame].refs += u8::from(is_nodes);
        is_nodes
    }

    /// Locks a folio without owner.
    fn lock(s: &mut State, frame: usize) -> Option<()> {
        (!s.frames[frame].locked).then_some(())?;
        s.frames[frame].locked = true;
        Some(())
    }

    fn unlock(s: &mut State, frame: usize) {
        s.frames[frame].locked = false;
        s.frames[frame].refs -= 1;
    }

    fn reap(&self, s: &mut State, step: Step) -> Option<()> {
        s.reaper = match (step, s.reaper) {
            (Step::Detach, Reaper::Idle) if s.listed => Reaper::Looking(For::Detach),
            // The scanner's `prune`: a node without sharers that was kept because it was mapped.
            (Step::Again, Reaper::Done) if !s.released => Reaper::Looking(For::Free),
            (Step::Look, Reaper::Looking(why)) => match s.pfn {
                None => Reaper::Page(why, None),
                Some(frame) if !self.has(Without::LookLocked) => Reaper::HasPfn(why, frame),
                Some(frame) => {
                    if Self::keyhole(s, frame) {
                        Reaper::Referenced(why, frame)
                    } else {
                        s.pfn = None;
                        Reaper::Page(why, None)
                    }
                }
            },
            // As mm/ksm.c does it, without the node's lock.
            (Step::Look2, Reaper::HasPfn(why, frame)) => {
                if Self::keyhole(s, frame) {
                    Reaper::Referenced(why, frame)
                } else {
                    Reaper::NotThere(why, frame)
                }
            }
            (Step::Look3, Reaper::NotThere(why, frame)) => {
                if s.pfn == Some(frame) {
                    s.pfn = None;
                    Reaper::Page(why, None)
                } else {
                    Reaper::Looking(why)
                }
            }
            (Step::Unlink, Reaper::Referenced(For::Detach, frame))
                if !self.has(Without::ListLocked) =>
            {
                s.frames[frame].refs -= 1;
                s.listed = false;
                Reaper::Unlinked(None)
            }
            (Step::Lock, Reaper::Referenced(why, frame)) => {
                Self::lock(s, frame)?;
                if s.frames[frame].key != Key::Node && self.has(Without::KeyAgain) {
                    Self::unlock(s, frame);
                    Reaper::Looking(why)
                } else {
                    Reaper::Page(why, Some(frame))
                }
            }
            (Step::Unlink, Reaper::Page(For::Detach, page)) => {
                if page.is_none() && s.pfn.is_some() && self.has(Without::PageAppeared) {
                    Reaper::Looking(For::Detach)
                } else {
                    s.listed = false;
                    Reaper::Unlinked(page)
                }
            }
            (Step::Unlink, Reaper::Unlinked(page)) => {
                // The guards go, then the sharer's memory.
                if let Some(frame) = page {
                    Self::unlock(s, frame);
                }
                s.sharer_freed = true;
                Reaper::Looking(For::Free)
            }
            (Step::Free, Reaper::Page(For::Free, page)) => {
                if let Some(frame) = page {
                    if s.frames[frame].mapped && self.has(Without::MappedStays) {
                        s.kept_mapped = true;
                        Self::unlock(s, frame);
                        s.reaper = Reaper::Done;
                        return Some(());
                    }
                    if self.has(Without::TakeKey) && s.frames[frame].key == Key::Node {
                        s.frames[frame].key = Key::Nodeless;
                    }
                    Self::unlock(s, frame);
                }
                s.entry = false;
                s.released = true;
                s.refs -= 1;
                Reaper::Done
            }
            _ => return None,
        };
        Some(())
    }

    fn walk(&self, s: &mut State, step: Step) -> Option<()> {
        s.walker = match (step, s.walker) {
            (Step::WalkLock(frame), Walker::Idle)
                if s.frames[frame].key == Key::Node && s.frames[frame].mapped && s.left > 0 =>
            {
                Self::lock(s, frame)?;
                s.left -= 1;
                s.frames[frame].refs += 1;
                Walker::Locked(frame)
            }
            (Step::WalkKey, Walker::Locked(frame)) => {
                if s.frames[frame].key == Key::Node {
                    s.stale |= Self::is_freed(s);
                    Walker::AtNode(frame)
                } else {
                    Self::unlock(s, frame);
                    Walker::Idle
                }
            }
            (Step::WalkList, Walker::AtNode(frame)) => {
                s.stale |= Self::is_freed(s);
                if s.listed {
                    Walker::AtSharer(frame)
                } else {
                    Self::unlock(s, frame);
                    Walker::Idle
                }
            }
            (Step::WalkEnd, Walker::AtSharer(frame)) => {
                s.stale |= s.sharer_freed;
                Self::unlock(s, frame);
                Walker::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn migrate(&self, s: &mut State, step: Step) -> Option<()> {
        s.migration = match (step, s.migration) {
            (Step::MigrateBegin(old, new), Migration::Idle) => {
                let can = s.frames[old].key == Key::Node
                    && s.frames[old].refs == 0
                    && s.frames[new].key == Key::Free
                    && s.left > 0;
                can.then_some(())?;
                Self::lock(s, old)?;
                s.left -= 1;
                s.frames[old].refs += 1;
                s.frames[new] = Frame {
                    key: Key::Plain,
                    mapped: false,
                    locked: true,
                    refs: 1,
                };
                Migration::Begun(old, new)
            }
            (Step::MigrateKey, Migration::Begun(old, new)) => {
                // Who has got a reference meanwhile makes it fail.
                if s.frames[old].refs > 1 {
                    s.frames[new].key = Key::Free;
                    Self::unlock(s, new);
                    Self::unlock(s, old);
                    Migration::Idle
                } else {
                    s.frames[new].key = Key::Node;
                    Migration::KeyCopied(old, new)
                }
            }
            (Step::MigrateTell, Migration::KeyCopied(old, new)) => {
                s.frames[old].key = Key::Nodeless;
                if self.has(Without::MigrateLocked) {
                    s.pfn = Some(new);
                }
                Migration::Told(old, new)
            }
            (Step::MigrateEnd, Migration::Told(old, new)) => {
                s.pfn = Some(new);
                s.frames[new].mapped = s.frames[old].mapped;
                s.frames[old].mapped = false;
                Self::unlock(s, new);
                Self::unlock(s, old);
                Migration::Idle
            }
            _ => return None,
        };
        Some(())
    }

    fn swap(&self, s: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Unmap(frame) => {
                let f = s.frames[frame];
                let can = f.mapped && f.key == Key::Node && !f.locked && s.left > 0;
                can.then_some(())?;
                s.left -= 1;
                // A walk has unmapped it, and remembered the entry, if the node was there still.
                s.entry = !s.released;
                s.frames[frame].mapped = false;
            }
            Step::FreeFrame(frame) => {
                let f = s.frames[frame];
                let can = f.key != Key::Free && !f.mapped && !f.locked && f.refs == 0;
                can.then_some(())?;
                s.frames[frame].key = Key::Free;
            }
            Step::Read(frame) => {
                let can = s.hook == Hook::Idle
                    && s.frames[frame].key == Key::Free
                    && s.left > 0
                    // It is in the swap cache otherwise.
                    && !s.frames.iter().any(|f| f.key == Key::Node);
                can.then_some(())?;
                s.left -= 1;
                s.frames[frame] = Frame {
                    key: Key::Plain,
                    mapped: false,
                    locked: true,
                    refs: 1,
                };
                if s.entry && self.has(Without::Reference) {
                    s.refs += 1;
                }
                s.hook = Hook::Read(frame, s.entry);
            }
            Step::Revive => {
                let Hook::Read(frame, found) = s.hook else {
                    return None;
                };
                if found {
                    s.stale |= Self::is_freed(s);
                    let has_page = s.pfn.is_some_and(|pfn| s.frames[pfn].key == Key::Node);
                    let has_sharers = s.listed || !self.has(Without::HasSharers);
                    if !has_page && has_sharers && s.entry {
                        s.same_frame |= s.pfn == Some(frame);
                        s.pfn = Some(frame);
                        s.frames[frame].key = Key::Node;
                        s.revived = true;
                    }
                    if self.has(Without::Reference) {
                        s.refs -= 1;
                    }
                }
                s.hook = Hook::Answered(frame);
            }
            Step::Map => {
                let Hook::Answered(frame) = s.hook else {
                    return None;
                };
                s.frames[frame].mapped = true;
                Self::unlock(s, frame);
                s.hook = Hook::Idle;
            }
            _ => return None,
        }
        Some(())
    }
}

impl Protocol for Keyhole {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let free = Frame {
            key: Key::Free,
            mapped: false,
            locked: false,
            refs: 0,
        };
        State {
            frames: [
                Frame {
                    key: Key::Node,
                    mapped: true,
                    ..free
                },
                free,
                free,
            ],
            pfn: Some(0),
            entry: false,
            listed: true,
            sharer_freed: false,
            released: false,
            refs: 1,
            reaper: Reaper::Idle,
            walker: Walker::Idle,
            migration: Migration::Idle,
            hook: Hook::Idle,
            left: 7,
            revived: false,
            stale: false,
            kept_mapped: false,
            same_frame: false,
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::Detach,
            Step::Look,
            Step::Look2,
            Step::Look3,
            Step::Lock,
            Step::Unlink,
            Step::Free,
            Step::Again,
            Step::WalkKey,
            Step::WalkList,
            Step::WalkEnd,
            Step::MigrateKey,
            Step::MigrateTell,
            Step::MigrateEnd,
            Step::Revive,
            Step::Map,
        ];
        for frame in 0..FRAMES {
            steps.extend([
                Step::WalkLock(frame),
                Step::Unmap(frame),
                Step::FreeFrame(frame),
                Step::Read(frame),
            ]);
            let others = (0..FRAMES).filter(|new| *new != frame);
            steps.extend(others.map(|new| Step::MigrateBegin(frame, new)));
        }
        steps
    }

    fn step(&self, s: &mut State, step: Step) -> Option<()> {
        self.reap(s, step)
            .or_else(|| self.walk(s, step))
            .or_else(|| self.migrate(s, step))
            .or_else(|| self.swap(s, step))
    }

    fn rules() -> Vec<Property<Checked<Self>>> {
        vec![
            Property::always(STALE, |_, s: &State| !s.stale),
            Property::always(KEYS, |_, s: &State| {
                !s.released || s.frames.iter().all(|f| f.key != Key::Node)
            }),
            Property::always(KEPT, |_, s: &State| {
                let left = |f: &Frame| f.mapped && f.key == Key::Nodeless;
                s.migration != Migration::Idle || !s.frames.iter().any(left)
            }),
            Property::always(KNOWN, |_, s: &State| {
                let mut nodes = (0..FRAMES).filter(|f| s.frames[*f].key == Key::Node);
                nodes.all(|f| s.pfn == Some(f) || !matches!(s.migration, Migration::Idle))
            }),
            Property::sometimes("comes back", |_, s: &State| s.revived),
            Property::sometimes("comes back into its old frame", |_, s: &State| s.same_frame),
            Property::sometimes("is kept while mapped", |_, s: &State| s.kept_mapped),
            Property::sometimes("ends", |_, s: &State| s.released),
            Property::sometimes("moves", |_, s: &State| {
                s.migration == Migration::Idle
                    && s.frames[0].key == Key::Free
                    && !s.revived
                    && s.frames[1].key == Key::Node
            }),
        ]
    }
}

const STALE: &str = "nobody follows a pointer to a node or sharer that is freed";
const KEYS: &str = "no folio names a node that is released";
const KEPT: &str = "what is mapped keeps its node";
const KNOWN: &str = "a node knows its page, unless it is just moving";

#[test]
fn nodes_end_in_time() {
    holds("keyhole", Keyhole(Without::Nothing));
}

#[test]
fn each_rule_of_a_nodes_life_is_needed() {
    for (without, violated) in [
        (Without::LookLocked, KNOWN),
        (Without::KeyAgain, KEYS),
        (Without::PageAppeared, STALE),
        (Without::ListLocked, STALE),
        (Without::TakeKey, KEYS),
        (Without::MappedStays, KEPT),
        (Without::HasSharers, KEYS),
        (Without::Reference, STALE),
        (Without::MigrateLocked, KEYS),
    ] {
        let name = format!("keyhole without {without:?}");
        is_violated(&name, Keyhole(without), violated);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Whether races are about merged pages: what an operation is about is looked at right before it, now and then.

use crate::case::Outcome;
use crate::count::Count;
use crate::pagemap::{self, Entry, FLAG_KSM};
use crate::part::Part;
use crate::procfs;
use crate::sys::PAGE;

use super::race::Race;

/// One in so many operations is looked at: looking takes about as long as they do.
const ONE_IN: i64 = 8;
/// Operations that must have met what they are looked at for.
const LEAST: i64 = 3;

/// What operations met, whichever process does them.
#[derive(Clone, Copy)]
pub struct Look {
    one_in: i64,
    operations: Count,
    met: Count,
}

impl Look {
    /// The race fails unless some of the operations that are looked at met what `what` says.
    pub fn new(race: &mut Race<'_>, what: &str) -> Outcome<Look> {
        let (operations, met) = (Count::new()?, Count::new()?);
        race.needs_count(what, LEAST, met)?;
        Ok(Look {
            one_in: ONE_IN,
            operations,
            met,
        })
    }

    /// The same for operations that are slow and few: all are looked at.
    pub fn every_time(self) -> Look {
        Look { one_in: 1, ..self }
    }

    /// Whether it is this operation's turn to be looked at.
    fn turn(self) -> bool {
        self.operations.add(1);
        self.operations.get() % self.one_in == 0
    }

    /// The caller's next operation is about these pages of its own: is one of them merged?
    pub fn merged(self, part: &Part, pages: std::ops::Range<usize>) -> Outcome {
        let addr = part.region.addr() + pages.start * PAGE;
        self.merged_of(std::process::id() as i32, addr, pages.len())
    }

    /// The same of `pages` pages of any process's.
    pub fn merged_of(self, pid: i32, addr: usize, pages: usize) -> Outcome {
        self.any(pid, addr, pages, is_merged)
    }

    /// The caller's next operation is about these pages of its own: is one of them out?
    pub fn out(self, part: &Part, pages: std::ops::Range<usize>) -> Outcome {
        let addr = part.region.addr() + pages.start * PAGE;
        self.out_of(std::process::id() as i32, addr, pages.len())
    }

    /// The same of `pages` pages of any process's.
    pub fn out_of(self, pid: i32, addr: usize, pages: usize) -> Outcome {
        self.any(pid, addr, pages, |entry| Ok(is_out(entry)))
    }

    fn any(
        self,
        pid: i32,
        addr: usize,
        pages: usize,
        wanted: impl Fn(Entry) -> Outcome<bool>,
    ) -> Outcome {
        if !self.turn() {
            return Ok(());
        }
        for entry in pagemap::of(pid, addr, pages)? {
            if wanted(entry)? {
                self.met.add(1);
                break;
            }
        }
        Ok(())
    }
}

fn is_merged(entry: Entry) -> Outcome<bool> {
    match entry.frame() {
        Some(frame) => Ok(pagemap::flags(frame)? & FLAG_KSM != 0),
        None => Ok(false),
    }
}

/// Whether a page is in swap, or on its way there or back.
pub fn is_out(entry: Entry) -> bool {
    entry.swapped() && !entry.moving()
}

/// Whether any of these processes has merged pages now: for what is done to the whole machine.
pub fn any_merged(pids: &[i32]) -> Outcome<bool> {
    for pid in pids {
        if procfs::field(&format!("/proc/{pid}/smaps_rollup"), "KSM")? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

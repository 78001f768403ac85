// SPDX-License-Identifier: GPL-2.0

//! Steps that the swap cases have in common.

use std::fs;

use super::common::{merged_crowd, same};
use crate::case::{skip, Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;

/// Processes with equal merged pages in a control group of their own.
pub struct Crowd {
    /// The processes; they end before the group goes.
    pub sharers: Vec<Sharer>,
    group: Group,
    pages: usize,
}

impl Crowd {
    /// Starts `count` processes of `pages` equal pages, merged; the scanner is stopped afterwards.
    pub fn merged(bench: &Bench, count: usize, pages: usize) -> Outcome<Crowd> {
        device()?;
        let group = Group::enter("swap")?;
        let sharers = merged_crowd(bench, count, pages)?;
        bench.ksm.stop()?;
        Ok(Crowd {
            sharers,
            group,
            pages,
        })
    }

    /// All pages of all processes.
    pub fn all(&self) -> usize {
        self.sharers.len() * self.pages
    }

    /// Pushes everything out.
    pub fn push_out(&self) -> Outcome {
        self.push_out_to(self.all())
    }

    /// Pushes pages out until `goal` page-table entries name swap.
    pub fn push_out_to(&self, goal: usize) -> Outcome {
        wait::until(
            &format!("{goal} of {} pages are swapped out", self.all()),
            || {
                let out = sharer::swapped(&self.sharers)?;
                if out < goal {
                    let merged = (goal - out).div_ceil(self.sharers.len());
                    self.group.reclaim(merged.max(32) * PAGE)?;
                }
                let out = sharer::swapped(&self.sharers)?;
                Ok((out >= goal, out))
            },
        )
    }

    /// Lets every process compare its pages byte by byte, which brings them in.
    pub fn verify(&mut self) -> Outcome {
        sharer::verify(&mut self.sharers)
    }

    /// Ends all processes after a last comparison.
    pub fn finish(self) -> Outcome {
        sharer::finish(self.sharers)
    }
}

/// Name of the swap device in use; skips without one.
pub fn device() -> Outcome<String> {
    let swaps = fs::read_to_string("/proc/swaps").context("/proc/swaps")?;
    match swaps
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next())
    {
        Some(name) => Ok(name.to_owned()),
        None => skip("no swap is on"),
    }
}

/// Starts one more process of the same content, opened to merging.
pub fn newcomer(pages: usize) -> Outcome<Sharer> {
    Sharer::start(pages, same)
}

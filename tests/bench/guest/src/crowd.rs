// SPDX-License-Identifier: GPL-2.0

//! The workers of a run and what is done to all of them.

use anyhow::{bail, ensure, Result};

use crate::cgroup::Group;
use crate::region::Content;
use crate::sys::{self, PAGE};
use crate::worker::{Order, Worker};
use crate::{ksm, pagemap};

/// Passes after which equal pages must have been merged.
const PASSES: i64 = 12;

/// Workers in a control group of their own.
pub struct Crowd {
    // Before the group, which can go only when they have ended.
    /// The workers.
    pub workers: Vec<Worker>,
    group: Group,
}

impl Crowd {
    /// Starts workers, one after the other; each fills `pages` pages.
    pub fn start(count: usize, pages: usize, content: impl Fn(u64) -> Content) -> Result<Crowd> {
        let group = Group::new()?;
        let mut workers = Vec::new();
        for number in 0..count as u64 {
            workers.push(Worker::start(pages, content(number), |pid| group.add(pid))?);
        }
        Ok(Crowd { workers, group })
    }

    /// Has every worker carry out an order, in turn; the sum of the answers.
    pub fn order(&mut self, order: Order) -> Result<u64> {
        self.workers
            .iter_mut()
            .map(|worker| worker.order(order))
            .sum()
    }

    /// Every worker reads all its pages, in turn.
    pub fn read(&mut self) -> Result<()> {
        let wrong = self.order(Order::Read)?;
        ensure!(
            wrong == 0,
            "{wrong} pages held something else than was written to them"
        );
        Ok(())
    }

    /// Every worker compares all its bytes.
    pub fn verify(&mut self) -> Result<()> {
        let wrong = self.order(Order::Verify)?;
        ensure!(
            wrong == 0,
            "{wrong} pages held something else than was written to them"
        );
        Ok(())
    }

    /// Scans until the pages lie in `goal` frames, then stops scanning.
    pub fn merge(&self, goal: usize) -> Result<()> {
        let last = ksm::get("full_scans")? + PASSES;
        ksm::set("run", 1)?;
        loop {
            sys::pause(50);
            let frames = pagemap::places(&self.workers)?.frames;
            if frames <= goal {
                return ksm::set("run", 0);
            }
            if ksm::get("full_scans")? > last {
                bail!("after {PASSES} passes the pages lie in {frames} frames, not in {goal}");
            }
        }
    }

    /// Pushes every page out.
    pub fn push_out(&self) -> Result<()> {
        let all: usize = self.workers.iter().map(|worker| worker.pages).sum();
        let mut left = usize::MAX;
        for _ in 0..100 {
            let places = pagemap::places(&self.workers)?;
            left = all - places.swapped;
            if left == 0 {
                return Ok(());
            }
            self.group.reclaim(places.frames.max(32) * PAGE)?;
        }
        bail!("{left} of {all} pages are still in memory after 100 times asking for them to be reclaimed")
    }
}

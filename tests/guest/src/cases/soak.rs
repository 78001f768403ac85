// SPDX-License-Identifier: GPL-2.0

//! A long run of random operations on several processes, every page checked against a model, while swap is turned off
//! and on, memory reclaimed and compacted, and the knobs change.
//!
//! On the kernel's own KSM MADV_FREE is left out unless `SOAK_LAZYFREE` is in the environment: it loses pages there
//! within half a minute (`swap_lazyfree` tells how).

use std::time::{Duration, Instant};

use super::small_swap::Area;
use super::soak_model::Memory;
use super::{common, stress, swapping};
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::check;
use crate::content::Random;
use crate::sys::{is_errno, PAGE};
use crate::worker::Worker;

const PROCESSES: u64 = 6;
/// Time between two lines that tell how far it is.
const REPORT: Duration = Duration::from_secs(15);
/// Between a page and all of it.
const MOST_RECLAIMED: u64 = 1024;
/// What must be 0 when all processes have ended.
const EMPTY: &[&str] = &["pages_shared", "pages_sharing", "pages_unshared"];

struct Soak<'a> {
    bench: &'a Bench,
    random: Random,
    group: Group,
    area: Area,
    workers: Vec<Worker>,
    /// Processes started so far.
    started: u64,
    /// Operations of processes that have ended.
    done: u64,
}

/// The soak as a case, for that many seconds.
pub fn case(seconds: u64) -> Case {
    Case::new("soak", "random operations for a long time", run)
        .room(Room::Swap)
        .seconds(seconds + 600)
}

/// Goes on as long as stress cases shall; the operations of every process follow from the seed.
fn run(bench: &Bench) -> Outcome {
    let duration = Duration::from_secs(bench.stress_seconds);
    let mut soak = Soak {
        bench,
        random: Random::new(bench.seed),
        group: Group::enter("soak")?,
        area: Area::new(&swapping::device()?, true),
        workers: Vec::new(),
        started: 0,
        done: 0,
    };
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.set("pages_to_scan", 500)?;
    bench.ksm.start()?;
    for _ in 0..PROCESSES {
        soak.start()?;
    }
    let (begin, mut told) = (Instant::now(), Instant::now());
    let mut operations = 0;
    while begin.elapsed() < duration {
        operations = soak.done + stress::batch(&mut soak.workers)?;
        soak.meddle()?;
        if told.elapsed() >= REPORT {
            soak.report(begin.elapsed(), duration, operations)?;
            told = Instant::now();
        }
    }
    stress::end_all(std::mem::take(&mut soak.workers))?;
    soak.report(begin.elapsed(), duration, operations)?;
    bench.ksm.start()?;
    for file in EMPTY {
        bench
            .ksm
            .counter_becomes(file, 0)
            .context("after all processes have ended")?;
    }
    Ok(())
}

impl Soak<'_> {
    fn start(&mut self) -> Outcome {
        let seed = (self.bench.seed << 20) | self.started;
        let name = format!(
            "process {} of seed {} (after {} operations of others)",
            self.started, self.bench.seed, self.done
        );
        self.started += 1;
        let lazyfree = self.bench.ours() || std::env::var_os("SOAK_LAZYFREE").is_some();
        let worker = Worker::start(&name, |steps| Memory::new(seed, lazyfree).live(steps))?;
        self.workers.push(worker);
        Ok(())
    }

    /// One thing that happens to all processes.
    fn meddle(&mut self) -> Outcome {
        let some = 1 + self.random.below(MOST_RECLAIMED);
        match self.random.below(32) {
            0..=13 => self.group.reclaim(some as usize * PAGE),
            14..=15 => self.swap_off_and_on(),
            16..=17 => swapping::drain_lru(),
            18..=19 => self.replace(),
            20..=22 => common::self_check(&self.bench.ksm),
            23 => self.unmerge_all(),
            24 => self.bench.ksm.stop(),
            25 => self.bench.ksm.set("use_zero_pages", some % 2),
            26 => self.bench.ksm.set("smart_scan", some % 2),
            27 => self.limit_sharing(some),
            _ => self.bench.ksm.start(),
        }
    }

    fn unmerge_all(&self) -> Outcome {
        let ksm = &self.bench.ksm;
        ksm.set("run", 2)?;
        let left = ksm.number("pages_shared")?;
        check!(left == 0, "pages_shared is {left} after run 2");
        ksm.start()
    }

    /// `max_page_sharing`, which can be set only while nothing is merged.
    fn limit_sharing(&self, some: u64) -> Outcome {
        let ksm = &self.bench.ksm;
        ksm.set("run", 2)?;
        match ksm.try_set("max_page_sharing", &(2 + some % 30).to_string()) {
            // Pages that are still in the swap cache keep their nodes.
            Err(error) if is_errno(&error, libc::EBUSY) => (),
            other => other.context("max_page_sharing")?,
        }
        ksm.start()
    }

    /// Everything comes back at once, while the processes go on.
    fn swap_off_and_on(&mut self) -> Outcome {
        self.area.off()?;
        self.area.on()
    }

    /// A process ends, after a last comparison, and another begins.
    fn replace(&mut self) -> Outcome {
        let which = self.random.below(self.workers.len() as u64) as usize;
        let mut old = self.workers.swap_remove(which);
        self.done += old.arrived()?;
        old.finish()?;
        self.start()
    }

    /// A line on what there is.
    fn report(&self, now: Duration, all: Duration, operations: u64) -> Outcome {
        let ksm = &self.bench.ksm;
        let numbers = ["pages_shared", "pages_sharing", "swapin_shared"].map(|file| {
            let number = ksm.number(file).map_or("-".to_owned(), |n| n.to_string());
            format!("{file} {number}")
        });
        let (slots, used) = self.area.slots().unwrap_or_default();
        eprintln!(
            "soak: {} of {} s, {operations} operations, {used} of {slots} slots in use, {}",
            now.as_secs(),
            all.as_secs(),
            numbers.join(", ")
        );
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Random operations of many processes against a model of what must be in their memory.

use std::time::{Duration, Instant};

use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::content::Random;
use crate::region::{self, Region};
use crate::sys::{is_errno, PAGE};
use crate::worker::{Steps, Worker};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "stress/model",
        "random operations of 6 processes, knobs changing meanwhile",
        plain,
    )
    .seconds(400),
    Case::new(
        "stress/model_swap",
        "the same while memory is reclaimed",
        swapping,
    )
    .room(Room::Swap)
    .seconds(400),
];

const PROCESSES: u64 = 6;
const PAGES: usize = 128;
/// Few contents, so that pages are equal all the time. Content 0 is the zero page.
const CONTENTS: u64 = 12;

/// A process's memory and what must be in it.
struct Model {
    region: Region,
    /// What every page holds.
    seeds: Vec<u64>,
    random: Random,
}

impl Model {
    fn new(seed: u64) -> Outcome<Model> {
        let region = Region::map(PAGES)?;
        region.mergeable()?;
        Ok(Model {
            region,
            seeds: vec![0; PAGES],
            random: Random::new(seed),
        })
    }

    /// Some pages in a row.
    fn range(&mut self) -> std::ops::Range<usize> {
        let start = self.random.below(PAGES as u64) as usize;
        let count = 1 + self.random.below(24) as usize;
        start..(start + count).min(PAGES)
    }

    /// One random operation, checked.
    fn operate(&mut self) -> Outcome {
        let range = self.range();
        match self.random.below(100) {
            0..=34 => self.write(range),
            35..=64 => self.verify(range),
            65..=69 => self.discard(range),
            70..=74 => self.renew(range),
            75..=79 => self
                .region
                .advise_pages(range, libc::MADV_UNMERGEABLE)
                .context("MADV_UNMERGEABLE"),
            80..=87 => self
                .region
                .advise_pages(0..PAGES, libc::MADV_MERGEABLE)
                .context("MADV_MERGEABLE"),
            88..=91 => self.fork(),
            92..=94 => self.protect(range),
            _ => self
                .region
                .advise_pages(range, libc::MADV_PAGEOUT)
                .context("MADV_PAGEOUT"),
        }
    }

    fn write(&mut self, range: std::ops::Range<usize>) -> Outcome {
        for index in range {
            let seed = self.random.below(CONTENTS);
            self.region.write(index, seed);
            self.seeds[index] = seed;
        }
        Ok(())
    }

    fn verify(&mut self, mut range: std::ops::Range<usize>) -> Outcome {
        range.try_for_each(|index| self.region.verify_page(index, self.seeds[index]))
    }

    fn discard(&mut self, range: std::ops::Range<usize>) -> Outcome {
        self.region
            .advise_pages(range.clone(), libc::MADV_DONTNEED)
            .context("MADV_DONTNEED")?;
        self.seeds[range].fill(0);
        Ok(())
    }

    /// Unmaps pages and maps new ones at their place.
    fn renew(&mut self, range: std::ops::Range<usize>) -> Outcome {
        let addr = self.region.addr() + range.start * PAGE;
        region::unmap(addr, range.len() * PAGE)?;
        let fresh = Region::map_at(addr, range.len())?;
        fresh.mergeable()?;
        fresh.release();
        self.seeds[range].fill(0);
        Ok(())
    }

    /// A child verifies everything, writes, verifies again.
    fn fork(&mut self) -> Outcome {
        let pause = Duration::from_millis(self.random.below(30));
        let mut child = Worker::start("forked child", |steps| {
            steps.step(0)?;
            std::thread::sleep(pause);
            self.verify(0..PAGES).context("before writing")?;
            let range = self.range();
            self.write(range)?;
            self.verify(0..PAGES).context("after writing")
        })?;
        child.arrived()?;
        child.go(0)?;
        let range = self.range();
        self.write(range)?;
        child.ended()
    }

    /// Forbids and allows access.
    fn protect(&mut self, range: std::ops::Range<usize>) -> Outcome {
        let addr = self.region.addr() + range.start * PAGE;
        for protection in [
            libc::PROT_NONE,
            libc::PROT_READ,
            libc::PROT_READ | libc::PROT_WRITE,
        ] {
            crate::sys::check(
                // SAFETY: our own region, which nobody touches meanwhile.
                unsafe { libc::mprotect(addr as *mut _, range.len() * PAGE, protection) }.into(),
            )
            .context("mprotect")?;
        }
        self.verify(range)
    }
}

/// A process's life: operations until told to end.
pub fn live(steps: &mut Steps, seed: u64) -> Outcome {
    let mut model = Model::new(seed)?;
    let mut goes_on = true;
    let mut count = 0;
    while goes_on {
        let batch = Instant::now() + Duration::from_millis(500);
        while Instant::now() < batch {
            model.operate().context(format!("operation {count}"))?;
            count += 1;
        }
        goes_on = steps.step(count)? == 1;
    }
    model.verify(0..PAGES).context("at the end")
}

/// Runs the processes; `meddle` is called between their batches with a random number.
fn run(bench: &Bench, mut meddle: impl FnMut(u64) -> Outcome) -> Outcome {
    let mut random = Random::new(bench.seed);
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.set("pages_to_scan", 200)?;
    bench.ksm.start()?;
    let mut workers = Vec::new();
    for number in 0..PROCESSES {
        let seed = bench.seed * 100 + number;
        workers.push(Worker::start(
            &format!("process {number} (seed {})", bench.seed),
            |steps| live(steps, seed),
        )?);
    }
    let end = Instant::now() + Duration::from_secs(bench.stress_seconds);
    let mut operations = 0;
    while Instant::now() < end {
        operations = batch(&mut workers)?;
        meddle(random.next())?;
    }
    end_all(workers)?;
    check!(
        operations > 100,
        "only {operations} operations in {} s",
        bench.stress_seconds
    );
    bench.ksm.set("run", 1)?;
    // Not ksm_zero_pages, which forks make wrong: zero/fork has that.
    for file in ["pages_shared", "pages_sharing", "pages_unshared"] {
        bench
            .ksm
            .counter_becomes(file, 0)
            .context("after all processes have ended")?;
    }
    Ok(())
}

/// Waits for the end of a batch of every process, starts the next; tells how much they have done so far.
pub fn batch(workers: &mut [Worker]) -> Outcome<u64> {
    let mut operations = 0;
    for worker in workers {
        operations += worker.arrived()?;
        worker.go(1)?;
    }
    Ok(operations)
}

/// Lets every process verify all it has and end.
pub fn end_all(workers: Vec<Worker>) -> Outcome {
    for mut worker in workers {
        worker.arrived()?;
        worker.finish()?;
    }
    Ok(())
}

/// Changes a knob.
fn change_knob(bench: &Bench, random: u64) -> Outcome {
    match random % 12 {
        0 => {
            bench.ksm.set("run", 2)?;
            check_eq!(
                bench.ksm.number("pages_shared")?,
                0,
                "pages_shared after run 2"
            );
        }
        1 => bench.ksm.set("run", 0)?,
        2 => bench.ksm.set("use_zero_pages", random / 12 % 2)?,
        3 => bench.ksm.set("smart_scan", random / 12 % 2)?,
        4 => {
            bench.ksm.set("run", 2)?;
            let value = (2 + random / 12 % 20).to_string();
            match bench.ksm.try_set("max_page_sharing", &value) {
                // Pages that are still in the swap cache keep their nodes.
                Err(error) if is_errno(&error, libc::EBUSY) => (),
                other => other.context("max_page_sharing")?,
            }
        }
        _ => bench.ksm.set("run", 1)?,
    }
    Ok(())
}

fn plain(bench: &Bench) -> Outcome {
    run(bench, |random| change_knob(bench, random))
}

fn swapping(bench: &Bench) -> Outcome {
    super::swapping::device()?;
    let group = Group::enter("stress")?;
    run(bench, |random| {
        group.reclaim((1 + random as usize % 256) * PAGE)?;
        change_knob(bench, random >> 8)
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Processes with one mergeable region each, which remember what every page must hold.

use crate::case::{fail, Context, Outcome};
use crate::inject::Victim;
use crate::pagemap::{self, Entry};
use crate::region::{Lock, Region};
use crate::worker::{Steps, Worker};

/// A process with a region and the commands it takes.
pub struct Sharer {
    worker: Worker,
    addr: usize,
    pages: usize,
}

/// What a sharer can be asked to do. A command travels as words, the operation first.
enum Operation {
    Verify = 1,
    Write,
    Touch,
    TouchEvery,
    Advise,
    Discard,
    Fork,
    VerifyChild,
    EndChild,
    Lock,
    AccessFailing,
    WriteAll,
    Quit,
}

impl Sharer {
    /// Starts a process that fills `pages` pages, page `i` named by `seed(i)`, and makes them mergeable.
    pub fn start(pages: usize, seed: impl Fn(usize) -> u64) -> Outcome<Sharer> {
        Sharer::start_in(|| Region::map(pages), true, seed)
    }

    /// Starts a process over a region that `map` makes, mergeable or not.
    pub fn start_in(
        map: impl FnOnce() -> Outcome<Region>,
        mergeable: bool,
        seed: impl Fn(usize) -> u64,
    ) -> Outcome<Sharer> {
        let mut worker = Worker::start("sharer", |steps| {
            let region = map()?;
            let seeds: Vec<u64> = (0..region.pages()).map(seed).collect();
            region.fill(|index| seeds[index]);
            if mergeable {
                region.mergeable()?;
            }
            steps.step(region.addr() as u64)?;
            serve(steps, &region, seeds, region.pages() as u64)
        })?;
        let addr = worker.arrived()? as usize;
        let pages = worker.step(0)? as usize;
        Ok(Sharer {
            worker,
            addr,
            pages,
        })
    }

    /// Forks a process that goes on with the caller's `region`, page `i` of which holds `seeds[i]`.
    pub fn over(region: &Region, seeds: Vec<u64>) -> Outcome<Sharer> {
        let mut worker = Worker::start("forked sharer", |steps| {
            steps.step(region.addr() as u64)?;
            serve(steps, region, seeds, region.pages() as u64)
        })?;
        let addr = worker.arrived()? as usize;
        let pages = worker.step(0)? as usize;
        Ok(Sharer {
            worker,
            addr,
            pages,
        })
    }

    /// Starts `count` processes of the same content.
    pub fn crowd(
        count: usize,
        pages: usize,
        seed: impl Fn(usize) -> u64 + Copy,
    ) -> Outcome<Vec<Sharer>> {
        (0..count).map(|_| Sharer::start(pages, seed)).collect()
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.worker.pid()
    }

    /// Start of the region.
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// What the page tables say.
    pub fn pagemap(&self) -> Outcome<Vec<Entry>> {
        pagemap::of(self.pid(), self.addr, self.pages)
    }

    /// Frames of the pages that are present.
    pub fn frames(&self) -> Outcome<Vec<u64>> {
        Ok(pagemap::frames(&self.pagemap()?))
    }

    /// Lets the process compare all of its pages, byte by byte.
    pub fn verify(&mut self) -> Outcome {
        self.command(Operation::Verify, [0; 3]).map(drop)
    }

    /// Lets the process write page `index` anew.
    pub fn write(&mut self, index: usize, seed: u64) -> Outcome {
        self.command(Operation::Write, [index as u64, seed, 0])
            .map(drop)
    }

    /// Lets the process read one byte of page `index`.
    pub fn touch(&mut self, index: usize) -> Outcome {
        self.command(Operation::Touch, [index as u64, 0, 0])
            .map(drop)
    }

    /// Lets the process advise on `count` pages from `first` on.
    pub fn advise(&mut self, first: usize, count: usize, advice: i32) -> Outcome {
        match self.try_advise(first, count, advice)? {
            0 => Ok(()),
            errno => fail(format!(
                "madvise({advice}): {}",
                std::io::Error::from_raw_os_error(errno)
            )),
        }
    }

    /// The same, returning the errno.
    pub fn try_advise(&mut self, first: usize, count: usize, advice: i32) -> Outcome<i32> {
        let words = [first as u64, count as u64, advice as u64];
        Ok(self.command(Operation::Advise, words)? as i32)
    }

    /// Lets the process discard `count` pages from `first` on, which then must read as zero.
    pub fn discard(&mut self, first: usize, count: usize) -> Outcome {
        self.command(Operation::Discard, [first as u64, count as u64, 0])
            .map(drop)
    }

    /// Lets the process fork; the child waits until [`Sharer::end_child`]. Returns its process id.
    pub fn fork(&mut self) -> Outcome<i32> {
        self.command(Operation::Fork, [0; 3]).map(|pid| pid as i32)
    }

    /// Lets the forked child verify all pages as they were at the fork, and go on waiting.
    pub fn verify_child(&mut self) -> Outcome {
        self.command(Operation::VerifyChild, [0; 3]).map(drop)
    }

    /// Lets the forked child verify all pages as they were at the fork and exit.
    pub fn end_child(&mut self) -> Outcome {
        self.command(Operation::EndChild, [0; 3]).map(drop)
    }

    /// Verifies a last time and ends the process.
    pub fn finish(mut self) -> Outcome {
        self.verify()?;
        self.worker.go(Operation::Quit as u64)?;
        self.worker.ended()
    }

    /// Lets the process read one byte of page `first` and of every `step`th after it.
    pub fn touch_every(&mut self, first: usize, step: usize) -> Outcome {
        self.command(Operation::TouchEvery, [first as u64, step as u64, 0])
            .map(drop)
    }

    /// Lets the process lock all of its pages in memory, or unlock them.
    pub fn lock(&mut self, lock: Lock) -> Outcome {
        self.command(Operation::Lock, [lock as u64, 0, 0]).map(drop)
    }

    /// Waits for the process to be killed by `signal` when it reads page `index`.
    pub fn dies_touching(mut self, index: usize, signal: i32) -> Outcome {
        self.worker.step(Operation::Touch as u64)?;
        self.worker.step(index as u64)?;
        self.worker.step(0)?;
        self.worker.go(0)?;
        self.worker.killed_by(signal)
    }

    /// Waits for the process to be killed by `signal` when it writes all its pages anew, page `i` named by `seed + i`.
    pub fn dies_writing(mut self, seed: u64, signal: i32) -> Outcome {
        self.worker.step(Operation::WriteAll as u64)?;
        self.worker.step(seed)?;
        self.worker.step(0)?;
        self.worker.go(0)?;
        self.worker.killed_by(signal)
    }

    /// Waits for the process to be killed by `signal` where it stands.
    pub fn killed_by(self, signal: i32) -> Outcome {
        self.worker.killed_by(signal)
    }

    /// Lets the process read page `index`, or write it anew if there is a `seed`, while the `nth` possible failure is
    /// ordered. Whether it was reached.
    pub fn access_failing(&mut self, index: usize, seed: Option<u64>, nth: u32) -> Outcome<bool> {
        let words = [index as u64, seed.unwrap_or(0), nth.into()];
        Ok(self.command(Operation::AccessFailing, words)? == 1)
    }

    fn command(&mut self, operation: Operation, words: [u64; 3]) -> Outcome<u64> {
        self.worker.step(operation as u64)?;
        self.worker.step(words[0])?;
        self.worker.step(words[1])?;
        self.worker.step(words[2])
    }
}

/// Frames of all pages of all `sharers` that are present.
pub fn frames(sharers: &[Sharer]) -> Outcome<Vec<u64>> {
    let mut all = Vec::new();
    for sharer in sharers {
        all.extend(sharer.frames()?);
    }
    Ok(all)
}

/// The page-table entries of all `sharers`.
pub fn entries(sharers: &[Sharer]) -> Outcome<Vec<pagemap::Entry>> {
    let mut all = Vec::new();
    for sharer in sharers {
        all.extend(sharer.pagemap()?);
    }
    Ok(all)
}

/// How many pages of all `sharers` are swapped out.
pub fn swapped(sharers: &[Sharer]) -> Outcome<usize> {
    let mut count = 0;
    for sharer in sharers {
        count += sharer
            .pagemap()?
            .iter()
            .filter(|entry| entry.swapped())
            .count();
    }
    Ok(count)
}

/// Lets every sharer verify its pages.
pub fn verify(sharers: &mut [Sharer]) -> Outcome {
    sharers.iter_mut().try_for_each(Sharer::verify)
}

/// Ends all.
pub fn finish(sharers: Vec<Sharer>) -> Outcome {
    sharers.into_iter().try_for_each(Sharer::finish)
}

/// The process's side: takes commands until it is told to quit.
fn serve(steps: &mut Steps, region: &Region, mut seeds: Vec<u64>, mut answer: u64) -> Outcome {
    let mut child = None;
    loop {
        let operation = steps.step(answer)?;
        if operation == Operation::Quit as u64 {
            return Ok(());
        }
        let words = [steps.step(0)?, steps.step(0)?, steps.step(0)?];
        let index = words[0] as usize;
        answer = 0;
        match operation {
            o if o == Operation::Verify as u64 => region.verify(|index| seeds[index])?,
            o if o == Operation::Write as u64 => {
                region.write(index, words[1]);
                seeds[index] = words[1];
            }
            o if o == Operation::WriteAll as u64 => {
                for (index, seed) in seeds.iter_mut().enumerate() {
                    *seed = words[0] + index as u64;
                    region.write(index, *seed);
                }
            }
            o if o == Operation::Touch as u64 => answer = region.peek(index, 0).into(),
            o if o == Operation::TouchEvery as u64 => {
                for index in (index..region.pages()).step_by(words[1] as usize) {
                    region.peek(index, 0);
                }
            }
            o if o == Operation::Advise as u64 => {
                let range = index..index + words[1] as usize;
                if let Err(error) = region.advise_pages(range, words[2] as i32) {
                    answer = error.raw_os_error().unwrap_or(0) as u64;
                }
            }
            o if o == Operation::Discard as u64 => {
                let range = index..index + words[1] as usize;
                region
                    .advise_pages(range.clone(), libc::MADV_DONTNEED)
                    .context("MADV_DONTNEED")?;
                seeds[range].fill(0);
            }
            o if o == Operation::Fork as u64 => {
                let forked = fork_copy(region, &seeds)?;
                answer = forked.pid() as u64;
                child = Some(forked);
            }
            o if o == Operation::VerifyChild as u64 => match &mut child {
                Some(forked) => drop(forked.step(STAY).context("forked child")?),
                None => return fail("there is no forked child"),
            },
            o if o == Operation::EndChild as u64 => match child.take() {
                Some(forked) => forked.finish().context("forked child")?,
                None => return fail("there is no forked child"),
            },
            o if o == Operation::Lock as u64 => {
                let all = [Lock::No, Lock::Now, Lock::OnFault];
                region.lock(all[index])?;
            }
            o if o == Operation::AccessFailing as u64 => {
                let victim = Victim::this()?;
                victim.arm(words[2] as u32)?;
                match words[1] {
                    0 => drop(region.peek(index, 0)),
                    seed => region.write(index, seed),
                }
                answer = victim.disarm()?.into();
                if words[1] != 0 {
                    seeds[index] = words[1];
                }
            }
            other => return fail(format!("unknown operation {other}")),
        }
    }
}

/// Tells a forked child to go on waiting when it has verified its pages.
const STAY: u64 = 1;

/// A child that holds a copy of the region, verifies it each time it is told, and ends unless it is told to stay.
fn fork_copy(region: &Region, seeds: &[u64]) -> Outcome<Worker> {
    let mut forked = Worker::start("forked child", |steps| loop {
        let stays = steps.step(0)? == STAY;
        region.verify(|index| seeds[index])?;
        if !stays {
            return Ok(());
        }
    })?;
    forked.arrived()?;
    Ok(forked)
}

// SPDX-License-Identifier: GPL-2.0

//! Processes that race the scanner.
//!
//! Each goes on with rounds of its own until the time is over, compares what it has with what must be there all the
//! while, and rests before it ends, so that page tables can be compared with what the module believes. The rounds of a
//! process follow from the seed; only how many there are depends on the machine.

use std::time::{Duration, Instant};

use crate::case::{Bench, Context, Outcome};
use crate::check;
use crate::content::Random;
use crate::ksm::Ksm;
use crate::part::Part;
use crate::region::Region;
use crate::runner;
use crate::slow;
use crate::worker::{Steps, Worker};

use super::super::{common, stress};

/// Pages of a racer.
pub const PAGES: usize = 64;
/// Pages that a round is about, at most.
pub const MOST: u64 = 16;
/// Contents that many pages of all racers have.
const COMMON: u64 = 20;
/// Pages between two sleeps of the scanner, which are of no length: far more than there are.
const PAGES_TO_SCAN: u64 = 5000;
/// How long a process goes on before it reports.
const BATCH: Duration = Duration::from_millis(250);
/// How long a race is made longer for the first merge, on slow machines.
const MORE: Duration = Duration::from_secs(20);
/// Longest pause, in microseconds: two passes of the scanner on a stock kernel.
const PAUSE: u64 = 40_000;
/// What must be 0 when all processes have ended.
const EMPTY: &[&str] = &["pages_shared", "pages_sharing", "pages_unshared"];

/// Memory that is open to merging.
pub struct Racer {
    /// The memory.
    pub part: Part,
    /// Where its choices come from.
    pub random: Random,
}

impl Racer {
    /// Fills a mapping and opens it to merging.
    pub fn new(region: Region, random: &mut Random) -> Outcome<Racer> {
        let mut racer = Racer {
            part: Part::new(region),
            random: Random::new(random.next()),
        };
        racer.write(0..racer.part.seeds.len());
        racer.part.region.mergeable()?;
        Ok(racer)
    }

    /// Some pages in a row.
    pub fn range(&mut self) -> std::ops::Range<usize> {
        self.part.range(&mut self.random, MOST)
    }

    /// Writes pages, mostly with what others have, too.
    pub fn write(&mut self, pages: std::ops::Range<usize>) {
        let random = &mut self.random;
        self.part.write(pages, || random.content(COMMON));
    }

    /// Lets the scanner come by, more or less.
    pub fn pause(&mut self) {
        pause(&mut self.random);
    }

    /// What a process does besides what its race is about: true, this time.
    pub fn ordinary(&mut self) -> Outcome<bool> {
        let pages = self.range();
        match self.random.below(10) {
            0..=1 => self.write(pages),
            2..=3 => self.part.verify(pages)?,
            4 => self.pause(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Sleeps for a random time, none at all now and then.
pub fn pause(random: &mut Random) {
    let longest = 1 + random.below(PAUSE * u64::from(slow::factor()));
    std::thread::sleep(Duration::from_micros(random.below(longest)));
}

/// A race before it is run.
pub struct Race<'a> {
    bench: &'a Bench,
    workers: Vec<Worker>,
    batch: Duration,
}

impl Race<'_> {
    /// Has the scanner run without rest.
    pub fn new(bench: &Bench) -> Outcome<Race<'_>> {
        bench.ksm.set("sleep_millisecs", 0)?;
        bench.ksm.set("pages_to_scan", PAGES_TO_SCAN)?;
        bench.ksm.start()?;
        Ok(Race {
            bench,
            workers: Vec::new(),
            batch: BATCH,
        })
    }

    /// Has processes that are added later report after longer times: they rest when others need more than that.
    pub fn batches_of(mut self, time: Duration) -> Self {
        self.batch = time;
        self
    }

    /// Adds a process that goes on with `round` over what `make` makes, and ends with `close`.
    pub fn process<S>(
        &mut self,
        name: &str,
        make: impl FnOnce(&mut Random) -> Outcome<S>,
        mut round: impl FnMut(&mut S) -> Outcome,
        close: impl FnOnce(S) -> Outcome,
    ) -> Outcome {
        let number = self.workers.len() as u64;
        let seed = self.bench.seed;
        let name = format!("{name}, process {number} of seed {seed}");
        let batch = self.batch;
        let worker = Worker::start(&name, |steps| {
            let mut state = make(&mut Random::new(seed << 8 | number))?;
            live(steps, batch, || round(&mut state))?;
            close(state).context("at the end")
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Adds racers: `operation` is what they race the scanner with, between ordinary rounds.
    pub fn racers(
        &mut self,
        count: usize,
        map: impl Fn() -> Outcome<Region>,
        operation: impl Fn(&mut Racer) -> Outcome,
    ) -> Outcome {
        for _ in 0..count {
            self.process(
                "racer",
                |random| Racer::new(map()?, random),
                |racer| match racer.ordinary()? {
                    true => Ok(()),
                    false => operation(racer),
                },
                |racer| racer.part.verify_all(),
            )?;
        }
        Ok(())
    }

    /// Adds a process that does one thing to the whole machine, again and again.
    pub fn nuisance(
        &mut self,
        name: &str,
        mut round: impl FnMut(&mut Random) -> Outcome,
    ) -> Outcome {
        self.process(
            name,
            |random| Ok(Random::new(random.next())),
            |random| round(random),
            |_| Ok(()),
        )
    }

    /// Process ids, for those who watch others.
    pub fn pids(&self) -> Vec<i32> {
        self.workers.iter().map(Worker::pid).collect()
    }

    /// Lets them race for as long as races shall.
    pub fn run(self) -> Outcome {
        self.go(true, || Ok(()))
    }

    /// The same; `meanwhile` is done once in every batch, and may leave no time for merging.
    pub fn run_with(self, meanwhile: impl FnMut() -> Outcome) -> Outcome {
        self.go(false, meanwhile)
    }

    fn go(mut self, must_merge: bool, mut meanwhile: impl FnMut() -> Outcome) -> Outcome {
        let scanned = |ksm: &Ksm| ksm.number("pages_scanned").unwrap_or(0);
        let before = scanned(&self.bench.ksm);
        let end = Instant::now() + Duration::from_secs(self.bench.race_seconds);
        let (mut rounds, mut merged) = (0, 0);
        while Instant::now() < end
            || must_merge && merged == 0 && Instant::now() < end + slow::limit(MORE)
        {
            rounds = stress::batch(&mut self.workers)?;
            merged += self.bench.ksm.number("pages_sharing").unwrap_or(0);
            meanwhile()?;
        }
        check!(
            merged > 0 || !must_merge,
            "nothing was merged in {rounds} rounds: the scanner was not in this race"
        );
        for worker in &mut self.workers {
            worker.arrived()?;
        }
        let pages = match scanned(&self.bench.ksm) - before {
            pages @ 0.. => pages.to_string(),
            _ => "uncounted".to_owned(),
        };
        runner::log(&format!("{rounds} rounds, {pages} pages scanned meanwhile"));
        self.at_rest()
    }

    /// All processes rest and have what they have: is it what the module believes?
    fn at_rest(self) -> Outcome {
        let ksm = &self.bench.ksm;
        if ksm.has("run") {
            ksm.start()?;
            common::self_check(ksm)?;
        }
        self.workers.into_iter().try_for_each(Worker::finish)?;
        if !ksm.has("run") {
            return Ok(());
        }
        for file in EMPTY {
            ksm.counter_becomes(file, 0)
                .context("after all processes have ended")?;
        }
        common::self_check(ksm)
    }
}

/// Rounds in batches, until the process is told to end.
fn live(steps: &mut Steps, batch: Duration, mut round: impl FnMut() -> Outcome) -> Outcome {
    let mut count = 0;
    loop {
        let end = Instant::now() + batch;
        while Instant::now() < end {
            round().context(format!("round {count}"))?;
            count += 1;
        }
        if steps.step(count)? == 0 {
            return Ok(());
        }
    }
}

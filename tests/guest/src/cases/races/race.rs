// SPDX-License-Identifier: GPL-2.0

//! Processes that race the scanner.
//!
//! Each goes on with rounds of its own until the time is over, compares what it has with what must be there all the
//! while, and rests before it ends, so that page tables can be compared with what the module believes. The rounds of a
//! process follow from the seed; only how many there are depends on the machine.

use std::time::{Duration, Instant};

use crate::case::{fail, Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::check;
use crate::content::Random;
use crate::count::Count;
use crate::ksm::Ksm;
use crate::part::Part;
use crate::procfs;
use crate::region::Region;
use crate::runner;
use crate::sabotage::{self, Sabotage};
use crate::slow;
use crate::sys::PAGE;
use crate::worker::{Steps, Worker};

use super::super::{common, stress, swapping};
use super::look::Look;

/// Pages of a racer.
pub const PAGES: usize = 64;
/// Pages that a round is about, at most.
pub const MOST: u64 = 16;
/// Contents that many pages of all racers have.
const COMMON: u64 = 20;
/// The same where they are of one place.
const AT_A_PLACE: u64 = 2;
/// Pages between two sleeps of the scanner, which are of no length: far more than there are.
const PAGES_TO_SCAN: u64 = 5000;
/// How long a process goes on before it reports.
const BATCH: Duration = Duration::from_millis(250);
/// How long a race is made longer for the first merge and for what it needs, on slow machines.
const MORE: Duration = Duration::from_secs(60);
/// The same when it is not to come about: see [`crate::sabotage`].
const LITTLE_MORE: Duration = Duration::from_secs(2);
/// Pages that are asked to be reclaimed at a time, at most.
const RECLAIMED: u64 = 256;
/// The same, and further pauses between two such times, where huge pages are made.
const FEW_RECLAIMED: u64 = 32;
pub const LEISURE: u32 = 15;
/// As much as two huge pages, one in so many times.
const MANY_RECLAIMED: u64 = 1024;
const ONE_OF_ALL: u64 = 4;
/// Longest pause, in microseconds: two passes of the scanner on a stock kernel.
const PAUSE: u64 = 40_000;
/// Merged pages that are out; only swapksm has it.
const NODES_OUT: &str = "nodes_swapped";
/// What must be 0 when all processes have ended.
const EMPTY: &[&str] = &["pages_shared", "pages_sharing", "pages_unshared"];

/// Memory that is open to merging.
pub struct Racer {
    /// The memory.
    pub part: Part,
    /// Where its choices come from.
    pub random: Random,
    /// No two of its pages are equal, only those of others at the same place.
    by_place: bool,
    /// Whether what it does is about merged pages.
    look: Option<Look>,
}

impl AsMut<Racer> for Racer {
    fn as_mut(&mut self) -> &mut Racer {
        self
    }
}

impl Racer {
    /// Fills a mapping and opens it to merging.
    pub fn new(region: Region, random: &mut Random) -> Outcome<Racer> {
        Racer::fill(region, random, false)
    }

    /// The same with pages that are equal to others' only: the kernel makes no huge page where one page is mapped twice
    /// (`__collapse_huge_page_isolate()` in mm/khugepaged.c finds it locked then, by itself).
    pub fn by_place(region: Region, random: &mut Random) -> Outcome<Racer> {
        Racer::fill(region, random, true)
    }

    fn fill(region: Region, random: &mut Random, by_place: bool) -> Outcome<Racer> {
        let mut racer = Racer {
            part: Part::new(region),
            random: Random::new(random.next()),
            by_place,
            look: None,
        };
        racer.write(0..racer.part.seeds.len());
        racer.part.region.mergeable()?;
        Ok(racer)
    }

    /// Some pages in a row, for what is no operation of the race's.
    pub fn some(&mut self) -> std::ops::Range<usize> {
        self.part.range(&mut self.random, MOST)
    }

    /// Some pages in a row that the race's operation is about, which comes next.
    pub fn range(&mut self) -> Outcome<std::ops::Range<usize>> {
        let pages = self.some();
        self.meets(pages.clone())?;
        Ok(pages)
    }

    /// The race's operation, which comes next, is about these pages.
    pub fn meets(&self, pages: std::ops::Range<usize>) -> Outcome {
        self.look
            .map_or(Ok(()), |look| look.merged(&self.part, pages))
    }

    /// The same about all pages.
    pub fn meets_all(&self) -> Outcome {
        self.meets(0..self.part.seeds.len())
    }

    /// The same about pages of another process's.
    pub fn meets_of(&self, pid: i32, addr: usize, pages: usize) -> Outcome {
        self.look
            .map_or(Ok(()), |look| look.merged_of(pid, addr, pages))
    }

    /// What this racer does is counted as what another does, and done once.
    pub fn like(mut self, other: &Racer) -> Racer {
        self.look = other.look.map(Look::every_time);
        self
    }

    /// Writes pages, mostly with what others have, too.
    pub fn write(&mut self, pages: std::ops::Range<usize>) {
        let random = &mut self.random;
        self.part.write(pages, |index| match self.by_place {
            true => random.content(AT_A_PLACE) | (index as u64 + 1) << 8,
            false => random.content(COMMON),
        });
    }

    /// Lets the scanner come by, more or less.
    pub fn pause(&mut self) {
        pause(&mut self.random);
    }

    /// What a process does besides what its race is about: true, this time.
    pub fn ordinary(&mut self) -> Outcome<bool> {
        let pages = self.some();
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

/// What must come about during a race, as there was none otherwise.
struct Need {
    what: String,
    least: i64,
    count: Box<dyn Fn() -> Outcome<i64>>,
    before: i64,
}

impl Need {
    /// How often it has come about.
    fn now(&self) -> Outcome<i64> {
        Ok((self.count)()? - self.before)
    }
}

/// A race before it is run.
pub struct Race<'a> {
    bench: &'a Bench,
    workers: Vec<Worker>,
    /// What all are in whose memory is reclaimed; they end before it goes.
    group: Option<Group>,
    needs: Vec<Need>,
    batch: Duration,
    more: Duration,
    /// Operations are few: all are looked at.
    slow: bool,
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
            group: None,
            needs: Vec::new(),
            batch: BATCH,
            more: MORE,
            slow: false,
        })
    }

    /// The same while all that the race's processes have is reclaimed by bits, merged or not.
    pub fn in_swap(bench: &Bench) -> Outcome<Race<'_>> {
        Race::in_swap_with(bench, RECLAIMED, RECLAIMED, 0)
    }

    /// The same by fewer pages and with longer times between, for what needs many pages in memory at once.
    pub fn in_swap_at_leisure(bench: &Bench) -> Outcome<Race<'_>> {
        Race::in_swap_with(bench, FEW_RECLAIMED, FEW_RECLAIMED, LEISURE)
    }

    /// The same, and much at once now and then: the classic LRU does not come to what it has seen used, such as merged
    /// pages, before the huge pages are gone.
    pub fn in_swap_by_fits(bench: &Bench) -> Outcome<Race<'_>> {
        Race::in_swap_with(bench, FEW_RECLAIMED, MANY_RECLAIMED, LEISURE)
    }

    fn in_swap_with(
        bench: &Bench,
        most: u64,
        most_of_all: u64,
        more_pauses: u32,
    ) -> Outcome<Race<'_>> {
        swapping::device()?;
        let group = Group::enter("races")?;
        let mut race = Race::new(bench)?;
        let merged = Count::new()?;
        let look = || -> Outcome {
            if Ksm.has(NODES_OUT) && Ksm.number(NODES_OUT)? > 0 {
                merged.add(1);
            }
            Ok(())
        };
        race.nuisance("reclaim", |random| {
            let most = match random.below(ONE_OF_ALL) {
                0 => most_of_all,
                _ => most,
            };
            group.reclaim(PAGE * (1 + random.below(most) as usize))?;
            // A page is out when it was written, which may be after reclaim has come back.
            look()?;
            for _ in 0..=more_pauses {
                pause(random);
                look()?;
            }
            Ok(())
        })?;
        race.group = Some(group);
        race.needs("pages written to swap", 1, procfs::pages_out)?;
        // The kernel's own KSM knows nothing of merged pages that are out.
        if bench.ksm.has(NODES_OUT) {
            race.needs_count("looks that found merged pages out", 1, merged)?;
        }
        Ok(race)
    }

    /// The race fails unless `count` grows by `least` while it lasts.
    pub fn needs(
        &mut self,
        what: &str,
        least: i64,
        count: impl Fn() -> Outcome<i64> + 'static,
    ) -> Outcome {
        let before = count().context(what)?;
        self.needs.push(Need {
            what: what.to_owned(),
            least,
            count: Box::new(count),
            before,
        });
        Ok(())
    }

    /// The same for events that the kernel counts in `/proc/vmstat`.
    pub fn needs_event(&mut self, event: &'static str) -> Outcome {
        self.needs(event, 1, move || procfs::vmstat(event))
    }

    /// The same for what the race's processes count themselves.
    pub fn needs_count(&mut self, what: &str, least: i64, count: Count) -> Outcome {
        self.needs(what, least, move || Ok(count.get()))
    }

    /// The race says how much `count` has grown: why there is nothing of what it needs.
    pub fn tells(&mut self, what: &str, count: impl Fn() -> Outcome<i64> + 'static) -> Outcome {
        self.needs(what, 0, count)
    }

    /// Has processes that are added later report after longer times: they rest when others need more than that.
    pub fn batches_of(mut self, time: Duration) -> Self {
        self.batch = time;
        self
    }

    /// Operations of racers that are added later are few.
    pub fn of_slow_operations(mut self) -> Self {
        self.slow = true;
        self
    }

    /// How long the race may be made longer for what it needs.
    pub fn more(mut self, time: Duration) -> Self {
        self.more = time;
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
            live(steps, batch, || match sabotage::is(Sabotage::NoRace) {
                true => {
                    std::thread::sleep(batch);
                    Ok(())
                }
                false => round(&mut state),
            })?;
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
        self.racers_of(count, |random| Racer::new(map()?, random), operation)
    }

    /// The same with racers that `make` makes.
    pub fn racers_of(
        &mut self,
        count: usize,
        make: impl Fn(&mut Random) -> Outcome<Racer>,
        operation: impl Fn(&mut Racer) -> Outcome,
    ) -> Outcome {
        self.operating("racer", count, make, operation, |racer| {
            racer.part.verify_all()
        })
    }

    /// The same with racers that are part of what `make` makes. Some operations must meet merged pages.
    pub fn operating<S: AsMut<Racer>>(
        &mut self,
        name: &str,
        count: usize,
        make: impl Fn(&mut Random) -> Outcome<S>,
        operation: impl Fn(&mut S) -> Outcome,
        close: impl Fn(S) -> Outcome,
    ) -> Outcome {
        let look = Look::new(self, "operations on merged pages")?;
        let look = match self.slow {
            true => look.every_time(),
            false => look,
        };
        for _ in 0..count {
            self.process(
                name,
                |random| {
                    let mut state = make(random)?;
                    state.as_mut().look = Some(look);
                    Ok(state)
                },
                |state| match state.as_mut().ordinary()? {
                    true => Ok(()),
                    false => operation(state),
                },
                &close,
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
        let more = match sabotage::active() {
            true => LITTLE_MORE,
            false => self.more,
        };
        let (mut rounds, mut merged) = (0, 0);
        while Instant::now() < end
            || (must_merge && merged == 0 || self.missing()?.is_some())
                && Instant::now() < end + slow::limit(more)
        {
            rounds = stress::batch(&mut self.workers)?;
            merged += self.bench.ksm.number("pages_sharing").unwrap_or(0);
            if !sabotage::is(Sabotage::NoRace) {
                meanwhile()?;
            }
        }
        check!(
            merged > 0 || !must_merge,
            "nothing was merged in {rounds} rounds: the scanner was not in this race"
        );
        let counts = self.counts()?;
        if let Some(missing) = self.missing()? {
            return fail(format!(
                "in {rounds} rounds {missing}: what was to be raced did not take place{counts}"
            ));
        }
        for worker in &mut self.workers {
            worker.arrived()?;
        }
        let pages = match scanned(&self.bench.ksm) - before {
            pages @ 0.. => pages.to_string(),
            _ => "uncounted".to_owned(),
        };
        runner::log(&format!(
            "{rounds} rounds, {pages} pages scanned meanwhile{counts}"
        ));
        self.at_rest()
    }

    /// How often what it needs, and what it tells, has come about.
    fn counts(&self) -> Outcome<String> {
        let mut text = String::new();
        for need in &self.needs {
            text += &format!(", {}: {}", need.what, need.now()?);
        }
        Ok(text)
    }

    /// What has not come about often enough yet.
    fn missing(&self) -> Outcome<Option<String>> {
        for need in &self.needs {
            let now = need.now()?;
            if now < need.least {
                let text = format!("{}: {now}, at least {} needed", need.what, need.least);
                return Ok(Some(text));
            }
        }
        Ok(None)
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

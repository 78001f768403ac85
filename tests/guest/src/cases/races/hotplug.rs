// SPDX-License-Identifier: GPL-2.0

//! Races with memory that goes offline and comes back.

use std::time::{Duration, Instant};

use super::super::common::{frames_become, same};
use super::super::memory_block::{Block, Filler};
use super::super::numa;
use super::machine::{change, may_set, merged_frames, RACERS};
use super::race::{pause, Race, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::ksm::Ksm;
use crate::sharer::{self, Sharer};
use crate::slow;

/// Times that memory goes offline, at least.
const LEAST: i64 = 3;
/// One in so many rounds of a racer waits for the memory to go, to see what becomes of its merged pages.
const LOOKS: u64 = 4;
/// How long it waits at most.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pauses while the block is online, at most.
const PAUSES: u64 = 8;

/// Racers near the block, and a process that takes it offline and online. `left` counts the merged pages that are moved
/// from it.
fn race<'a>(bench: &'a Bench, block: &Block, left: Count) -> Outcome<Race<'a>> {
    let mut race = Race::new(bench)?;
    let offline = Count::new()?;
    race.needs_count("times that memory went offline", LEAST, offline)?;
    race.racers(
        RACERS,
        || numa::map_near(0, PAGES),
        |racer| {
            change(racer)?;
            if racer.random.below(LOOKS) > 0 {
                racer.pause();
                return Ok(());
            }
            let (before, times) = (merged_frames(racer)?, offline.get());
            let end = Instant::now() + slow::limit(PATIENCE);
            while offline.get() == times && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            let now = merged_frames(racer)?;
            let gone = before
                .iter()
                .zip(&now)
                .filter(|(&before, &now)| block.holds(before) && now != 0 && !block.holds(now));
            left.add(gone.count());
            Ok(())
        },
    )?;
    let racers = race.pids();
    let migrate = |from, to| {
        let mut racers = racers.iter();
        racers.try_for_each(|&pid| numa::migrate(pid, from, to))
    };
    race.process(
        "memory",
        |random| Ok((Filler::make(block)?, Random::new(random.next()))),
        |(filler, random)| {
            offline.add(usize::from(block.offline()?));
            pause(random);
            block.online()?;
            // What the racers have comes to lie in the block, merged or not: there is no other place on its node.
            migrate(0, 1)?;
            filler.top_up(block)?;
            migrate(1, 0)?;
            for _ in 0..1 + random.below(PAUSES) {
                pause(random);
            }
            Ok(())
        },
        |_| block.online(),
    )?;
    Ok(race)
}

/// Ends the race; memory is online afterwards, and new processes are merged.
fn run(bench: &Bench, block: &Block, race: Race) -> Outcome {
    let result = race.run();
    let online = block.online();
    result?;
    online?;
    // Whatever the last writer has left: the two may be on different nodes.
    bench.ksm.set("run", 2)?;
    bench.ksm.set("merge_across_nodes", 1)?;
    let sharers = Sharer::crowd(2, PAGES, same)?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

pub fn scan(bench: &Bench) -> Outcome {
    let block = Block::find()?;
    let left = Count::new()?;
    let mut race = race(bench, &block, left)?;
    race.needs_count("merged pages that left it", 1, left)?;
    run(bench, &block, race)
}

/// Writers of knobs wait for the memory to be settled, and all of them go on.
pub fn knobs(bench: &Bench) -> Outcome {
    let block = Block::find()?;
    let mut race = race(bench, &block, Count::new()?)?;
    let met = Count::new()?;
    race.needs_count("writes that met memory going offline", LEAST, met)?;
    let meet = |write: &mut dyn FnMut() -> Outcome| -> Outcome {
        let meets = block.state()? == "going-offline";
        write()?;
        met.add(usize::from(meets));
        Ok(())
    };
    for _ in 0..2 {
        race.nuisance("writer of run", |random| {
            let value = [0, 1, 1, 1, 2][random.below(5) as usize];
            meet(&mut || Ksm.set("run", value))?;
            pause(random);
            Ok(())
        })?;
    }
    race.nuisance("writer of what waits, too", |random| {
        let (file, value) = match random.below(2) {
            0 => ("merge_across_nodes", random.below(2)),
            _ => ("max_page_sharing", 2 + random.below(20)),
        };
        meet(&mut || may_set(file, value))?;
        pause(random);
        Ksm.sync().context("sync")
    })?;
    run(bench, &block, race)
}

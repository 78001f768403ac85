// SPDX-License-Identifier: GPL-2.0

//! Races with what goes on in the whole machine: compaction, NUMA balancing, swapoff, and whoever turns the knobs.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use super::super::fragments::{self, Fragments};
use super::super::small_swap::Area;
use super::super::{numa, swapping};
use super::look::any_merged;
use super::race::{pause, Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::ksm::{Ksm, DIRECTORY};
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::setting::Setting;
use crate::slow;
use crate::sys::{self, is_errno};

pub const RACERS: usize = 3;
/// Pauses between what racers take pages from and the holes to which they are moved.
const PAUSES: u32 = 6;
/// How long a racer waits for its pages to be moved.
const PATIENCE: Duration = Duration::from_millis(500);
/// Writes to knobs while pages are merged, at least.
const LEAST: i64 = 3;

pub fn map() -> Outcome<Region> {
    Region::map(PAGES)
}

/// Rounds that leave holes and fill them.
pub fn change(racer: &mut Racer) -> Outcome {
    let pages = racer.range()?;
    match racer.random.below(3) {
        0 => racer.part.discard(pages),
        1 => racer.part.verify(pages),
        _ => {
            racer.write(pages);
            Ok(())
        }
    }
}

pub fn compaction(bench: &Bench) -> Outcome {
    fragments::available()?;
    compacting(Race::new(bench)?)
}

/// The same with pages that are on their way out, or out: those in the swap cache are moved, too.
pub fn compaction_swapped(bench: &Bench) -> Outcome {
    fragments::available()?;
    compacting(Race::in_swap(bench)?)
}

fn compacting(mut race: Race<'_>) -> Outcome {
    let moved = Count::new()?;
    race.needs_event("pgmigrate_success")?;
    // Not in every run: which pages compaction finds worth moving is chance (`migrate/compaction` has it move merged ones).
    race.tells("merged pages that were moved", move || Ok(moved.get()))?;
    // Contents that few pages have: merged pages that live long have all been moved soon.
    let make = |random: &mut Random| Racer::by_place(map()?, random);
    let (made, compacted) = (Count::new()?, Count::new()?);
    let seen = Cell::new(0);
    race.racers_of(RACERS, make, |racer| {
        change(racer)?;
        let times = made.get();
        if seen.replace(times) == times {
            racer.pause();
            return Ok(());
        }
        // New pages in what was made, with time to be merged before they are moved.
        racer.part.discard(0..PAGES)?;
        racer.write(0..PAGES);
        (0..PAUSES / 2).for_each(|_| racer.pause());
        let before = merged_frames(racer)?;
        let end = Instant::now() + slow::limit(PATIENCE);
        while compacted.get() < times && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A page that is merged stays where it is unless it is moved, or has been out.
        let now = merged_frames(racer)?;
        let pages = before.iter().zip(&now);
        moved.add(
            pages
                .filter(|(&old, &new)| old != 0 && new != 0 && old != new)
                .count(),
        );
        Ok(())
    })?;
    // Pieces that the racers take pages from, and holes to which they are moved.
    race.process(
        "compaction",
        |random| Ok((None, Random::new(random.next()))),
        |(filler, random)| {
            *filler = None;
            let pieces = Fragments::make()?;
            made.add(1);
            // Time for pages that racers get there now to be merged.
            (0..PAUSES).for_each(|_| pause(random));
            pieces.open()?;
            *filler = Some(pieces);
            fragments::compact()?;
            compacted.add(1);
            for _ in 0..random.below(4) {
                pause(random);
                fragments::compact()?;
            }
            Ok(())
        },
        |_| Ok(()),
    )?;
    race.run()
}

/// The frame of each page of a racer's; 0 where it is not merged.
pub fn merged_frames(racer: &Racer) -> Outcome<Vec<u64>> {
    let frame = |entry: pagemap::Entry| match entry.frame() {
        Some(frame) if pagemap::flags(frame)? & FLAG_KSM != 0 => Ok(frame),
        _ => Ok(0),
    };
    racer
        .part
        .region
        .pagemap()?
        .into_iter()
        .map(frame)
        .collect()
}

/// Everything goes out by bits and comes back at once.
pub fn swapoff(bench: &Bench) -> Outcome {
    let device = swapping::device()?;
    let mut race = Race::in_swap(bench)?;
    let brought = Count::new()?;
    race.needs_count("times that swapoff had something to bring in", 1, brought)?;
    race.racers(RACERS, map, |racer| {
        let pages = racer.range()?;
        racer.part.advise(pages.clone(), libc::MADV_PAGEOUT)?;
        match racer.random.below(3) {
            0 => racer.write(pages),
            1 => racer.part.verify(pages)?,
            _ => racer.pause(),
        }
        Ok(())
    })?;
    let area = |on| Ok((Area::new(&device, on), Random::new(bench.seed)));
    race.process(
        "swapoff",
        |_| area(true),
        |(area, random)| {
            let (_, used) = area.slots()?;
            area.off()?;
            brought.add(usize::from(used > 0));
            pause(random);
            area.on()?;
            // Time for something to go out.
            for _ in 0..1 + random.below(4) {
                pause(random);
            }
            Ok(())
        },
        |_| Ok(()),
    )?;
    let result = race.run();
    // Wherever that process was when something went wrong: the next case wants the device.
    if swapping::device().is_err() {
        Area::new(&device, false).on()?;
    }
    result
}

/// Page tables of pages that are looked at from both nodes are emptied by NUMA balancing, and pages moved.
pub fn numa_balancing(bench: &Bench) -> Outcome {
    const BALANCING: &str = "/proc/sys/kernel/numa_balancing";
    const PERIODS: &str = "/sys/kernel/debug/sched/numa_balancing";
    numa::two_nodes()?;
    let on = u32::from(!sabotage::is(Sabotage::NoRace));
    let _balancing = Setting::set(BALANCING, on)?;
    // Without debugfs it is slower.
    let periods = match std::path::Path::new(PERIODS).exists() {
        true => ["scan_delay_ms", "scan_period_min_ms"].as_slice(),
        false => &[],
    };
    let _periods = periods
        .iter()
        .map(|file| Setting::set(&format!("{PERIODS}/{file}"), "10"))
        .collect::<Outcome<Vec<_>>>()?;
    let mut race = Race::new(bench)?;
    race.needs_event("numa_hint_faults")?;
    let moved = Count::new()?;
    race.needs_count("pages that migrate_pages has moved", 1, moved)?;
    race.racers(RACERS, map, |racer| {
        match racer.random.below(4) {
            0 => sys::run_on(racer.random.below(2) as usize).context("sched_setaffinity")?,
            1 => moved.add(move_all(racer)?),
            2 => change(racer)?,
            _ => racer.part.verify_all()?,
        }
        Ok(())
    })?;
    race.nuisance("merge_across_nodes", |random| {
        let value = random.below(2).to_string();
        match Ksm.try_set("merge_across_nodes", &value) {
            Err(error) if is_errno(&error, libc::EBUSY) => Ksm.set("run", 2)?,
            other => other.context("merge_across_nodes")?,
        }
        std::thread::sleep(Duration::from_millis(random.below(200)));
        Ksm.set("run", 1)
    })?;
    race.run()
}

/// Moves all pages of the calling process to a node, as far as they can be moved; tells how many of the racer's have
/// another frame now.
fn move_all(racer: &mut Racer) -> Outcome<usize> {
    let node = racer.random.below(2) as usize;
    let frames = || -> Outcome<Vec<u64>> {
        let entries = racer.part.region.pagemap()?;
        Ok(entries.iter().map(|e| e.frame().unwrap_or(0)).collect())
    };
    let before = frames()?;
    numa::migrate(0, 1 - node, node)?;
    Ok(fragments::moved(&before, &frames()?))
}

/// Writes that may be refused, as another process has just written something else.
pub fn may_set(file: &str, value: u64) -> Outcome {
    match Ksm.try_set(file, &value.to_string()) {
        Err(error) if is_errno(&error, libc::EBUSY) || is_errno(&error, libc::EINVAL) => Ok(()),
        other => other.context(format!("writing '{value}' to {file}")),
    }
}

pub fn knobs(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    let (racers, run, others) = (race.pids(), Count::new()?, Count::new()?);
    let meet = |met: Count| -> Outcome {
        met.add(usize::from(any_merged(&racers)?));
        Ok(())
    };
    race.needs_count("writes to run while pages were merged", LEAST, run)?;
    race.needs_count("writes to others while pages were merged", LEAST, others)?;
    for _ in 0..2 {
        race.nuisance("writer of run", |random| {
            let value = [0, 1, 1, 1, 2][random.below(5) as usize];
            meet(run)?;
            Ksm.set("run", value)?;
            pause(random);
            pause(random);
            Ok(())
        })?;
    }
    race.nuisance("writer of the other knobs", |random| {
        meet(others)?;
        match random.below(9) {
            0 => may_set("max_page_sharing", 2 + random.below(20)),
            1 => may_set("merge_across_nodes", random.below(2)),
            2 => may_set("use_zero_pages", random.below(2)),
            3 => may_set("smart_scan", random.below(2)),
            4 => may_set("pages_to_scan", 1 + random.below(5000)),
            5 => may_set("sleep_millisecs", random.below(4)),
            6 => may_set("stable_node_chains_prune_millisecs", random.below(10)),
            7 => Ksm.set("advisor_mode", "scan-time"),
            _ => Ksm.set("advisor_mode", "none"),
        }?;
        pause(random);
        Ok(())
    })?;
    race.nuisance("reader", |random| {
        for entry in fs::read_dir(DIRECTORY).context(DIRECTORY)?.flatten() {
            fs::read(entry.path()).context(entry.path().display())?;
        }
        pause(random);
        Ksm.sync()
    })?;
    race.run()
}

// SPDX-License-Identifier: GPL-2.0

//! Races with what has processes, or a CPU, stand still wherever they are: suspend, the freezer of control groups, CPUs
//! that go offline.

use std::fs;

use super::super::suspend;
use super::look::any_merged;
use super::machine::{change, map, RACERS};
use super::race::{pause, Race};
use crate::case::{skip, Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::count::Count;

/// Times that something stands still while pages are merged, at least.
const LEAST: i64 = 3;

pub fn cpus(bench: &Bench) -> Outcome {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    if fs::metadata(ONLINE).is_err() {
        return skip("there is no second CPU that can go offline");
    }
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    let (racers, met) = (race.pids(), Count::new()?);
    race.needs_count(
        "times CPU 1 was offline while pages were merged",
        LEAST,
        met,
    )?;
    race.nuisance("CPU 1", |random| {
        fs::write(ONLINE, "0").context("taking CPU 1 offline")?;
        pause(random);
        met.add(usize::from(any_merged(&racers)?));
        fs::write(ONLINE, "1").context("taking CPU 1 online")?;
        pause(random);
        Ok(())
    })?;
    let result = race.run();
    // Wherever it was when something went wrong: later cases want both.
    let _ = fs::write(ONLINE, "1");
    result
}

/// The scanner and the reaper are frozen in any order, and with whatever processes wait for them.
pub fn freezer(bench: &Bench) -> Outcome {
    let _short = suspend::only_freeze(0)?;
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, |racer| {
        change(racer)?;
        if racer.random.below(8) == 0 {
            bench.ksm.sync()?;
        }
        Ok(())
    })?;
    let (racers, met) = (race.pids(), Count::new()?);
    race.needs_count("times all was frozen while pages were merged", LEAST, met)?;
    race.nuisance("writer of run", |random| {
        bench.ksm.set("run", 1 + random.below(2))?;
        pause(random);
        Ok(())
    })?;
    race.nuisance("suspend", |random| {
        pause(random);
        let merged = any_merged(&racers)?;
        suspend::suspend()?;
        met.add(usize::from(merged));
        Ok(())
    })?;
    race.run()
}

/// Frozen processes keep what they hold: nobody may wait for them, and they are merged all the same.
pub fn cgroup(bench: &Bench) -> Outcome {
    let group = Group::enter("races")?;
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    let (racers, met) = (race.pids(), Count::new()?);
    race.needs_count("times processes with merged pages were frozen", LEAST, met)?;
    group.leave()?;
    race.racers(1, map, change)?;
    race.nuisance("freezer", |random| {
        group.set("cgroup.freeze", 1)?;
        pause(random);
        if group.frozen()? {
            met.add(usize::from(any_merged(&racers)?));
        }
        group.set("cgroup.freeze", 0)?;
        pause(random);
        Ok(())
    })?;
    let result = race.run();
    let _ = group.set("cgroup.freeze", 0);
    result
}

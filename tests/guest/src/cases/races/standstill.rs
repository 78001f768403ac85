// SPDX-License-Identifier: GPL-2.0

//! Races with what has processes, or a CPU, stand still wherever they are: suspend, the freezer of control groups, CPUs
//! that go offline.

use std::fs;

use super::super::suspend;
use super::machine::{change, map, RACERS};
use super::race::{pause, Race};
use crate::case::{skip, Bench, Context, Outcome};
use crate::cgroup::Group;

pub fn cpus(bench: &Bench) -> Outcome {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    if fs::metadata(ONLINE).is_err() {
        return skip("there is no second CPU that can go offline");
    }
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    race.nuisance("CPU 1", |random| {
        fs::write(ONLINE, "0").context("taking CPU 1 offline")?;
        pause(random);
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
    race.nuisance("writer of run", |random| {
        bench.ksm.set("run", 1 + random.below(2))?;
        pause(random);
        Ok(())
    })?;
    race.nuisance("suspend", |random| {
        pause(random);
        suspend::suspend()
    })?;
    race.run()
}

/// Frozen processes keep what they hold: nobody may wait for them, and they are merged all the same.
pub fn cgroup(bench: &Bench) -> Outcome {
    let group = Group::enter("races")?;
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    group.leave()?;
    race.racers(1, map, change)?;
    race.nuisance("freezer", |random| {
        for frozen in [1, 0] {
            group.set("cgroup.freeze", frozen)?;
            pause(random);
        }
        Ok(())
    })?;
    let result = race.run();
    let _ = group.set("cgroup.freeze", 0);
    result
}

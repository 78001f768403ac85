// SPDX-License-Identifier: GPL-2.0

//! Processes that end, or become another program.
//!
//! When exit begins nothing is unmapped yet: a debug build counts the pointers there are, looks whether each names the
//! page that is mapped, and counts again when it has cleared them.

use super::super::common::same;
use super::super::exec::exec as exec_image;
use super::scene::{ended, passes_until, sharers, Place, SHARED};
use crate::case::{Bench, Context, Outcome};
use crate::probe::{self, Exits, State};
use crate::region::Region;
use crate::sharer::Sharer;
use crate::wait;
use crate::worker::{Steps, Worker};
use crate::{check, check_eq};

/// Pages of each kind: merged with the other process, and of the worker alone.
const HALF: usize = SHARED.end;

fn content(index: usize) -> u64 {
    match index < HALF {
        true => same(index),
        false => 0x4200_0000 + index as u64,
    }
}

fn region() -> Outcome<Region> {
    let region = Region::map(2 * HALF)?;
    region.fill(content);
    region.mergeable()?;
    Ok(region)
}

/// A process with pages of both kinds, all with live pointers, and the one it shares half of them with. The worker does
/// `then` when it is told to go on.
fn settled(
    bench: &Bench,
    then: impl FnOnce(&mut Steps, Region) -> Outcome,
) -> Outcome<(Worker, Sharer)> {
    probe::available()?;
    let other = Sharer::start(HALF, same)?;
    let mut worker = Worker::start("worker", |steps| {
        let region = region()?;
        steps.step(region.addr() as u64)?;
        then(steps, region)
    })?;
    let place = Place {
        addr: worker.arrived()? as usize,
        pid: worker.pid(),
        pages: 2 * HALF,
    };
    passes_until(bench, "all pages have their state", || {
        let items = place.items()?;
        Ok(items.iter().enumerate().all(|(index, item)| {
            let state = match index < HALF {
                true => State::Stable,
                false => State::Unstable,
            };
            item.state == state && item.live()
        }))
    })?;
    place.all_live()?;
    Ok((worker, other))
}

/// What one exit has found, given what had been found before: all pointers, all of them true, none left.
fn check_exit(before: Exits, after: Exits) -> Outcome {
    check_eq!(
        after.live - before.live,
        2 * HALF as u64,
        "pointers there were when exit began"
    );
    check_eq!(
        after.wrong,
        before.wrong,
        "pointers to pages that were not mapped there"
    );
    check_eq!(
        after.left,
        before.left,
        "pointers left when exit had cleared them"
    );
    Ok(())
}

/// Waits until an exit has been counted: whoever looks at a process at its end, ends it in a thread of the kernel's.
fn exit_counted(before: Exits) -> Outcome<Exits> {
    wait::until("the exit is counted", || {
        let now = probe::exits()?;
        Ok((now.live != before.live, now))
    })?;
    probe::exits()
}

/// The other process is alone with its pages now.
fn check_rest(bench: &Bench, other: Sharer) -> Outcome {
    bench.ksm.sync()?;
    sharers(&Place::of_sharer(&other).truth()?, |_| true).context("the other process")?;
    for (file, count) in [
        ("pages_pending", 0),
        ("pages_shared", HALF),
        ("pages_sharing", 0),
        ("pages_unshared", 0),
    ] {
        check_eq!(bench.ksm.number(file)?, count as i64, "{file}");
    }
    other.finish()
}

pub fn exit(bench: &Bench) -> Outcome {
    let (worker, other) = settled(bench, |_, region| {
        region.verify(content)?;
        // Left for exit to unmap.
        region.release();
        Ok(())
    })?;
    let before = probe::exits()?;
    worker.finish()?;
    check_exit(before, exit_counted(before)?)?;
    check_rest(bench, other)
}

pub fn killed(bench: &Bench) -> Outcome {
    let (worker, other) = settled(bench, |steps, _| steps.step(0).map(drop))?;
    let before = probe::exits()?;
    drop(worker);
    check_exit(before, exit_counted(before)?)?;
    check_rest(bench, other)
}

pub fn exec(bench: &Bench) -> Outcome {
    let (mut worker, other) = settled(bench, |steps, _| exec_image("exits", steps))?;
    bench.ksm.sync()?;
    let before = probe::exits()?;
    let after = Exits {
        live: worker.step(0)?,
        wrong: worker.step(0)?,
        left: worker.step(0)?,
    };
    check_exit(before, after).context("as seen by the new program")?;
    let place = Place {
        addr: worker.step(0)? as usize,
        pid: worker.pid(),
        pages: 2 * HALF,
    };
    let items = place.truth()?;
    ended(&items, |_| true).context("the new program's pages")?;
    check_rest(bench, other)?;
    worker.finish()
}

/// The new program: tells at once what the exit of the old one found, then maps pages.
pub fn image(steps: &mut Steps) -> Outcome {
    let exits = probe::exits()?;
    for value in [exits.live, exits.wrong, exits.left] {
        steps.step(value)?;
    }
    let region = region()?;
    steps.step(region.addr() as u64)?;
    region.verify(content)
}

pub fn under_scan(bench: &Bench) -> Outcome {
    const ROUNDS: u64 = 60;
    probe::available()?;
    let mut other = Sharer::start(HALF, same)?;
    let before = probe::exits()?;
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    for round in 0..ROUNDS {
        let mut worker = Worker::start("worker", |steps| {
            let region = region()?;
            steps.step(0)?;
            region.verify(content)?;
            region.release();
            Ok(())
        })?;
        worker.arrived()?;
        // Some exit before they are scanned, some while they are merged, some after.
        std::thread::sleep(std::time::Duration::from_millis(
            (bench.seed + round * 7) % 50,
        ));
        match round % 2 {
            0 => worker.finish()?,
            _ => drop(worker),
        }
    }
    bench.ksm.stop()?;
    bench.ksm.sync()?;
    let after = probe::exits()?;
    check!(
        after.live > before.live,
        "no process had a pointer when it exited"
    );
    check_eq!(
        after.wrong,
        before.wrong,
        "pointers to pages that were not mapped there"
    );
    check_eq!(
        after.left,
        before.left,
        "pointers left when exit had cleared them"
    );
    other.verify()?;
    other.finish()
}

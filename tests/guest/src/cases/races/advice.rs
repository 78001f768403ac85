// SPDX-License-Identifier: GPL-2.0

//! A race with a process that gives advice on others' memory by `process_madvise(2)`, as a manager of memory does.

use std::os::fd::AsRawFd;
use std::time::Duration;

use super::look::Look;
use super::machine::change;
use super::race::{pause, Race, Racer, MOST};
use crate::case::{Bench, Context, Outcome};
use crate::count::Count;
use crate::region::{Region, MADV_COLLAPSE};
use crate::sys::{self, HUGE, PAGE};

const RACERS: usize = 2;
/// Where each racer's memory is: the adviser must know.
const PLACE: usize = 0x10_0000_0000;
/// All of it may become a huge page.
const PAGES: usize = HUGE / PAGE;
/// What may be advised on another's memory.
const ADVICE: [(i32, &str); 4] = [
    (libc::MADV_COLD, "MADV_COLD for another"),
    (libc::MADV_PAGEOUT, "MADV_PAGEOUT for another"),
    (libc::MADV_WILLNEED, "MADV_WILLNEED for another"),
    (MADV_COLLAPSE, "MADV_COLLAPSE for another"),
];
/// What MADV_COLLAPSE may say: see `huge`.
const REFUSALS: [i32; 4] = [libc::EAGAIN, libc::EBUSY, libc::EINVAL, libc::ENOMEM];
/// How often each must have been done.
const LEAST: i64 = 3;

/// What the adviser must have met.
#[derive(Clone, Copy)]
struct Looks {
    merged: Look,
    /// Pages that are out, which are to be brought in.
    out: Look,
    done: [Count; ADVICE.len()],
}

/// Memory at the place that the adviser knows.
fn map() -> Outcome<Region> {
    let region = Region::map_at(PLACE, PAGES)?;
    region
        .advise(libc::MADV_HUGEPAGE)
        .context("MADV_HUGEPAGE")?;
    Ok(region)
}

pub fn others(bench: &Bench) -> Outcome {
    let mut race = Race::in_swap_at_leisure(bench)?;
    let mut done = Vec::new();
    for (_, what) in ADVICE {
        let count = Count::new()?;
        race.needs_count(what, LEAST, count)?;
        done.push(count);
    }
    let looks = Looks {
        merged: Look::new(&mut race, "advice on another's merged pages")?,
        out: Look::new(&mut race, "MADV_WILLNEED for another's pages that were out")?,
        done: [done[0], done[1], done[2], done[3]],
    };
    race.racers_of(RACERS, |random| Racer::by_place(map()?, random), change)?;
    let racers = race.pids();
    // The first of them is who has all reclaimed.
    let racers = &racers[racers.len() - RACERS..];
    race.nuisance("adviser", |random| {
        let pid = racers[random.below(racers.len() as u64) as usize];
        let which = random.below(ADVICE.len() as u64) as usize;
        let (start, count) = match ADVICE[which].0 {
            MADV_COLLAPSE => (0, PAGES),
            _ => (
                random.below(PAGES as u64 - MOST) as usize,
                1 + random.below(MOST) as usize,
            ),
        };
        advise(looks, pid, which, PLACE + start * PAGE, count)?;
        if random.below(4) == 0 {
            pause(random);
        }
        Ok(())
    })?;
    race.run()
}

fn advise(looks: Looks, pid: i32, which: usize, addr: usize, pages: usize) -> Outcome {
    let (advice, what) = ADVICE[which];
    looks.merged.merged_of(pid, addr, pages)?;
    let process = sys::pidfd(pid).context("pidfd_open")?;
    let range = [addr, pages * PAGE];
    let (fd, range) = (process.as_raw_fd() as usize, range.as_ptr() as usize);
    let call = |advice| {
        let call = [fd, range, 1, advice as usize, 0, 0];
        sys::syscall(libc::SYS_process_madvise, call)
    };
    match advice {
        libc::MADV_WILLNEED => {
            // Soon its owner has what is out.
            call(libc::MADV_PAGEOUT).context("MADV_PAGEOUT before MADV_WILLNEED")?;
            looks.out.out_of(pid, addr, pages)?;
        }
        MADV_COLLAPSE => {
            // Which does not wait for the disk.
            call(libc::MADV_WILLNEED).context("MADV_WILLNEED before MADV_COLLAPSE")?;
            std::thread::sleep(Duration::from_millis(1));
        }
        _ => {}
    }
    match call(advice) {
        Ok(_) => looks.done[which].add(1),
        Err(error)
            if advice == MADV_COLLAPSE && REFUSALS.iter().any(|&e| sys::is_errno(&error, e)) => {}
        Err(error) => return Err(error).context(what),
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Races with processes that begin and end.

use std::fs;
use std::os::fd::AsRawFd;

use super::look::any_merged;
use super::race::{pause, Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::check_eq;
use crate::content::Random;
use crate::count::Count;
use crate::ksm::Ksm;
use crate::memfd;
use crate::procfs;
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::wait;
use crate::worker::{Steps, Worker};

use super::super::{exec, prctl};

const RACERS: usize = 2;
/// Children of a racer at a time.
const CHILDREN: usize = 3;
/// Times that merged pages are unmerged, at least.
const LEAST: i64 = 3;

/// A process and those it has started.
struct Family {
    racer: Racer,
    children: Vec<Worker>,
}

impl AsMut<Racer> for Family {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl Family {
    fn new(random: &mut Random) -> Outcome<Family> {
        Family::over(Region::map(PAGES)?, random)
    }

    fn over(region: Region, random: &mut Random) -> Outcome<Family> {
        Ok(Family {
            racer: Racer::new(region, random)?,
            children: Vec::new(),
        })
    }

    /// Room for one more child: waits for the first.
    fn make_room(&mut self) -> Outcome {
        if self.children.len() < CHILDREN {
            return Ok(());
        }
        self.children.remove(0).ended()
    }

    /// One more child, which does `life` with all that its parent has.
    fn child(&mut self, life: impl FnOnce(&mut Racer) -> Outcome) -> Outcome {
        self.make_room()?;
        let seed = self.racer.random.next();
        let child = Worker::start(&format!("child of seed {seed:#x}"), |_| {
            // Not this process's to wait for.
            std::mem::forget(std::mem::take(&mut self.children));
            self.racer.random = Random::new(seed);
            life(&mut self.racer)
        })?;
        self.children.push(child);
        Ok(())
    }

    fn close(self) -> Outcome {
        self.racer.part.verify_all()?;
        self.children.into_iter().try_for_each(Worker::ended)
    }
}

fn families(bench: &Bench, round: fn(&mut Family) -> Outcome) -> Outcome {
    let mut race = Race::new(bench)?;
    add_families(&mut race, round)?;
    race.run()
}

/// The same while what they have is reclaimed.
fn families_in_swap(bench: &Bench, round: fn(&mut Family) -> Outcome) -> Outcome {
    let mut race = Race::in_swap(bench)?;
    add_families(&mut race, round)?;
    race.run()
}

fn add_families(race: &mut Race<'_>, round: fn(&mut Family) -> Outcome) -> Outcome {
    add_families_of(race, Family::new, round)
}

/// The same with families that `make` makes.
fn add_families_of(
    race: &mut Race<'_>,
    make: impl Fn(&mut Random) -> Outcome<Family>,
    round: fn(&mut Family) -> Outcome,
) -> Outcome {
    race.operating("family", RACERS, make, round, Family::close)
}

/// A life with copies of all that the parent has.
fn copy(racer: &mut Racer, depth: usize) -> Outcome {
    racer.part.verify_all().context("just forked")?;
    for _ in 0..racer.random.below(12) {
        let pages = racer.some();
        match racer.random.below(4) {
            0 => racer.write(pages),
            1 => racer.part.discard(pages)?,
            2 => racer.pause(),
            _ => racer.part.verify(pages)?,
        }
    }
    if depth > 0 && racer.random.below(2) == 0 {
        let seed = racer.random.next();
        let grandchild = Worker::start("grandchild", |_| {
            racer.random = Random::new(seed);
            copy(racer, depth - 1)
        })?;
        let pages = racer.some();
        racer.write(pages);
        grandchild.ended()?;
    }
    racer.part.verify_all().context("at the end of a copy")
}

fn forked(family: &mut Family) -> Outcome {
    family.make_room()?;
    family.racer.meets_all()?;
    family.child(|racer| copy(racer, 1))
}

pub fn fork(bench: &Bench) -> Outcome {
    families(bench, forked)
}

/// Copies of page tables that name swap, and of pages that come back meanwhile.
pub fn fork_swapped(bench: &Bench) -> Outcome {
    families_in_swap(bench, forked)
}

/// Adds one who has all unmerged, again and again, when something is merged; `look` is done after that.
fn add_unmerging(race: &mut Race<'_>, look: impl Fn() -> Outcome) -> Outcome {
    let (parents, met) = (race.pids(), Count::new()?);
    race.needs_count("times that merged pages were unmerged", LEAST, met)?;
    race.nuisance("run 2", |random| {
        Ksm.start()?;
        wait::until("something is merged", || {
            let merged = Ksm.number("pages_sharing")?;
            Ok((merged > 0, merged))
        })?;
        pause(random);
        let merged = any_merged(&parents)?;
        Ksm.set("run", 2)?;
        met.add(usize::from(merged));
        look()
    })
}

/// The writer of 2 goes through all processes; those that are forked meanwhile have what their parents had.
pub fn unmerge_all(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    add_families(&mut race, forked)?;
    add_unmerging(&mut race, || {
        for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
            let path = entry.path().join("smaps_rollup");
            // A process may have ended, and a thread of the kernel's has no memory.
            let kilobytes = procfs::field(&path.display().to_string(), "KSM").unwrap_or(0);
            check_eq!(kilobytes, 0, "merged memory (KSM) in {}", path.display());
        }
        Ok(())
    })?;
    race.run_with(|| Ok(()))
}

/// Processes with memory of their own, which end by themselves or are killed, wherever the scanner is.
fn mortal(family: &mut Family) -> Outcome {
    if family.racer.random.below(2) == 0 && !family.children.is_empty() {
        // Dropped: killed.
        let which = family.racer.random.below(family.children.len() as u64);
        drop(family.children.swap_remove(which as usize));
        return Ok(());
    }
    family.child(|racer| {
        let fresh = Racer::new(Region::map(PAGES)?, &mut racer.random)?.like(racer);
        // Time to be merged, or not.
        for _ in 0..1 + racer.random.below(4) {
            racer.pause();
        }
        fresh.part.verify_all()?;
        // Exits next, or is killed. On slow kernels only what its parent had is merged by then.
        fresh.meets_all()?;
        let inherited = racer.part.region.addr();
        fresh.meets_of(std::process::id() as i32, inherited, PAGES)
    })
}

pub fn exit(bench: &Bench) -> Outcome {
    families(bench, mortal)
}

/// The same with pages that are out, or on their way, at the end.
pub fn exit_swapped(bench: &Bench) -> Outcome {
    families_in_swap(bench, mortal)
}

/// The same with private mappings of files, and somebody who unmerges them all: a fault that comes after exit_mmap() has
/// emptied the entry would map a page of the file where nobody takes it away again ("Bad rss-counter" in the kernel's log).
pub fn exit_unmerged(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    let over_file = |random: &mut Random| {
        let file = memfd::create("family", PAGES * PAGE)?;
        Family::over(Region::map_file(&file, 0, PAGES)?, random)
    };
    add_families_of(&mut race, over_file, mortal)?;
    add_unmerging(&mut race, || Ok(()))?;
    race.run_with(|| Ok(()))
}

/// A process that is killed, and whose memory another gives back before it does so itself, as for the OOM killer.
pub fn released(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    let (done, late) = (Count::new()?, Count::new()?);
    race.needs_count("processes whose memory another gave back", LEAST, done)?;
    race.tells(
        "that had given it back themselves, or were at it",
        move || Ok(late.get()),
    )?;
    race.operating(
        "family",
        RACERS,
        Family::new,
        |family| release(family, done, late),
        Family::close,
    )?;
    race.run()
}

fn release(family: &mut Family, done: Count, late: Count) -> Outcome {
    let random = &mut family.racer.random;
    let seed = random.next();
    let mut child = Worker::start("process that is killed", |steps| {
        let fresh = Racer::new(Region::map(PAGES)?, &mut Random::new(seed))?;
        loop {
            steps.step(fresh.part.region.addr() as u64)?;
        }
    })?;
    let (addr, pid) = (child.arrived()? as usize, child.pid());
    let process = sys::pidfd(pid).context("pidfd_open")?;
    pause(random);
    family.racer.meets_of(pid, addr, PAGES)?;
    sys::kill(pid, libc::SIGKILL);
    let fd = process.as_raw_fd() as usize;
    match sys::syscall(libc::SYS_process_mrelease, [fd, 0, 0, 0, 0, 0]) {
        Ok(_) => done.add(1),
        // It has no memory any more; somebody has its lock, or must not wait for other users of its pages.
        Err(error)
            if [libc::ESRCH, libc::EINVAL, libc::EAGAIN]
                .iter()
                .any(|errno| sys::is_errno(&error, *errno)) =>
        {
            late.add(1)
        }
        Err(error) => return Err(error).context("process_mrelease"),
    }
    child.killed_by(libc::SIGKILL)
}

/// The new image of [`exec()`]: fills memory, verifies it when told, is replaced by the next.
pub fn image(steps: &mut Steps) -> Outcome {
    let seed = steps.step(0)?;
    let racer = Racer::new(Region::map(PAGES)?, &mut Random::new(seed))?;
    let goes_on = steps.step(racer.part.region.addr() as u64)?;
    racer.part.verify_all()?;
    match goes_on {
        0 => Ok(()),
        _ => exec::exec("race", steps),
    }
}

pub fn exec(bench: &Bench) -> Outcome {
    images(Race::new(bench)?)
}

/// The same with pages that are out, or on their way, when the image goes.
pub fn exec_swapped(bench: &Bench) -> Outcome {
    images(Race::in_swap(bench)?)
}

fn images(mut race: Race<'_>) -> Outcome {
    race.operating("family", RACERS, new_images, next_image, |mut family| {
        for mut child in std::mem::take(&mut family.children) {
            child.step(0)?;
            child.finish()?;
        }
        family.close()
    })?;
    race.run()
}

/// A family whose children exec.
fn new_images(random: &mut Random) -> Outcome<Family> {
    let mut family = Family::new(random)?;
    for _ in 0..CHILDREN {
        let mut child = Worker::start("exec'd child", |steps| {
            prctl::merge_any(true)?;
            exec::exec("race", steps)
        })?;
        child.arrived()?;
        family.children.push(child);
    }
    Ok(family)
}

/// One of the children fills its memory, and some time later goes on to another image.
fn next_image(family: &mut Family) -> Outcome {
    let random = &mut family.racer.random;
    let which = random.below(CHILDREN as u64) as usize;
    let child = &mut family.children[which];
    let addr = child.step(random.next())? as usize;
    pause(random);
    family.racer.meets_of(child.pid(), addr, PAGES)?;
    child.step(1).map(drop)
}

// SPDX-License-Identifier: GPL-2.0

//! Races with processes that begin and end.

use std::fs;

use super::race::{pause, Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::check_eq;
use crate::content::Random;
use crate::ksm::Ksm;
use crate::memfd;
use crate::procfs;
use crate::region::Region;
use crate::sys::PAGE;
use crate::wait;
use crate::worker::{Steps, Worker};

use super::super::{exec, prctl};

const RACERS: usize = 2;
/// Children of a racer at a time.
const CHILDREN: usize = 3;

/// A process and those it has started.
struct Family {
    racer: Racer,
    children: Vec<Worker>,
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
    for _ in 0..RACERS {
        race.process(
            "family",
            &make,
            |family| match family.racer.ordinary()? {
                true => Ok(()),
                false => round(family),
            },
            Family::close,
        )?;
    }
    Ok(())
}

/// A life with copies of all that the parent has.
fn copy(racer: &mut Racer, depth: usize) -> Outcome {
    racer.part.verify_all().context("just forked")?;
    for _ in 0..racer.random.below(12) {
        let pages = racer.range();
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
        let pages = racer.range();
        racer.write(pages);
        grandchild.ended()?;
    }
    racer.part.verify_all().context("at the end of a copy")
}

fn forked(family: &mut Family) -> Outcome {
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
    race.nuisance("run 2", |random| {
        Ksm.start()?;
        wait::until("something is merged", || {
            let merged = Ksm.number("pages_sharing")?;
            Ok((merged > 0, merged))
        })?;
        pause(random);
        Ksm.set("run", 2)?;
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
        let fresh = Racer::new(Region::map(PAGES)?, &mut racer.random)?;
        racer.pause();
        fresh.part.verify_all()
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

/// The new image of [`exec()`]: fills memory, verifies it when told, is replaced by the next.
pub fn image(steps: &mut Steps) -> Outcome {
    let seed = steps.step(0)?;
    let racer = Racer::new(Region::map(PAGES)?, &mut Random::new(seed))?;
    let goes_on = steps.step(0)?;
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
    for _ in 0..RACERS {
        race.process("family", new_images, next_image, |mut family| {
            for mut child in std::mem::take(&mut family.children) {
                child.step(0)?;
                child.finish()?;
            }
            family.close()
        })?;
    }
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
    if family.racer.ordinary()? {
        return Ok(());
    }
    let random = &mut family.racer.random;
    let which = random.below(CHILDREN as u64) as usize;
    let child = &mut family.children[which];
    child.step(random.next())?;
    pause(random);
    child.step(1).map(drop)
}

// SPDX-License-Identifier: GPL-2.0

//! Races with calls that change the caller's own mappings.

use std::fs::File;

use super::look::Look;
use super::race::{Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::memfd;
use crate::part::Part;
use crate::region::{Lock, Region};
use crate::sys::{self, PAGE};

const RACERS: usize = 3;

fn map() -> Outcome<Region> {
    Region::map(PAGES)
}

fn race(bench: &Bench, operation: impl Fn(&mut Racer) -> Outcome) -> Outcome {
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, operation)?;
    race.run()
}

fn race_in_swap(bench: &Bench, operation: impl Fn(&mut Racer) -> Outcome) -> Outcome {
    let mut race = Race::in_swap(bench)?;
    race.racers(RACERS, map, operation)?;
    race.run()
}

pub fn munmap(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let pages = racer.range()?;
        racer.part.renew(pages)
    })
}

fn protect(racer: &mut Racer) -> Outcome {
    let pages = racer.range()?;
    racer.part.protect(pages)
}

pub fn mprotect(bench: &Bench) -> Outcome {
    race(bench, protect)
}

/// The same with pages that go out and come back meanwhile.
pub fn mprotect_swapped(bench: &Bench) -> Outcome {
    race_in_swap(bench, protect)
}

pub fn dontneed(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let pages = racer.range()?;
        racer.part.discard(pages)
    })
}

/// A racer over a file of its own.
struct OverFile {
    racer: Racer,
    file: File,
}

impl AsMut<Racer> for OverFile {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl OverFile {
    fn new(random: &mut Random) -> Outcome<OverFile> {
        let file = memfd::create("racer", PAGES * PAGE)?;
        Ok(OverFile {
            racer: Racer::new(Region::map_file(&file, 0, PAGES)?, random)?,
            file,
        })
    }

    /// The file is cut off somewhere and made as long as it was.
    fn cut(&mut self) -> Outcome {
        const BYTES: u64 = (PAGES * PAGE) as u64;
        let left = self.racer.random.below(PAGES as u64);
        self.racer.meets(left as usize..PAGES)?;
        for bytes in [left * PAGE as u64, BYTES] {
            self.file.set_len(bytes).context("ftruncate")?;
        }
        self.racer.part.seeds[left as usize..].fill(0);
        Ok(())
    }
}

fn truncating(mut race: Race<'_>) -> Outcome {
    race.operating("racer", RACERS, OverFile::new, OverFile::cut, |over| {
        over.racer.part.verify_all()
    })?;
    race.run()
}

pub fn truncate(bench: &Bench) -> Outcome {
    truncating(Race::new(bench)?)
}

/// The same with pages that go out and come back meanwhile.
pub fn truncate_swapped(bench: &Bench) -> Outcome {
    truncating(Race::in_swap(bench)?)
}

/// Freed pages that are only read hold what they held, or nothing, which `lost` counts; once written to they are kept.
fn freeing(mut race: Race<'_>, lost: Count) -> Outcome {
    race.racers(RACERS, map, |racer| {
        let pages = racer.range()?;
        racer.part.advise(pages.clone(), libc::MADV_FREE)?;
        if racer.random.below(2) == 0 {
            racer.pause();
            for page in pages.clone() {
                let part = &racer.part;
                if part.verify(page..page + 1).is_ok() {
                    continue;
                }
                part.region
                    .verify_page(page, 0)
                    .context("after MADV_FREE: neither what was there nor zeroes")?;
                lost.add(1);
            }
        }
        racer.write(pages);
        Ok(())
    })?;
    race.run()
}

pub fn free(bench: &Bench) -> Outcome {
    // Nothing is reclaimed, so nothing need be lost.
    freeing(Race::new(bench)?, Count::new()?)
}

/// The same with pages that are reclaimed: those that are freed are lost then.
pub fn free_swapped(bench: &Bench) -> Outcome {
    let (mut race, lost) = (Race::in_swap(bench)?, Count::new()?);
    race.needs_event("pglazyfreed")?;
    race.needs_count("freed pages that were lost", 1, lost)?;
    freeing(race, lost)
}

pub fn unmergeable(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let pages = racer.some();
        let all = 0..racer.part.seeds.len();
        match racer.random.below(4) {
            0 => {
                racer.meets(pages.clone())?;
                racer.part.advise(pages.clone(), libc::MADV_UNMERGEABLE)?;
            }
            1 => super::super::prctl::merge_any(racer.random.below(2) == 0)?,
            _ => racer.part.advise(all, libc::MADV_MERGEABLE)?,
        }
        racer.part.verify(pages)
    })
}

/// Locks and unlocks everything; `brought` is told before pages that are out are locked.
fn locking(racer: &mut Racer, brought: Option<Look>) -> Outcome {
    let how = [Lock::No, Lock::Now, Lock::OnFault][racer.random.below(3) as usize];
    let all = 0..racer.part.seeds.len();
    racer.meets_all()?;
    if let (Lock::Now, Some(look)) = (how, brought) {
        look.out(&racer.part, all)?;
    }
    racer.part.region.lock(how)?;
    // What is locked cannot be discarded, and need not be: it is unlocked again soon.
    let pages = racer.some();
    racer.part.discard(pages)
}

pub fn mlock(bench: &Bench) -> Outcome {
    race(bench, |racer| locking(racer, None))
}

/// The same with pages that are out, or on their way.
pub fn mlock_swapped(bench: &Bench) -> Outcome {
    let mut race = Race::in_swap(bench)?;
    let brought = Look::new(&mut race, "mlock of pages that were out")?;
    race.racers(RACERS, map, |racer| locking(racer, Some(brought)))?;
    race.run()
}

pub fn mremap(bench: &Bench) -> Outcome {
    race(bench, move_pages)
}

/// The same with pages of which some are out.
pub fn mremap_swapped(bench: &Bench) -> Outcome {
    race_in_swap(bench, |racer| {
        let pages = racer.some();
        // Passes over pages that several map: those are the nuisance's to push out.
        racer.part.advise(pages, libc::MADV_PAGEOUT)?;
        move_pages(racer)
    })
}

/// Moves the whole mapping, or some of its pages over others.
fn move_pages(racer: &mut Racer) -> Outcome {
    let from = racer.range()?;
    let to = racer.random.below((PAGES - from.len() + 1) as u64) as usize;
    match racer.random.below(16) {
        0..=2 => move_all(racer),
        _ if from.start < to + from.len() && to < from.end => racer.part.verify(from),
        way => {
            let places = from.clone().zip(to..);
            for (from, to) in places {
                move_page(&mut racer.part, from, to, way % 2 == 0)?;
            }
            racer.part.verify(from)
        }
    }
}

/// Moves everything elsewhere. Moves of single pages leave many small mappings, so all is mapped anew before.
fn move_all(racer: &mut Racer) -> Outcome {
    racer.part.renew(0..PAGES)?;
    racer.write(0..PAGES);
    racer.pause();
    racer.meets_all()?;
    // Nothing is unmapped by the place holder.
    let region = std::mem::replace(&mut racer.part.region, Region::adopt(0, 0));
    racer.part.region = region.move_away(PAGES)?;
    racer.part.verify_all().context("moved as a whole")
}

/// Moves a page over another; its place is empty afterwards, mapped still or anew.
fn move_page(part: &mut Part, from: usize, to: usize, keep_mapping: bool) -> Outcome {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let keep = if keep_mapping {
        libc::MREMAP_DONTUNMAP
    } else {
        0
    };
    let (old, new) = (part.region.page(from), part.region.page(to));
    sys::check(
        // SAFETY: both pages are ours; nothing refers to the one that is replaced.
        unsafe { libc::mremap(old.cast(), PAGE, PAGE, flags | keep, new) } as libc::c_long,
    )
    .context("mremap of a page")?;
    part.seeds[to] = part.seeds[from];
    if !keep_mapping {
        let fresh = Region::map_at(old as usize, 1)?;
        fresh.mergeable()?;
        fresh.release();
    }
    part.seeds[from] = 0;
    Ok(())
}

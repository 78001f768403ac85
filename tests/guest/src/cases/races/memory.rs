// SPDX-License-Identifier: GPL-2.0

//! Races with calls that change the caller's own mappings.

use super::race::{Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
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
        let pages = racer.range();
        racer.part.renew(pages)
    })
}

fn protect(racer: &mut Racer) -> Outcome {
    let pages = racer.range();
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
        let pages = racer.range();
        racer.part.discard(pages)
    })
}

/// Racers over a file of their own each, which is cut off somewhere and made as long as it was.
fn truncating(mut race: Race<'_>) -> Outcome {
    const BYTES: u64 = (PAGES * PAGE) as u64;
    for _ in 0..RACERS {
        race.process(
            "racer",
            |random| {
                let file = memfd::create("racer", PAGES * PAGE)?;
                Ok((
                    Racer::new(Region::map_file(&file, 0, PAGES)?, random)?,
                    file,
                ))
            },
            |(racer, file)| {
                if racer.ordinary()? {
                    return Ok(());
                }
                let left = racer.random.below(PAGES as u64);
                for bytes in [left * PAGE as u64, BYTES] {
                    file.set_len(bytes).context("ftruncate")?;
                }
                racer.part.seeds[left as usize..].fill(0);
                Ok(())
            },
            |(racer, _)| racer.part.verify_all(),
        )?;
    }
    race.run()
}

pub fn truncate(bench: &Bench) -> Outcome {
    truncating(Race::new(bench)?)
}

/// The same with pages that go out and come back meanwhile.
pub fn truncate_swapped(bench: &Bench) -> Outcome {
    truncating(Race::in_swap(bench)?)
}

/// Freed pages that are only read hold what they held, or nothing; once written to they are kept.
pub fn free(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let pages = racer.range();
        racer.part.advise(pages.clone(), libc::MADV_FREE)?;
        if racer.random.below(2) == 0 {
            racer.pause();
            for page in pages.clone() {
                let part = &racer.part;
                part.verify(page..page + 1)
                    .or_else(|_| part.region.verify_page(page, 0))
                    .context("after MADV_FREE: neither what was there nor zeroes")?;
            }
        }
        racer.write(pages);
        Ok(())
    })
}

pub fn unmergeable(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let pages = racer.range();
        let all = 0..racer.part.seeds.len();
        match racer.random.below(4) {
            0 => racer.part.advise(pages.clone(), libc::MADV_UNMERGEABLE)?,
            1 => super::super::prctl::merge_any(racer.random.below(2) == 0)?,
            _ => racer.part.advise(all, libc::MADV_MERGEABLE)?,
        }
        racer.part.verify(pages)
    })
}

pub fn mlock(bench: &Bench) -> Outcome {
    race(bench, |racer| {
        let how = [Lock::No, Lock::Now, Lock::OnFault][racer.random.below(3) as usize];
        racer.part.region.lock(how)?;
        // What is locked cannot be discarded, and need not be: it is unlocked again soon.
        let pages = racer.range();
        racer.part.discard(pages)
    })
}

pub fn mremap(bench: &Bench) -> Outcome {
    race(bench, move_pages)
}

/// The same with pages of which some are out.
pub fn mremap_swapped(bench: &Bench) -> Outcome {
    race_in_swap(bench, |racer| {
        let pages = racer.range();
        // Passes over pages that several map: those are the nuisance's to push out.
        racer.part.advise(pages, libc::MADV_PAGEOUT)?;
        move_pages(racer)
    })
}

/// Moves the whole mapping, or some of its pages over others.
fn move_pages(racer: &mut Racer) -> Outcome {
    let from = racer.range();
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

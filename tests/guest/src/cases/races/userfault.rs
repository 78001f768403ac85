// SPDX-License-Identifier: GPL-2.0

//! Races with userfaultfd.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::race::{Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::check_eq;
use crate::content::Random;
use crate::count::Count;
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::userfault::{
    Faults, FEATURE_MOVE, FEATURE_PAGEFAULT_FLAG_WP, MODE_MISSING, MODE_WP, MOVE, WRITEPROTECT,
};

const RACERS: usize = 2;

/// A racer whose writes are reported.
struct Watched {
    racer: Racer,
    faults: Arc<Faults>,
    /// Writes reported so far.
    reported: Arc<AtomicUsize>,
}

/// Write-protects pages or lets writes through.
fn protect(faults: &Faults, addr: u64, bytes: usize, on: bool) -> io::Result<()> {
    loop {
        match faults.ioctl(WRITEPROTECT, &mut [addr, bytes as u64, on.into()]) {
            // The mappings were being changed.
            Err(error) if sys::is_errno(&error, libc::EAGAIN) => (),
            other => return other,
        }
    }
}

impl AsMut<Racer> for Watched {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl Watched {
    fn new(random: &mut Random) -> Outcome<Watched> {
        let racer = Racer::new(Region::map(PAGES)?, random)?;
        let faults = Arc::new(Faults::open(FEATURE_PAGEFAULT_FLAG_WP, "write protection")?);
        faults.register(&racer.part.region, MODE_WP)?;
        let reported = Arc::new(AtomicUsize::new(0));
        let (theirs, count) = (faults.clone(), reported.clone());
        // Ends with the process.
        std::thread::spawn(move || loop {
            let result = theirs.next().and_then(|addr| {
                count.fetch_add(1, Ordering::SeqCst);
                protect(&theirs, addr, PAGE, false)
            });
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => {
                    // The racer's write never returns; this says why.
                    eprintln!("guest-tests: userfaultfd: {error}");
                    return;
                }
                Ok(()) => (),
            }
        });
        Ok(Watched {
            racer,
            faults,
            reported,
        })
    }

    /// Protects some pages; every one of them must be reported when it is written to, merged meanwhile or not.
    fn round(&mut self) -> Outcome {
        let pages = self.racer.range()?;
        let part = &self.racer.part;
        let (addr, bytes) = (part.region.page(pages.start) as u64, pages.len() * PAGE);
        protect(&self.faults, addr, bytes, true).context("UFFDIO_WRITEPROTECT")?;
        self.racer.pause();
        self.racer.part.verify(pages.clone())?;
        let before = self.reported.load(Ordering::SeqCst);
        self.racer.write(pages.clone());
        check_eq!(
            self.reported.load(Ordering::SeqCst) - before,
            pages.len(),
            "writes to protected pages that were reported"
        );
        self.racer.part.verify(pages)
    }
}

pub fn write_protect(bench: &Bench) -> Outcome {
    watched(Race::new(bench)?)
}

/// The same with pages that go out and come back meanwhile.
pub fn write_protect_swapped(bench: &Bench) -> Outcome {
    watched(Race::in_swap(bench)?)
}

fn watched(mut race: Race<'_>) -> Outcome {
    race.operating("watched", RACERS, Watched::new, Watched::round, |watched| {
        watched.racer.part.verify_all()
    })?;
    race.run()
}

/// A racer whose pages are moved to another mapping.
struct Moving {
    racer: Racer,
    /// As large; of its pages only those that were moved there may be touched, who touches another waits for good.
    target: Region,
    faults: Faults,
    /// Pages that were moved.
    moved: Count,
    /// Pages that could not be moved, as they were merged or busy.
    refused: Count,
}

impl AsMut<Racer> for Moving {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl Moving {
    fn new(random: &mut Random, moved: Count, refused: Count) -> Outcome<Moving> {
        let faults = Faults::open(FEATURE_MOVE, "UFFDIO_MOVE")?;
        let target = Region::map(PAGES)?;
        faults.register(&target, MODE_MISSING)?;
        target.mergeable()?;
        Ok(Moving {
            racer: Racer::new(Region::map(PAGES)?, random)?,
            target,
            faults,
            moved,
            refused,
        })
    }

    /// Moves pages as far as they are the process's own, looks at them there, and drops them.
    fn round(&mut self) -> Outcome {
        let pages = self.racer.some();
        // Pages of its own, which can be moved, and at times merged ones, which cannot.
        if self.racer.random.below(4) != 0 {
            self.racer.write(pages.clone());
        }
        self.racer.meets(pages.clone())?;
        let mut moved = Vec::new();
        for page in pages.clone() {
            let (to, from) = (self.target.page(page), self.racer.part.region.page(page));
            let mut words = [to as u64, from as u64, PAGE as u64, 0, 0];
            match self.faults.ioctl(MOVE, &mut words) {
                Ok(()) => moved.push((page, std::mem::take(&mut self.racer.part.seeds[page]))),
                // Merged, referred to by others, or about to be changed; there is no page.
                Err(error) if sys::is_errno(&error, libc::EBUSY) => self.refused.add(1),
                Err(error)
                    if [libc::EAGAIN, libc::ENOENT]
                        .iter()
                        .any(|errno| sys::is_errno(&error, *errno)) => {}
                Err(error) => return Err(error).context("UFFDIO_MOVE"),
            }
        }
        self.moved.add(moved.len());
        self.racer.part.verify(pages).context("at the old place")?;
        self.racer.pause();
        for (page, seed) in moved {
            self.target
                .verify_page(page, seed)
                .context("at the new place")?;
        }
        self.target
            .advise(libc::MADV_DONTNEED)
            .context("MADV_DONTNEED")
    }
}

pub fn move_pages(bench: &Bench) -> Outcome {
    moving(Race::new(bench)?)
}

/// The same with pages that are out, or on their way.
pub fn move_swapped(bench: &Bench) -> Outcome {
    moving(Race::in_swap(bench)?)
}

fn moving(mut race: Race<'_>) -> Outcome {
    let (moved, refused) = (Count::new()?, Count::new()?);
    race.needs_count("pages moved by UFFDIO_MOVE", 1, moved)?;
    race.needs_count("merged or busy pages that UFFDIO_MOVE refused", 1, refused)?;
    race.operating(
        "moving",
        RACERS,
        |random| Moving::new(random, moved, refused),
        Moving::round,
        |moving| moving.racer.part.verify_all(),
    )?;
    race.run()
}

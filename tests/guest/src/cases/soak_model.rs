// SPDX-License-Identifier: GPL-2.0

//! A process that does random things to its memory and knows what every page of it must hold.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::case::{Context, Outcome};
use crate::content::Random;
use crate::part::Part;
use crate::region::{Lock, Region};
use crate::worker::{Steps, Worker};

/// Regions a process has at most, and pages in each.
const REGIONS: usize = 6;
const LARGEST: u64 = 96;
/// Contents that many pages have. Content 0 is the zero page.
const COMMON: u64 = 24;
/// Forked children at a time, and operations in the life of one.
const CHILDREN: usize = 2;
const CHILD_LIFE: u64 = 120;
/// How long a process goes on before it reports.
const BATCH: Duration = Duration::from_millis(400);

/// All memory of a process.
pub struct Memory {
    parts: Vec<Part>,
    random: Random,
    children: Vec<Worker>,
    /// Forks between this process and the one it began with.
    depth: usize,
    /// Whether MADV_FREE is among the operations.
    lazyfree: bool,
}

impl Memory {
    /// Empty memory. The same seed gives the same operations.
    pub fn new(seed: u64, lazyfree: bool) -> Memory {
        Memory {
            parts: Vec::new(),
            random: Random::new(seed),
            children: Vec::new(),
            depth: 0,
            lazyfree,
        }
    }

    /// A process's life: batches of operations until it is told to end; tells how many it has done.
    pub fn live(mut self, steps: &mut Steps) -> Outcome {
        let mut count = 0;
        loop {
            let end = Instant::now() + BATCH;
            while Instant::now() < end {
                self.operate().context(format!("operation {count}"))?;
                count += 1;
            }
            if steps.step(count)? == 0 {
                return self.close();
            }
        }
    }

    /// Compares all pages, and waits for the children.
    fn close(mut self) -> Outcome {
        self.verify_all().context("at the end")?;
        self.children.into_iter().try_for_each(Worker::ended)
    }

    /// One random operation.
    fn operate(&mut self) -> Outcome {
        if self.parts.is_empty() {
            return self.map();
        }
        let which = self.random.below(self.parts.len() as u64) as usize;
        let pages = self.range(which);
        let what = self.random.below(100);
        let part = &mut self.parts[which];
        match what {
            0..=21 => self.write(which, pages),
            22..=41 => part.verify(pages),
            42 => self.verify_all(),
            43..=47 => part.discard(pages),
            48..=52 => self.map(),
            53..=55 => self.unmap(which),
            56..=58 => part.renew(pages),
            59..=62 => self.move_part(which),
            63..=69 => part.advise(0..part.seeds.len(), libc::MADV_MERGEABLE),
            70..=72 => part.advise(pages, libc::MADV_UNMERGEABLE),
            73..=76 => self.fork(),
            77..=79 => part.protect(pages),
            80..=91 => part.advise(pages, libc::MADV_PAGEOUT),
            92..=93 => part.advise(pages, libc::MADV_COLD),
            94 => part.advise(pages, libc::MADV_WILLNEED),
            95..=96 if self.lazyfree => self.free_and_write(which, pages),
            95..=96 => Ok(()),
            97 => part.region.lock(Lock::OnFault),
            _ => part.region.lock(Lock::No),
        }
    }

    /// Some pages in a row of a part.
    fn range(&mut self, which: usize) -> Range<usize> {
        self.parts[which].range(&mut self.random, 16)
    }

    fn write(&mut self, which: usize, pages: Range<usize>) -> Outcome {
        let random = &mut self.random;
        self.parts[which].write(pages, |_| random.content(COMMON));
        Ok(())
    }

    /// Pages that may be dropped until they are written to again, which happens at once.
    fn free_and_write(&mut self, which: usize, pages: Range<usize>) -> Outcome {
        self.parts[which].advise(pages.clone(), libc::MADV_FREE)?;
        self.write(which, pages)
    }

    fn verify_all(&mut self) -> Outcome {
        for (which, part) in self.parts.iter().enumerate() {
            part.verify(0..part.seeds.len())
                .context(format!("region {which}"))?;
        }
        Ok(())
    }

    fn map(&mut self) -> Outcome {
        if self.parts.len() == REGIONS {
            let which = self.random.below(REGIONS as u64) as usize;
            self.unmap(which)?;
        }
        let pages = 1 + self.random.below(LARGEST) as usize;
        let region = Region::map(pages)?;
        if self.random.below(8) != 0 {
            region.mergeable()?;
        }
        self.parts.push(Part::new(region));
        let which = self.parts.len() - 1;
        self.write(which, 0..pages)
    }

    fn unmap(&mut self, which: usize) -> Outcome {
        let part = self.parts.swap_remove(which);
        part.verify(0..part.seeds.len()).context("before munmap")
    }

    /// Moves a region as it is, with what of it is out.
    fn move_part(&mut self, which: usize) -> Outcome {
        let Part { region, seeds } = self.parts.swap_remove(which);
        let region = region.move_away(seeds.len())?;
        self.parts.push(Part { region, seeds });
        Ok(())
    }

    /// A child goes on with a copy of everything for a while, and so does this process.
    fn fork(&mut self) -> Outcome {
        if self.depth == 2 {
            return self.verify_all();
        }
        if self.children.len() == CHILDREN {
            self.children.remove(0).ended()?;
        }
        let (seed, life) = (self.random.next(), self.random.below(CHILD_LIFE));
        let (depth, lazyfree) = (self.depth + 1, self.lazyfree);
        let child = Worker::start(&format!("fork of seed {seed:#x}"), |_| {
            let parts = self.parts.drain(..).collect();
            let mut memory = Memory {
                parts,
                random: Random::new(seed),
                children: Vec::new(),
                depth,
                lazyfree,
            };
            // Those of the parent are not this process's to wait for.
            std::mem::forget(std::mem::take(&mut self.children));
            for count in 0..life {
                memory
                    .operate()
                    .context(format!("operation {count} of the fork"))?;
            }
            memory.close()
        })?;
        self.children.push(child);
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A race with a device that takes pages into its memory: they are away until somebody touches them.

use super::super::device_memory::Device;
use super::race::{Race, Racer, MOST, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::region::Region;
use crate::worker::Worker;

const RACERS: usize = 2;

/// A racer whose pages a device takes.
struct Mirrored {
    racer: Racer,
    device: Device,
    /// What the device says it has.
    copy: Region,
    taken: Count,
}

impl AsMut<Racer> for Mirrored {
    fn as_mut(&mut self) -> &mut Racer {
        &mut self.racer
    }
}

impl Mirrored {
    fn new(random: &mut Random, taken: Count) -> Outcome<Mirrored> {
        Ok(Mirrored {
            racer: Racer::new(Region::map(PAGES)?, random)?,
            device: Device::mirroring()?,
            copy: Region::map(MOST as usize)?,
            taken,
        })
    }

    /// The device takes pages; they come back for this process or a fork, or are left for others to want them back.
    fn round(&mut self) -> Outcome {
        let pages = self.racer.range()?;
        let region = &self.racer.part.region;
        // It takes what it gets: pages that others hold stay, and it forgets what it had before.
        let _ = self.device.migrate(region, pages.clone(), &self.copy);
        let entries = region.pagemap()?;
        let away = entries[pages.clone()].iter().filter(|e| e.swapped());
        self.taken.add(away.count());
        match self.racer.random.below(4) {
            0 => self.racer.pause(),
            1 => {
                let part = &self.racer.part;
                Worker::start("fork of who has pages in a device", |_| {
                    part.verify(pages.clone())
                })?
                .ended()?;
            }
            2 => self.racer.write(pages.clone()),
            _ => self.racer.part.discard(pages.clone())?,
        }
        self.racer
            .part
            .verify(pages)
            .context("pages that a device had taken")
    }
}

pub fn memory(bench: &Bench) -> Outcome {
    Device::make(bench)?;
    let mut race = Race::new(bench)?;
    let taken = Count::new()?;
    race.needs_count("pages that the device took", 3, taken)?;
    race.operating(
        "mirrored",
        RACERS,
        |random| Mirrored::new(random, taken),
        Mirrored::round,
        |mirrored| mirrored.racer.part.verify_all(),
    )?;
    race.run()
}

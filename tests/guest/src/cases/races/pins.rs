// SPDX-License-Identifier: GPL-2.0

//! Races with devices and pipes that refer to pages.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::super::null_disk::NullDisk;
use super::look::Look;
use super::race::{Race, Racer, PAGES};
use crate::case::{Bench, Context, Outcome};
use crate::content::Random;
use crate::pipe_pages::PipePages;
use crate::region::Region;
use crate::sys::PAGE;

const RACERS: usize = 3;
/// Nanoseconds that the disk takes for a request: the page is pinned so long.
const DISK_TIME_NS: u64 = 500_000;

/// What a disk must have met.
#[derive(Clone, Copy)]
struct Looks {
    /// O_DIRECT writes are from pages, reads to them.
    from: Look,
    to: Look,
    /// Pages that were out, where they are reclaimed.
    out: Option<Look>,
}

impl Looks {
    fn new(race: &mut Race<'_>, out: Option<&str>) -> Outcome<Looks> {
        Ok(Looks {
            from: Look::new(race, "O_DIRECT writes of merged pages")?,
            to: Look::new(race, "O_DIRECT reads to merged pages")?,
            out: out.map(|what| Look::new(race, what)).transpose()?,
        })
    }
}

/// A racer and its part of a disk.
struct Client {
    racer: Racer,
    disk: File,
    /// Where its part begins, in pages, and what is in it.
    first: u64,
    seeds: Vec<u64>,
    looks: Looks,
}

impl Client {
    fn new(path: &str, number: usize, random: &mut Random, looks: Looks) -> Outcome<Client> {
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)
            .context(path)?;
        Ok(Client {
            racer: Racer::new(Region::map(PAGES)?, random)?,
            disk,
            first: (number * PAGES) as u64,
            seeds: vec![0; PAGES],
            looks,
        })
    }

    /// A page goes from memory to the disk, or back.
    fn round(&mut self) -> Outcome {
        if self.racer.ordinary()? {
            return Ok(());
        }
        let random = &mut self.racer.random;
        let (page, sector) = (random.below(PAGES as u64), random.below(PAGES as u64));
        let (page, sector) = (page as usize, sector as usize);
        let place = (self.first + sector as u64) * PAGE as u64;
        let part = &mut self.racer.part;
        let pages = page..page + 1;
        // As in outsiders.rs: of pages that are reclaimed nearly all are out.
        if random.below(2) == 0 {
            part.verify(pages.clone())?;
        }
        if let Some(look) = self.looks.out {
            look.out(part, pages.clone())?;
        }
        let writes = random.below(2) == 0;
        match writes {
            true => self.looks.from.merged(part, pages.clone())?,
            false => self.looks.to.merged(part, pages.clone())?,
        }
        // SAFETY: a page of our own mapping, which nothing else refers to while the slice is in use.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(part.region.page(page).cast::<u8>(), PAGE) };
        if writes {
            self.disk
                .write_all_at(bytes, place)
                .context("O_DIRECT write")?;
            self.seeds[sector] = part.seeds[page];
            return Ok(());
        }
        self.disk
            .read_exact_at(bytes, place)
            .context("O_DIRECT read")?;
        part.seeds[page] = self.seeds[sector];
        part.verify(pages).context("just read by O_DIRECT")
    }
}

pub fn direct_io(bench: &Bench) -> Outcome {
    let disk = NullDisk::slow(8, DISK_TIME_NS)?;
    let mut race = Race::new(bench)?;
    let looks = Looks::new(&mut race, None)?;
    clients(race, &disk, looks)
}

/// The same with pages that are out, or on their way.
pub fn direct_io_swapped(bench: &Bench) -> Outcome {
    let disk = NullDisk::slow(8, DISK_TIME_NS)?;
    let mut race = Race::in_swap(bench)?;
    let looks = Looks::new(&mut race, Some("O_DIRECT of pages that were out"))?;
    clients(race, &disk, looks)
}

fn clients(mut race: Race<'_>, disk: &NullDisk, looks: Looks) -> Outcome {
    for number in 0..RACERS {
        race.process(
            "client of a disk",
            |random| Client::new(disk.path(), number, random, looks),
            Client::round,
            |client| client.racer.part.verify_all(),
        )?;
    }
    race.run()
}

/// What went into a pipe comes out of it, whatever became of the pages it was in.
pub fn vmsplice(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    race.racers(
        RACERS,
        || Region::map(PAGES),
        |racer| {
            let pages = racer.range()?;
            let pipe = PipePages::splice(&racer.part.region, pages.clone())?;
            racer.pause();
            let out = Region::map(pages.len())?;
            pipe.read(&out)?;
            for (index, page) in pages.clone().enumerate() {
                out.verify_page(index, racer.part.seeds[page])
                    .context("out of the pipe")?;
            }
            racer.part.verify(pages)
        },
    )?;
    race.run()
}

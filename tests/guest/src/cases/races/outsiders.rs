// SPDX-License-Identifier: GPL-2.0

//! Races with processes that read and write another's memory, or watch its page tables.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::look::Look;
use super::race::{Race, Racer, PAGES};
use crate::case::{skip, Bench, Context, Outcome};
use crate::check;
use crate::content::{self, Random};
use crate::pagemap;
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::worker::Worker;

const RACERS: usize = 2;
const MERGED: &str = "writes to another's merged pages";

/// What writes to others' pages must have met.
#[derive(Clone, Copy)]
struct Looks {
    merged: Look,
    /// Pages that were out, where they are reclaimed.
    out: Option<Look>,
}

/// A process that does nothing to its memory, and another that does.
struct Puppet {
    worker: Worker,
    memory: File,
    /// The same address is not mapped here: what is the puppet's is told by its number.
    addr: usize,
    seeds: Vec<u64>,
    random: Random,
    looks: Looks,
    /// A page to write from, and one to read to.
    buffer: Region,
}

/// How another's memory is written to.
#[derive(Clone, Copy)]
enum Way {
    /// `/proc/PID/mem`
    Memory,
    /// `process_vm_writev(2)`
    Call,
    /// `ptrace(2)`
    Trace,
}

impl Puppet {
    fn new(random: &mut Random, looks: Looks) -> Outcome<Puppet> {
        let seed = random.next();
        let mut worker = Worker::start("puppet", |steps| {
            let racer = Racer::new(Region::map(PAGES)?, &mut Random::new(seed))?;
            for seed in &racer.part.seeds {
                steps.step(*seed)?;
            }
            steps.step(racer.part.region.addr() as u64).map(drop)
        })?;
        let mut seeds = vec![worker.arrived()?];
        while seeds.len() < PAGES {
            seeds.push(worker.step(0)?);
        }
        let addr = worker.step(0)? as usize;
        let path = format!("/proc/{}/mem", worker.pid());
        let memory = OpenOptions::new().read(true).write(true).open(&path);
        Ok(Puppet {
            worker,
            memory: memory.context(path)?,
            addr,
            seeds,
            random: Random::new(random.next()),
            looks,
            buffer: Region::map(2)?,
        })
    }

    fn round(&mut self) -> Outcome {
        let page = self.random.below(PAGES as u64) as usize;
        match self.random.below(8) {
            0..=2 => self.verify(page),
            3 => {
                super::race::pause(&mut self.random);
                Ok(())
            }
            4 | 5 => self.write(page, Way::Memory).context("/proc/PID/mem"),
            6 => self.write(page, Way::Call).context("process_vm_writev"),
            _ => self.write(page, Way::Trace).context("ptrace"),
        }
    }

    /// Where a page of the puppet's is.
    fn place(&self, page: usize) -> usize {
        self.addr + page * PAGE
    }

    /// A page of ours as bytes.
    fn bytes(&mut self, page: usize) -> &mut [u8] {
        // SAFETY: a page of our own mapping, which nothing else refers to while the slice is in use.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.page(page).cast::<u8>(), PAGE) }
    }

    fn verify(&mut self, page: usize) -> Outcome {
        let (place, seed) = (self.place(page), self.seeds[page]);
        if self.random.below(2) == 0 {
            let memory = self.memory.try_clone().context("dup")?;
            memory
                .read_exact_at(self.bytes(1), place as u64)
                .context("reading /proc/PID/mem")?;
        } else {
            let own = self.buffer.page(1) as usize;
            // SAFETY: a page of ours, which nothing else refers to.
            unsafe { sys::read_memory(self.worker.pid(), place, own, PAGE) }
                .context("process_vm_readv")?;
        }
        // SAFETY: the page just read.
        unsafe { content::verify(self.buffer.page(1), seed) }.context(format!("page {page}"))
    }

    fn vector(&self, page: usize) -> libc::iovec {
        vector(self.buffer.page(page) as usize)
    }

    fn write(&mut self, page: usize, way: Way) -> Outcome {
        // Of pages that are reclaimed nearly all are out: read first, it is in memory, and may be a merged one.
        if self.random.below(2) == 0 {
            self.verify(page)?;
        }
        let (place, seed) = (self.place(page), self.random.content(20));
        self.buffer.write(0, seed);
        self.seeds[page] = seed;
        let pid = self.worker.pid();
        self.looks.merged.merged_of(pid, place, 1).context("")?;
        if let Some(look) = self.looks.out {
            look.out_of(pid, place, 1).context("")?;
        }
        match way {
            Way::Memory => {
                let memory = self.memory.try_clone().context("dup")?;
                memory
                    .write_all_at(self.bytes(0), place as u64)
                    .context("")?;
            }
            Way::Call => {
                let (local, remote) = (self.vector(0), vector(place));
                // SAFETY: a page of ours and one of the puppet's.
                let done =
                    unsafe { libc::process_vm_writev(self.worker.pid(), &local, 1, &remote, 1, 0) };
                sys::check(done as libc::c_long).context("")?;
            }
            Way::Trace => self.poke(place).context("")?,
        }
        self.verify(page)
    }

    /// Writes the buffer word by word, while the puppet is stopped.
    fn poke(&self, place: usize) -> Outcome {
        let pid = self.worker.pid();
        let trace = |request, addr: usize, data: usize| {
            // SAFETY: requests that take numbers only.
            sys::check(unsafe { libc::ptrace(request, pid, addr, data) })
        };
        trace(libc::PTRACE_ATTACH, 0, 0).context("PTRACE_ATTACH")?;
        // SAFETY: no place for a status is given.
        sys::check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }.into())
            .context("waiting for the puppet to stop")?;
        for word in 0..PAGE / 8 {
            // SAFETY: inside the buffer's first page.
            let value = unsafe { self.buffer.page(0).add(word).read() };
            trace(libc::PTRACE_POKEDATA, place + word * 8, value as usize)
                .context("PTRACE_POKEDATA")?;
        }
        trace(libc::PTRACE_DETACH, 0, 0)
            .context("PTRACE_DETACH")
            .map(drop)
    }

    fn close(mut self) -> Outcome {
        for page in 0..PAGES {
            self.verify(page)?;
        }
        self.worker.finish()
    }
}

fn vector(addr: usize) -> libc::iovec {
    libc::iovec {
        iov_base: addr as *mut _,
        iov_len: PAGE,
    }
}

pub fn memory(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
    let looks = Looks {
        merged: Look::new(&mut race, MERGED)?,
        out: None,
    };
    others_memory(race, looks)
}

/// The same with pages that are out, or on their way: they come in for one whose memory they are not.
pub fn memory_swapped(bench: &Bench) -> Outcome {
    let mut race = Race::in_swap(bench)?;
    let looks = Looks {
        merged: Look::new(&mut race, MERGED)?,
        out: Some(Look::new(
            &mut race,
            "writes to another's pages that were out",
        )?),
    };
    others_memory(race, looks)
}

fn others_memory(mut race: Race<'_>, looks: Looks) -> Outcome {
    for _ in 0..RACERS {
        race.process(
            "puppeteer",
            |random| Puppet::new(random, looks),
            Puppet::round,
            Puppet::close,
        )?;
    }
    race.run()
}

/// Pages written since the marks were cleared are marked, merged meanwhile or not; others clear and read the marks of all.
pub fn soft_dirty(bench: &Bench) -> Outcome {
    let clear = || fs::write("/proc/self/clear_refs", "4").context("clear_refs");
    let probe = Region::map(1)?;
    probe.write(0, 1);
    if !probe.pagemap()?[0].soft_dirty() {
        return skip("this kernel does not track soft-dirty pages");
    }
    clear()?;
    check!(
        !probe.pagemap()?[0].soft_dirty(),
        "a page is soft-dirty when all marks have just been cleared"
    );
    let mut race = Race::new(bench)?;
    race.racers(
        RACERS,
        || Region::map(PAGES),
        |racer| {
            clear()?;
            racer.pause();
            let pages = racer.range()?;
            racer.write(pages.clone());
            racer.pause();
            let entries = racer.part.region.pagemap()?;
            for page in pages.clone() {
                check!(
                    entries[page].soft_dirty(),
                    "page {page} was written to and is not soft-dirty"
                );
            }
            racer.part.verify(pages)
        },
    )?;
    let racers = race.pids();
    race.nuisance("reader", move |random| {
        let pid = racers[random.below(racers.len() as u64) as usize];
        for file in ["smaps", "smaps_rollup", "ksm_stat"] {
            // A look at what is there; the process may be anywhere.
            let _ = fs::read(format!("/proc/{pid}/{file}"));
        }
        let _ = pagemap::of(pid, 0x10000, 16);
        super::race::pause(random);
        Ok(())
    })?;
    race.run()
}

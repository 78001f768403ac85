// SPDX-License-Identifier: GPL-2.0

//! A race with unprivileged processes that make random system calls about their memory ([`calls`]) and may die of it.
//! Beside them are honest ones, which lose nothing and are merged in the end.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::super::{abuse, swapping};
use super::calls::{self, Files, KINDS};
use super::look::Look;
use super::race::{pause, Race, PAGES};
use super::tally::Tally;
use crate::case::{fail, Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::content::Random;
use crate::memfd;
use crate::pagemap::{self, FLAG_KSM};
use crate::part::Part;
use crate::region::Region;
use crate::runner;
use crate::sys::{self, Ended, PAGE};
use crate::wait;

/// Processes that have others make calls, one after the other.
const MASTERS: usize = 2;
/// Processes whose content must stay.
const HONEST: usize = 2;
/// Most pages that are reclaimed at a time: all there are, so that those of the honest ones are among them.
const MOST_RECLAIMED: u64 = 8192;
/// Contents of the honest ones, which the others have, too; each page's once more in the same process.
const CONTENTS: usize = PAGES / 2;
/// Where the tally has what is not a call: lives and how many went to their end, pages of honest ones that were out.
const LIVES: usize = KINDS.len();
const OUT: usize = KINDS.len() + 1;

pub fn plain(bench: &Bench) -> Outcome {
    let tally = Tally::map()?;
    race(bench, tally, CONTENTS, |_| Ok(()))
}

pub fn swapped(bench: &Bench) -> Outcome {
    swapping::device()?;
    let tally = Tally::map()?;
    let group = Group::enter("races")?;
    // A content that is out is not read in for a page that has it, too: two such pages make another merged page.
    race(bench, tally, PAGES - 1, |race| {
        race.needs("looks of honest processes that found pages out", 1, || {
            Ok(tally.succeeded(OUT) as i64)
        })?;
        race.nuisance("reclaim", |random| {
            group.reclaim(PAGE * (1 + random.below(MOST_RECLAIMED) as usize))?;
            pause(random);
            Ok(())
        })
    })
}

/// What page `index` of an honest process holds.
fn content(index: usize) -> u64 {
    1 + (index % CONTENTS) as u64
}

fn race<'a>(
    bench: &'a Bench,
    tally: &'static Tally,
    frames: usize,
    more: impl FnOnce(&mut Race<'a>) -> Outcome,
) -> Outcome {
    // Where it cannot be opened that kind of call is not asked for.
    let device = File::options().read(true).write(true).open("/dev/ksm").ok();
    let (contents, shared) = (
        // The pages of an honest process, as a file.
        memfd::filled("contents", PAGES, content)?,
        memfd::create("shared", calls::BYTES)?,
    );
    let device_fd = device.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let files = Files::new(contents.as_raw_fd(), shared.as_raw_fd(), device_fd);
    let mut race = Race::new(bench)?;
    race.needs("processes that made calls", 1, || {
        Ok(tally.tried(LIVES) as i64)
    })?;
    let merged = Look::new(
        &mut race,
        "looks of honest processes that found merged pages",
    )?;
    for _ in 0..HONEST {
        race.process(
            "honest process",
            honest,
            |state| look(state, tally, merged),
            move |state| end(state, frames),
        )?;
    }
    for _ in 0..MASTERS {
        race.process(
            "master of callers",
            |random| Ok(Random::new(random.next())),
            |random| caller(random, files, tally),
            |mut random| all_succeeded(&mut random, files, tally),
        )?;
    }
    more(&mut race)?;
    race.run()?;
    tell(tally);
    Ok(())
}

fn honest(random: &mut Random) -> Outcome<(Part, Random)> {
    let mut part = Part::new(Region::map(PAGES)?);
    part.write(0..PAGES, content);
    part.region.mergeable()?;
    Ok((part, Random::new(random.next())))
}

/// Compares everything; a page is written to, with the same, and so merged again.
fn look((part, random): &mut (Part, Random), tally: &Tally, merged: Look) -> Outcome {
    // Time to be merged, and to go out.
    pause(random);
    pause(random);
    let out = part
        .region
        .pagemap()?
        .iter()
        .filter(|e| e.swapped())
        .count();
    tally.count(OUT, out > 0);
    merged.merged(part, 0..PAGES)?;
    part.verify_all()?;
    let index = random.below(PAGES as u64) as usize;
    part.region.write(index, content(index));
    Ok(())
}

/// An honest process is still merged, with itself at least, into no more than so many frames, and has what it had.
fn end((part, _): (Part, Random), most: usize) -> Outcome {
    wait::until("an honest process is merged in the end", || {
        part.verify_all()?;
        let frames = pagemap::frames(&part.region.pagemap()?);
        let merged = pagemap::count_flag(&frames, FLAG_KSM)?;
        let distinct = pagemap::distinct(&frames);
        Ok((
            merged == PAGES && distinct <= most,
            format!("{merged} of {PAGES} pages merged, {distinct} frames of {most}"),
        ))
    })?;
    part.verify_all()
}

/// A process that makes calls, from its beginning to its end.
fn caller(random: &mut Random, files: Files, tally: &'static Tally) -> Outcome {
    let seed = random.next();
    let pid = match sys::fork().context("fork")? {
        Some(pid) => pid,
        None => {
            let result = abuse::become_nobody().and_then(|()| calls::life(seed, files, tally));
            if let Err(stop) = &result {
                runner::log(&format!(
                    "a process that makes calls could not begin: {stop}"
                ));
            }
            sys::exit(i32::from(result.is_err()))
        }
    };
    let ended = sys::waitpid(pid, false).context("waitpid")?;
    let Some((_, ended)) = ended else {
        return fail("a process that makes calls has no end");
    };
    match ended {
        Ended::Code(0) | Ended::Signal(libc::SIGSEGV | libc::SIGBUS) => {
            tally.count(LIVES, ended == Ended::Code(0));
            Ok(())
        }
        other => fail(format!(
            "a process that makes calls, of seed {seed:#x}, ended with {other:?}"
        )),
    }
}

/// Goes on until every kind of call has succeeded, and a process has lived to its end.
fn all_succeeded(random: &mut Random, files: Files, tally: &'static Tally) -> Outcome {
    wait::until("every kind of system call has succeeded", || {
        let mut missing: Vec<&str> = (0..KINDS.len())
            .filter(|&kind| tally.succeeded(kind) == 0)
            .map(|kind| KINDS[kind].name)
            .filter(|&name| name != "/dev/ksm" || files.device >= 0)
            .collect();
        if tally.succeeded(LIVES) == 0 {
            missing.push("a process at the end of its calls");
        }
        if !missing.is_empty() {
            caller(random, files, tally)?;
        }
        Ok((missing.is_empty(), missing))
    })
}

/// Leaves the counts in the log.
fn tell(tally: &Tally) {
    let mut text = format!(
        "{} processes, {} of them to the end; succeeded of tried:",
        tally.tried(LIVES),
        tally.succeeded(LIVES)
    );
    for (number, kind) in KINDS.iter().enumerate() {
        let (succeeded, tried) = (tally.succeeded(number), tally.tried(number));
        text += &format!(" {} {succeeded}/{tried},", kind.name);
    }
    runner::log(text.trim_end_matches(','));
}

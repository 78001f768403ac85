// SPDX-License-Identifier: GPL-2.0

//! A race with memory errors: pages break, or go out of use, while they are being merged. Who had a broken frame finds
//! out when it touches the page; nobody else does.

use super::look::is_out;
use super::machine::{change, map};
use super::race::{pause, Race};
use super::tally::Tally;
use crate::case::{fail, skip, Bench, Context, Outcome, Stop};
use crate::content::{self, Random};
use crate::pagemap::{self, Entry, FLAG_HWPOISON, FLAG_KSM};
use crate::procfs;
use crate::region::{Region, MADV_SOFT_OFFLINE};
use crate::runner;
use crate::sabotage::{self, Sabotage};
use crate::sys::{self, Ended, PAGE};
use crate::worker::Worker;
use crate::{check, check_eq};

/// Pages of each process that may lose some.
const PAGES: usize = 8;
/// Processes that may lose pages.
const SHARERS: usize = 2;
/// Processes that have other contents and lose nothing.
const BYSTANDERS: usize = 2;
/// Most pages that are broken, and that go out of use: they are gone until the machine boots again.
const MOST: u64 = 100;
/// What is counted: pages broken, pages out of use, broken pages that others found, processes that died of one.
const BROKEN: usize = 0;
const RETIRED: usize = 1;
const FOUND: usize = 2;
const DEATHS: usize = 3;

/// What page `index` holds; no bystander has it.
fn seed(index: usize) -> u64 {
    0xB4D_0000 + index as u64
}

pub fn pages(bench: &Bench) -> Outcome {
    breaking(Race::new(bench)?)
}

/// The same with pages that are out, or on their way: some break in the swap cache.
pub fn pages_swapped(bench: &Bench) -> Outcome {
    breaking(Race::in_swap(bench)?)
}

fn breaking(mut race: Race<'_>) -> Outcome {
    const CORRUPTED: [&str; 2] = ["/proc/meminfo", "HardwareCorrupted"];
    let tally = Tally::map()?;
    let [file, key] = CORRUPTED;
    let before = procfs::field(file, key)?;
    race.racers(BYSTANDERS, map, change)?;
    for _ in 0..SHARERS {
        race.process(
            "sharer of pages that break",
            |_| fresh(),
            |region| look(region, tally),
            close,
        )?;
    }
    race.nuisance("breaker", |random| break_one(random, tally))?;
    for (kind, what) in [
        (BROKEN, "pages that broke"),
        (RETIRED, "pages that went out of use"),
        (FOUND, "broken pages that others had, too"),
    ] {
        race.needs(what, 1, move || Ok(tally.succeeded(kind) as i64))?;
    }
    race.run()?;
    let [broken, retired, found, deaths] =
        [BROKEN, RETIRED, FOUND, DEATHS].map(|kind| tally.succeeded(kind));
    runner::log(&format!(
        "{broken} pages broken, {retired} out of use; others found {found} broken, {deaths} processes died of it"
    ));
    let grown = (procfs::field(file, key)? - before) / (PAGE as i64 >> 10);
    check!(
        grown >= (broken + retired) as i64,
        "{key} grew by {grown} pages when {broken} broke and {retired} went out of use"
    );
    Ok(())
}

fn fresh() -> Outcome<Region> {
    let region = Region::map(PAGES)?;
    region.fill(seed);
    region.mergeable()?;
    Ok(region)
}

/// Reads page `index` as a debugger would: an error is no signal. None if it cannot be read.
fn read(region: &Region, index: usize) -> Outcome<Option<Box<[u64; PAGE / 8]>>> {
    let mut copy = Box::new([0u64; PAGE / 8]);
    let (from, to) = (region.page(index) as usize, copy.as_mut_ptr() as usize);
    // SAFETY: the copy is as long as a page.
    match unsafe { sys::read_memory(std::process::id() as i32, from, to, PAGE) } {
        Ok(PAGE) => Ok(Some(copy)),
        Ok(count) => fail(format!("page {index}: {count} bytes could be read")),
        Err(error) if sys::is_errno(&error, libc::EFAULT) => Ok(None),
        Err(error) => Err(error).context(format!("page {index}: process_vm_readv")),
    }
}

fn entry(region: &Region, index: usize) -> Outcome<Entry> {
    let entries = pagemap::of(std::process::id() as i32, region.page(index) as usize, 1)?;
    Ok(entries[0])
}

/// Compares all pages. One that cannot be read must be broken; it is replaced.
fn look(region: &mut Region, tally: &Tally) -> Outcome {
    for index in 0..PAGES {
        if readable(region, index)? {
            continue;
        }
        let entry = entry(region, index)?;
        let Some(slot) = entry.slot() else {
            return fail(format!(
                "page {index} cannot be read, although it is there: {entry:?}"
            ));
        };
        if is_out(entry) {
            // What is in the swap cache and on the disk, too, is read from there when its frame has been given up.
            if readable_soon(region, index)? {
                continue;
            }
            // Its frame is told nowhere; who touches it has to die as of any other.
            dies_touching(region, index).context("a page in swap that cannot be read")?;
            tally.count(FOUND, true);
            tally.count(DEATHS, true);
            replace(region, index)?;
            continue;
        }
        let frame = slot >> 5;
        check!(
            pagemap::flags(frame)? & FLAG_HWPOISON != 0,
            "page {index} cannot be read, although its frame {frame:#x} is not broken: {entry:?}"
        );
        tally.count(FOUND, true);
        if tally.tried(FOUND) % 4 == 1 {
            dies_touching(region, index)?;
            tally.count(DEATHS, true);
        }
        replace(region, index)?;
    }
    std::thread::sleep(std::time::Duration::from_millis(1));
    Ok(())
}

/// Whether page `index` can be read; then it is what it must be.
fn readable(region: &Region, index: usize) -> Outcome<bool> {
    let Some(copy) = read(region, index)? else {
        return Ok(false);
    };
    // SAFETY: a page's copy of our own.
    unsafe { content::verify(copy.as_ptr(), seed(index)) }.context(format!("page {index}"))?;
    Ok(true)
}

/// The same within some time.
fn readable_soon(region: &Region, index: usize) -> Outcome<bool> {
    for _ in 0..100 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        if readable(region, index)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A new page in the place of a broken one.
fn replace(region: &Region, index: usize) -> Outcome {
    region
        .advise_pages(index..index + 1, libc::MADV_DONTNEED)
        .context("MADV_DONTNEED of a broken page")?;
    region.write(index, seed(index));
    Ok(())
}

/// A child that touches a broken page dies of it.
fn dies_touching(region: &Region, index: usize) -> Outcome {
    Worker::start("process that touches a broken page", |_| {
        // SAFETY: the default action, in a process of its own.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        let found = region.peek(index, 0);
        fail(format!("page {index} is broken, but reads as {found}"))
    })?
    .killed_by(libc::SIGBUS)
}

/// At rest: no page that is there is in a broken frame.
fn close(region: Region) -> Outcome {
    for index in 0..PAGES {
        let Some(frame) = entry(&region, index)?.frame() else {
            continue;
        };
        check_eq!(
            pagemap::flags(frame)? & FLAG_HWPOISON,
            0,
            "HWPOISON flag of frame {frame:#x}, where page {index} is"
        );
        region.verify_page(index, seed(index))?;
    }
    Ok(())
}

/// A process with the pages that others have, too, breaks one of them, or has it go out of use.
fn break_one(random: &mut Random, tally: &Tally) -> Outcome {
    let (kind, advice) = match random.below(2) {
        0 => (BROKEN, libc::MADV_HWPOISON),
        _ => (RETIRED, MADV_SOFT_OFFLINE),
    };
    if tally.succeeded(kind) >= MOST || sabotage::is(Sabotage::NoMove) {
        pause(random);
        return Ok(());
    }
    let index = random.below(PAGES as u64) as usize;
    let merged_before = random.below(2) == 0;
    let seed_of_child = random.next();
    let pid = match sys::fork().context("fork")? {
        Some(pid) => pid,
        None => {
            let result = (|| {
                // SAFETY: the default action, in a process of its own.
                unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
                let region = fresh()?;
                let mut random = Random::new(seed_of_child);
                pause(&mut random);
                for _ in 0..if merged_before { 50 } else { 0 } {
                    let frame = entry(&region, index)?.frame();
                    if frame.is_some_and(|f| pagemap::flags(f).is_ok_and(|f| f & FLAG_KSM != 0)) {
                        break;
                    }
                    pause(&mut random);
                }
                match region.advise_pages(index..index + 1, advice) {
                    Ok(()) => tally.count(kind, true),
                    Err(error) if sys::is_errno(&error, libc::EINVAL) => {
                        return skip("this kernel cannot feign memory errors")
                    }
                    // Somebody holds the page, or is moving it.
                    Err(_) => tally.count(kind, false),
                }
                if kind == RETIRED {
                    region.verify(seed).context("a page went out of use")?;
                }
                Ok(())
            })();
            sys::exit(match result {
                Ok(()) => 0,
                Err(Stop::Skip(_)) => 2,
                Err(Stop::Fail(text)) => {
                    runner::log(&format!("who breaks pages: {text}"));
                    1
                }
            })
        }
    };
    let ended = sys::waitpid(pid, false).context("waitpid")?;
    match ended.map(|(_, ended)| ended) {
        Some(Ended::Code(0)) => Ok(()),
        Some(Ended::Code(2)) => skip("this kernel cannot feign memory errors"),
        // Killed inside the call, for the page that it broke.
        Some(Ended::Signal(libc::SIGBUS)) if kind == BROKEN => {
            tally.count(BROKEN, true);
            Ok(())
        }
        other => fail(format!(
            "who breaks page {index} by advice {advice} ended with {other:?} (the kernel's log says why)"
        )),
    }
}

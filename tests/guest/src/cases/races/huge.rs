// SPDX-License-Identifier: GPL-2.0

//! Races with what makes huge pages of the base pages that the scanner splits.

use std::fs;
use std::time::{Duration, Instant};

use super::super::swapping;
use super::look::is_out;
use super::race::{Race, Racer, LEISURE};
use crate::case::{fail, skip, Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::pagemap::{self, FLAG_HUGE};
use crate::procfs;
use crate::region::{Region, MADV_COLLAPSE};
use crate::sabotage::{self, Sabotage};
use crate::setting::Setting;
use crate::slow;
use crate::sys;

const RACERS: usize = 2;
/// Pages that are read from swap at a time, a power of 2.
const TOGETHER: u32 = 5;
const BROUGHT: &str = "huge pages made of pages that were out";
/// Milliseconds that a racer leaves its memory to khugepaged and the scanner, at most.
const LEAVES: u64 = 20;
/// Milliseconds that khugepaged leaves it to the scanner, which has to come by twice before it merges.
const COMES: u32 = 50;
/// The same where it comes for page after page that is out.
const COMES_OFTEN: u32 = 10;
/// Pages of a huge page that may be out for khugepaged to take it on: less than half.
const AWAY: usize = 128;
/// One in so many rounds leaves its memory to the scanner and to reclaim, for so many pauses: longer than reclaim makes.
const LEFT_ALONE: u64 = 16;
const FOR_SO_LONG: u32 = 2 * LEISURE;
/// What MADV_COLLAPSE may say.
const REFUSALS: [(i32, &str); 4] = [
    (libc::EAGAIN, "pages busy or pinned (EAGAIN)"),
    (libc::EBUSY, "pages isolated (EBUSY)"),
    (libc::EINVAL, "pages that cannot be collapsed (EINVAL)"),
    (libc::ENOMEM, "no memory (ENOMEM)"),
];
const DIRECTORY: &str = "/sys/kernel/mm/transparent_hugepage";

fn make(random: &mut Random) -> Outcome<Racer> {
    Racer::by_place(Region::map_huge(1)?, random)
}

/// Rounds that leave less than a huge page, and more than nothing, to be merged.
fn change(racer: &mut Racer) -> Outcome {
    let pages = racer.some();
    match racer.random.below(4) {
        0 => racer.part.discard(pages),
        _ => {
            racer.write(pages);
            Ok(())
        }
    }
}

pub fn collapse(bench: &Bench) -> Outcome {
    collapsing(Race::new(bench)?, None)
}

/// The same with pages that are out, or on their way: MADV_COLLAPSE brings them in.
pub fn collapse_swapped(bench: &Bench) -> Outcome {
    let _together = swapping::page_cluster(TOGETHER)?;
    let (mut race, brought) = (Race::in_swap_by_fits(bench)?, Count::new()?);
    race.needs_count(BROUGHT, 1, brought)?;
    collapsing(race, Some(brought))
}

/// How many pages of a racer's are out, if anybody wants to know.
fn out(racer: &Racer, brought: Option<Count>) -> Outcome<usize> {
    match brought {
        Some(_) => Ok(racer
            .part
            .region
            .pagemap()?
            .into_iter()
            .filter(|entry| is_out(*entry))
            .count()),
        None => Ok(0),
    }
}

/// `brought` counts the huge pages of which some was out.
fn collapsing(mut race: Race<'_>, brought: Option<Count>) -> Outcome {
    let done = Count::new()?;
    race.needs_count("calls of MADV_COLLAPSE that succeeded", 1, done)?;
    // A call succeeds as well where there is a huge page already.
    race.needs_event("thp_collapse_alloc")?;
    tell_failures(&mut race)?;
    let refused = REFUSALS
        .into_iter()
        .map(|(errno, why)| {
            let count = Count::new()?;
            race.tells(why, move || Ok(count.get()))?;
            Ok((errno, count))
        })
        .collect::<Outcome<Vec<_>>>()?;
    race.racers_of(RACERS, make, |racer| {
        change(racer)?;
        if brought.is_some() && racer.random.below(LEFT_ALONE) == 0 {
            // Time to be merged and to go out merged: a huge page is neither.
            (0..FOR_SO_LONG).for_each(|_| racer.pause());
        }
        racer.meets_all()?;
        let out = out(racer, brought)?;
        // A call does not wait for the disk: the page that it needs is there at the next.
        for _ in 0..=out {
            let Err(error) = racer.part.region.advise(MADV_COLLAPSE) else {
                done.add(1);
                // Nobody but these calls can have brought them in.
                if let Some(brought) = brought.filter(|_| out > 0) {
                    brought.add(1);
                }
                break;
            };
            match refused
                .iter()
                .find(|(errno, _)| sys::is_errno(&error, *errno))
            {
                Some((_, count)) => count.add(1),
                None => return Err(error).context("MADV_COLLAPSE"),
            }
        }
        let pages = racer.some();
        racer.part.verify(pages)
    })?;
    race.run()
}

/// Was there no memory in one piece?
fn tell_failures(race: &mut Race) -> Outcome {
    for event in ["thp_collapse_alloc_failed", "compact_fail"] {
        race.tells(event, move || procfs::vmstat(event))?;
    }
    Ok(())
}

pub fn khugepaged(bench: &Bench) -> Outcome {
    scanned(bench, Race::new, None)
}

/// The same with pages that are out, or on their way: khugepaged brings them in.
pub fn khugepaged_swapped(bench: &Bench) -> Outcome {
    let _together = swapping::page_cluster(TOGETHER)?;
    scanned(bench, Race::in_swap_at_leisure, Some(Count::new()?))
}

/// `brought` counts the huge pages of which some was out. khugepaged does not wait for the disk, and finds the page only
/// when it comes by again.
fn scanned<'a>(
    bench: &'a Bench,
    race: fn(&'a Bench) -> Outcome<Race<'a>>,
    brought: Option<Count>,
) -> Outcome {
    if !std::path::Path::new(DIRECTORY).exists() {
        return skip("no transparent huge pages in this kernel");
    }
    let (comes, leaves) = match brought {
        Some(_) => (COMES_OFTEN, 60 * u64::from(COMES_OFTEN)),
        None => (COMES, LEAVES),
    };
    let _settings = [
        ("khugepaged/scan_sleep_millisecs", comes * slow::factor()),
        ("khugepaged/alloc_sleep_millisecs", 1),
        ("khugepaged/pages_to_scan", 4096),
        // Pages that are shared or not there keep it from nothing.
        ("khugepaged/max_ptes_shared", 511),
        ("khugepaged/max_ptes_none", 511),
        ("khugepaged/max_ptes_swap", 511),
    ]
    .map(|(file, value)| Setting::set(&format!("{DIRECTORY}/{file}"), value))
    .into_iter()
    .collect::<Outcome<Vec<_>>>()?;
    let _enabled = enable()?;
    let mut race = race(bench)?.of_slow_operations();
    race.needs("huge pages that khugepaged has made", 1, collapsed)?;
    if let Some(brought) = brought {
        race.needs_count(BROUGHT, 1, brought)?;
    }
    tell_failures(&mut race)?;
    race.racers_of(RACERS, make, |racer| {
        change(racer)?;
        if brought.is_some() {
            let pages = racer.some();
            racer.part.advise(pages, libc::MADV_PAGEOUT)?;
        }
        racer.meets_all()?;
        let mut away = out(racer, brought)?;
        if away > AWAY {
            // It leaves alone what is not used: half of the pages must be there, and looked at lately.
            racer.part.verify(AWAY..racer.part.seeds.len())?;
            away = out(racer, brought)?;
        }
        // A page that is on no LRU list yet keeps it away, and it is the least of all processes.
        let leaves = Duration::from_millis(racer.random.below(leaves * u64::from(slow::factor())));
        match brought.filter(|_| away > 0) {
            // The racer itself touches nothing meanwhile.
            Some(brought) => brought.add(usize::from(becomes_huge(racer, leaves)?)),
            None => std::thread::sleep(leaves),
        }
        Ok(())
    })?;
    race.run()
}

/// Whether all that a racer has is one huge page before long.
fn becomes_huge(racer: &Racer, patience: Duration) -> Outcome<bool> {
    let end = Instant::now() + patience;
    loop {
        if is_huge(racer)? {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(left.min(Duration::from_millis(COMES_OFTEN.into())));
    }
}

/// Whether all that a racer has is one huge page.
fn is_huge(racer: &Racer) -> Outcome<bool> {
    let entries = racer.part.region.pagemap()?;
    match entries[0].frame() {
        Some(frame) => Ok(pagemap::flags(frame)? & FLAG_HUGE != 0
            && entries
                .iter()
                .zip(frame..)
                .all(|(e, f)| e.frame() == Some(f))),
        None => Ok(false),
    }
}

/// Has khugepaged look at all memory that asks for huge pages.
fn enable() -> Outcome<Setting> {
    let path = format!("{DIRECTORY}/enabled");
    let text = fs::read_to_string(&path).context(&path)?;
    // All values are shown, the one in use in brackets.
    let old = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let Some((old, _)) = old else {
        return fail(format!("{path} names no value in use: '{}'", text.trim()));
    };
    let value = match sabotage::is(Sabotage::NoRace) {
        true => "never",
        false => "madvise",
    };
    Setting::set_for_now(&path, value, old)
}

/// Huge pages that khugepaged has made since the machine came up.
fn collapsed() -> Outcome<i64> {
    procfs::number(&format!("{DIRECTORY}/khugepaged/pages_collapsed"))
}

// SPDX-License-Identifier: GPL-2.0

//! Races with what makes huge pages of the base pages that the scanner splits.

use std::fs;
use std::time::Duration;

use super::race::{Race, Racer};
use crate::case::{fail, skip, Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::procfs;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::setting::Setting;
use crate::slow;
use crate::sys;

/// `MADV_COLLAPSE`, which libc may lack.
const MADV_COLLAPSE: i32 = 25;
const RACERS: usize = 2;
/// Milliseconds that a racer leaves its memory to khugepaged and the scanner, at most.
const LEAVES: u64 = 20;
/// Milliseconds that khugepaged leaves it to the scanner, which has to come by twice before it merges.
const COMES: u32 = 50;
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
    let pages = racer.range();
    match racer.random.below(4) {
        0 => racer.part.discard(pages),
        _ => {
            racer.write(pages);
            Ok(())
        }
    }
}

pub fn collapse(bench: &Bench) -> Outcome {
    let mut race = Race::new(bench)?;
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
        if let Err(error) = racer.part.region.advise(MADV_COLLAPSE) {
            match refused
                .iter()
                .find(|(errno, _)| sys::is_errno(&error, *errno))
            {
                Some((_, count)) => count.add(1),
                None => return Err(error).context("MADV_COLLAPSE"),
            }
        } else {
            done.add(1);
        }
        let pages = racer.range();
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
    if !std::path::Path::new(DIRECTORY).exists() {
        return skip("no transparent huge pages in this kernel");
    }
    let _settings = [
        ("khugepaged/scan_sleep_millisecs", COMES * slow::factor()),
        ("khugepaged/alloc_sleep_millisecs", 1),
        ("khugepaged/pages_to_scan", 4096),
        // Pages that are shared or not there keep it from nothing.
        ("khugepaged/max_ptes_shared", 511),
        ("khugepaged/max_ptes_none", 511),
    ]
    .map(|(file, value)| Setting::set(&format!("{DIRECTORY}/{file}"), value))
    .into_iter()
    .collect::<Outcome<Vec<_>>>()?;
    let _enabled = enable()?;
    let mut race = Race::new(bench)?;
    race.needs("huge pages that khugepaged has made", 1, collapsed)?;
    tell_failures(&mut race)?;
    race.racers_of(RACERS, make, |racer| {
        change(racer)?;
        // A page that is on no LRU list yet keeps it away, and it is the least of all processes.
        std::thread::sleep(Duration::from_millis(
            racer.random.below(LEAVES * u64::from(slow::factor())),
        ));
        Ok(())
    })?;
    race.run()
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

// SPDX-License-Identifier: GPL-2.0

//! Races with what makes huge pages of the base pages that the scanner splits.

use super::race::{Race, Racer};
use crate::case::{skip, Bench, Context, Outcome};
use crate::procfs;
use crate::region::Region;
use crate::setting::Setting;
use crate::sys;

/// `MADV_COLLAPSE`, which libc may lack.
const MADV_COLLAPSE: i32 = 25;
const RACERS: usize = 2;
const DIRECTORY: &str = "/sys/kernel/mm/transparent_hugepage";

fn map() -> Outcome<Region> {
    Region::map_huge(1)
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
    race.racers(RACERS, map, |racer| {
        change(racer)?;
        match racer.part.region.advise(MADV_COLLAPSE) {
            // Pages that are busy, pinned or isolated at the moment; no memory for a huge page.
            Err(error)
                if [libc::EAGAIN, libc::EBUSY, libc::EINVAL, libc::ENOMEM]
                    .iter()
                    .any(|errno| sys::is_errno(&error, *errno)) => {}
            other => other.context("MADV_COLLAPSE")?,
        }
        let pages = racer.range();
        racer.part.verify(pages)
    })?;
    race.run()
}

pub fn khugepaged(bench: &Bench) -> Outcome {
    if !std::path::Path::new(DIRECTORY).exists() {
        return skip("no transparent huge pages in this kernel");
    }
    let _settings = [
        ("khugepaged/scan_sleep_millisecs", "1"),
        ("khugepaged/alloc_sleep_millisecs", "1"),
        ("khugepaged/pages_to_scan", "4096"),
        // Pages that are shared or not there keep it from nothing.
        ("khugepaged/max_ptes_shared", "511"),
        ("khugepaged/max_ptes_none", "511"),
    ]
    .map(|(file, value)| Setting::set(&format!("{DIRECTORY}/{file}"), value));
    let before = procfs::vmstat("thp_collapse_alloc")?;
    let mut race = Race::new(bench)?;
    race.racers(RACERS, map, change)?;
    race.run()?;
    let collapsed = procfs::vmstat("thp_collapse_alloc")? - before;
    crate::runner::log(&format!("khugepaged has made {collapsed} huge pages"));
    Ok(())
}

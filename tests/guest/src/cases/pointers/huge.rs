// SPDX-License-Identifier: GPL-2.0

//! Huge pages that are split, and small ones that become huge.

use super::super::common::same;
use super::scene::{empty, ended, passes_until, sharers, Place};
use crate::case::{skip, Bench, Context, Outcome};
use crate::check_eq;
use crate::pagemap;
use crate::probe::{self, State};
use crate::procfs;
use crate::region::{Region, MADV_COLLAPSE};
use crate::sharer::Sharer;
use crate::sys::{HUGE, PAGE};

const PAGES: usize = HUGE / PAGE;

fn content(index: usize) -> u64 {
    0x4300_0000 + index as u64
}

/// Whether the region is one huge page.
fn is_huge(region: &Region) -> Outcome<bool> {
    let pid = std::process::id() as i32;
    let kilobytes = procfs::smaps(pid, region.addr(), HUGE, "AnonHugePages")?;
    Ok(kilobytes == HUGE as i64 >> 10)
}

/// Lets the scanner watch a region until every page has a pointer.
fn watched(bench: &Bench, place: Place, state: State) -> Outcome {
    passes_until(bench, "every page has a pointer", || {
        Ok(place
            .items()?
            .iter()
            .all(|item| item.state == state && item.live() && !item.suspect))
    })?;
    place.all_live()
}

/// A huge page of ours alone whose every base page has a pointer.
fn huge_page(bench: &Bench) -> Outcome<Region> {
    probe::available()?;
    let region = Region::map_huge(1)?;
    region.fill(content);
    if !is_huge(&region)? {
        return skip("no huge page was given for an aligned 2 MiB range");
    }
    region.mergeable()?;
    watched(bench, Place::of(&region), State::Unstable)?;
    check_eq!(is_huge(&region)?, true, "whether the watched page is huge");
    Ok(region)
}

pub fn split(bench: &Bench) -> Outcome {
    const GONE: std::ops::Range<usize> = 100..110;
    let region = huge_page(bench)?;
    let place = Place::of(&region);
    // khugepaged would make one of what is left.
    region
        .advise(libc::MADV_NOHUGEPAGE)
        .context("MADV_NOHUGEPAGE")?;
    region
        .advise_pages(GONE, libc::MADV_DONTNEED)
        .context("MADV_DONTNEED")?;
    empty(&place.truth()?, |index| GONE.contains(&index))?;
    check_eq!(is_huge(&region)?, false, "whether the page is still huge");
    bench.ksm.sync()?;
    ended(&place.truth()?, |index| GONE.contains(&index)).context("after sync")?;
    region.verify(|index| match GONE.contains(&index) {
        true => 0,
        false => content(index),
    })?;
    // What is left is watched again.
    GONE.for_each(|index| region.write(index, content(index)));
    watched(bench, place, State::Unstable)?;
    region.verify(content)
}

pub fn collapse(bench: &Bench) -> Outcome {
    probe::available()?;
    let region = Region::map_huge(1)?;
    region
        .advise(libc::MADV_NOHUGEPAGE)
        .context("MADV_NOHUGEPAGE")?;
    region.fill(content);
    region.mergeable()?;
    let place = Place::of(&region);
    watched(bench, place, State::Unstable)?;
    // From here on khugepaged, which this wakes, may be faster than the call. It makes no difference.
    region
        .advise(libc::MADV_HUGEPAGE)
        .context("MADV_HUGEPAGE")?;
    region.advise(MADV_COLLAPSE).context("MADV_COLLAPSE")?;
    empty(&place.truth()?, |_| true).context("right after the call")?;
    check_eq!(
        is_huge(&region)?,
        true,
        "whether the pages are one huge page"
    );
    bench.ksm.sync()?;
    ended(&place.truth()?, |_| true).context("after sync")?;
    check_eq!(bench.ksm.number("pages_unshared")?, 0, "pages_unshared");
    region.verify(content)?;
    watched(bench, place, State::Unstable)?;
    region.verify(content)
}

pub fn collapse_merged(bench: &Bench) -> Outcome {
    probe::available()?;
    let mut other = Sharer::start(PAGES, same)?;
    let region = Region::map_huge(1)?;
    region
        .advise(libc::MADV_NOHUGEPAGE)
        .context("MADV_NOHUGEPAGE")?;
    region.fill(same);
    region.mergeable()?;
    let (place, others) = (Place::of(&region), Place::of_sharer(&other));
    watched(bench, place, State::Stable)?;
    watched(bench, others, State::Stable)?;
    check_eq!(
        pagemap::frames(&place.pagemap()?),
        other.frames()?,
        "frames of the shared pages"
    );
    region
        .advise(libc::MADV_HUGEPAGE)
        .context("MADV_HUGEPAGE")?;
    region.advise(MADV_COLLAPSE).context("MADV_COLLAPSE")?;
    empty(&place.truth()?, |_| true).context("right after the call")?;
    check_eq!(
        is_huge(&region)?,
        true,
        "whether the pages are one huge page"
    );
    others.all_live().context("the other process")?;
    bench.ksm.sync()?;
    ended(&place.truth()?, |_| true).context("after sync")?;
    sharers(&others.truth()?, |_| true).context("the other process after sync")?;
    for (file, count) in [("pages_shared", PAGES), ("pages_sharing", 0)] {
        check_eq!(bench.ksm.number(file)?, count as i64, "{file}");
    }
    region.verify(same)?;
    other.verify()?;
    region.write(0, 0x4400_0000);
    other.finish()
}

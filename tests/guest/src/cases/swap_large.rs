// SPDX-License-Identifier: GPL-2.0

//! Merged pages that come back as part of a large folio (mTHP), which belongs to nobody's node.

use std::fs;

use super::common::{frames_become, same};
use super::small_swap::SmallSwap;
use super::swapping::{self, SwapIns};
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "swap/large_folios",
    "merged neighbours come back from zram as one large folio, for one process or for several",
    large,
)
.room(Room::Swap)];

const SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB";
/// Pages of such a folio.
const ORDER_PAGES: usize = 16;
const PAGES: usize = 8 * ORDER_PAGES;
/// Aligned, so that pages and slots can be in step.
const ADDRESS: usize = 0x7700_0000_0000;

/// Whether folios of 64 KiB are made; as it was when dropped.
struct Large(String);

impl Large {
    fn set(value: &str) -> Outcome<Large> {
        let file = format!("{SIZE}/enabled");
        let Ok(text) = fs::read_to_string(&file) else {
            return skip("this kernel makes no folios of 64 KiB");
        };
        let old = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
            .unwrap_or("never")
            .to_owned();
        fs::write(&file, value).context(&file)?;
        Ok(Large(old))
    }

    /// How often a folio of that size came from swap.
    fn swapped_in() -> Outcome<i64> {
        procfs::number(&format!("{SIZE}/stats/swpin"))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let _ = fs::write(format!("{SIZE}/enabled"), &self.0);
    }
}

fn large(bench: &Bench) -> Outcome {
    let small = SmallSwap::take(4096)?;
    let off = Large::set("never")?;
    if swapping::zswap() {
        return skip("zswap keeps the kernel from reading large folios");
    }
    let mut stranger = Sharer::start(PAGES, same)?;
    let region = Region::map_at(ADDRESS, PAGES)?;
    region.fill(same);
    region.mergeable()?;
    bench.ksm.start()?;
    wait::until("the pages are merged", || {
        let frames = pagemap::frames(&region.pagemap()?);
        Ok((frames == stranger.frames()?, ()))
    })?;
    bench.ksm.stop()?;
    // Pages that several have are passed over by MADV_PAGEOUT.
    stranger.discard(0, PAGES)?;
    bench.ksm.sync()?;
    push_out_in_step(&region)?;
    region
        .advise(libc::MADV_HUGEPAGE)
        .context("MADV_HUGEPAGE")?;
    drop(off);
    let on = Large::set("always")?;
    let mut forks = Vec::new();
    for _ in 0..2 {
        forks.push(Sharer::over(&region, (0..PAGES).map(same).collect())?);
    }
    let before = Large::swapped_in()?;
    let me = std::process::id() as i32;
    let misses = match bench.ours() {
        true => Some(SwapIns::now(bench, "swapin_miss_large", me)?),
        false => None,
    };
    for index in (0..PAGES).step_by(ORDER_PAGES) {
        forks[0].touch(index + 3)?;
    }
    let came = Large::swapped_in()? - before;
    if came == 0 {
        return skip("this swap device does not give back large folios");
    }
    sharer::verify(&mut forks)?;
    region.verify(same)?;
    // The forks are no sharers, so nothing is missed by them.
    if let Some(misses) = misses {
        let counted = misses.since(bench)?;
        check!(
            counted > 0,
            "{came} large folios came, none in swapin_miss_large"
        );
        // What was brought in so is no merged page any more.
        bench.ksm.sync()?;
        bench.ksm.counter_becomes("nodes_swapped", 0)?;
    }
    // Writes are the writer's own, whoever maps the large folio.
    for index in 0..PAGES {
        forks[index % 2].write(index, 0x6100 + index as u64)?;
        if index % 32 == 31 {
            sharer::verify(&mut forks)?;
        }
    }
    region.verify(same)?;
    drop(on);
    let _off = Large::set("never")?;
    // Everything goes on: back to the same content, merged once more, out and in.
    for sharer in forks.iter_mut().chain([&mut stranger]) {
        for index in 0..PAGES {
            sharer.write(index, same(index))?;
        }
    }
    bench.ksm.start()?;
    forks.push(stranger);
    frames_become(&forks, PAGES)?;
    sharer::verify(&mut forks)?;
    region.verify(same)?;
    sharer::finish(forks)?;
    drop(small);
    Ok(())
}

/// Pushes the pages out such that neighbours lie in neighbouring slots, page number and slot in step.
fn push_out_in_step(region: &Region) -> Outcome {
    let slots = |region: &Region| -> Outcome<Vec<Option<u64>>> {
        Ok(region.pagemap()?.iter().map(|entry| entry.slot()).collect())
    };
    // Other pages take the slots before the first that is in step. The area's number is in the lowest five bits.
    let pad = Region::map(2 * ORDER_PAGES)?;
    pad.fill(|index| 0xAD00 + index as u64);
    for index in 0..pad.pages() {
        pad.advise_pages(index..index + 1, libc::MADV_PAGEOUT)
            .context("MADV_PAGEOUT")?;
        let last = slots(&pad)?[index];
        if last.is_some_and(|slot| (slot >> 5) % ORDER_PAGES as u64 == ORDER_PAGES as u64 - 1) {
            break;
        }
    }
    swapping::drain_lru()?;
    region.advise(libc::MADV_PAGEOUT).context("MADV_PAGEOUT")?;
    let found = slots(region)?;
    let in_step = |page: usize| {
        let first = found[page].map(|slot| slot >> 5);
        first.is_some_and(|first| first % ORDER_PAGES as u64 == 0)
            && (0..ORDER_PAGES).all(|index| {
                found[page + index].map(|slot| slot >> 5) == first.map(|first| first + index as u64)
            })
    };
    match (0..PAGES).step_by(ORDER_PAGES).any(in_step) {
        true => Ok(()),
        false => skip(format!("the slots are not in step: {:?}", &found[..20])),
    }
}

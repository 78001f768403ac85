// SPDX-License-Identifier: GPL-2.0

//! Merged pages that come back as part of a large folio (mTHP), which belongs to nobody's node.

use std::fs;

use super::common::{frames_become, merged_crowd_in, same};
use super::small_swap::SmallSwap;
use super::swapping::{self, SwapIns};
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};
use crate::userfault::{self, Faults};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/large_folios",
        "merged neighbours come back from zram as one large folio, for one process or for several",
        large,
    )
    .room(Room::Swap),
    Case::new(
        "swap/large_folios_of_strangers",
        "a large folio that came for one process is not mapped by another that is no relative of it",
        strangers,
    )
    .room(Room::Swap)
    .seconds(120),
    Case::new(
        "swap/large_folios_watched",
        "the same while userfaultfd watches the stranger's memory for writes",
        watched,
    )
    .room(Room::Swap)
    .seconds(120),
];

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
    let me = std::process::id() as i32;
    let misses = match bench.ours() {
        true => Some(SwapIns::now(bench, "swapin_miss_large", me)?),
        false => None,
    };
    let came = large_come(&mut forks[0])?;
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

/// Lets a process read a page of each large folio; how many came for it. Skips where none does.
fn large_come(sharer: &mut Sharer) -> Outcome<i64> {
    let before = Large::swapped_in()?;
    sharer.touch_every(3, ORDER_PAGES)?;
    let came = Large::swapped_in()? - before;
    crate::runner::log(&format!("{came} large folios came"));
    match came {
        0 => skip("this swap device does not give back large folios"),
        _ => Ok(came),
    }
}

/// Pages that take the slots before the first that is in step, as long as they are kept. An area's number is in the lowest
/// five bits.
fn take_slots() -> Outcome<Region> {
    let pad = Region::map(2 * ORDER_PAGES)?;
    pad.fill(|index| 0xAD00 + index as u64);
    for index in 0..pad.pages() {
        pad.advise_pages(index..index + 1, libc::MADV_PAGEOUT)
            .context("MADV_PAGEOUT")?;
        let last = pad.pagemap()?[index].slot();
        if last.is_some_and(|slot| (slot >> 5) % ORDER_PAGES as u64 == ORDER_PAGES as u64 - 1) {
            break;
        }
    }
    Ok(pad)
}

/// Pushes the pages out such that neighbours lie in neighbouring slots, page number and slot in step.
fn push_out_in_step(region: &Region) -> Outcome {
    let slots = |region: &Region| -> Outcome<Vec<Option<u64>>> {
        Ok(region.pagemap()?.iter().map(|entry| entry.slot()).collect())
    };
    let _pad = take_slots()?;
    swapping::drain_lru()?;
    region.advise(libc::MADV_PAGEOUT).context("MADV_PAGEOUT")?;
    let found = slots(region)?;
    match any_in_step(&found) {
        true => Ok(()),
        false => skip(format!("the slots are not in step: {:?}", &found[..20])),
    }
}

/// Whether the pages of any large folio lie in neighbouring slots, page number and slot in step.
fn any_in_step(slots: &[Option<u64>]) -> bool {
    slots.chunks(ORDER_PAGES).any(|part| {
        let first = part[0].map(|slot| slot >> 5);
        first.is_some_and(|first| first % ORDER_PAGES as u64 == 0)
            && (0..ORDER_PAGES).all(|index| {
                part.get(index).copied().flatten().map(|slot| slot >> 5)
                    == first.map(|first| first + index as u64)
            })
    })
}

fn strangers(bench: &Bench) -> Outcome {
    let small = SmallSwap::take(4096)?;
    if swapping::zswap() {
        return skip("zswap keeps the kernel from reading large folios");
    }
    // Each CPU has slots of its own: all that goes out does so on this one.
    sys::run_on(0).context("sched_setaffinity")?;
    // The one for whom it came maps it still, or has gone.
    for gone in [false, true] {
        stranger(bench, gone).context(format!("it has gone: {gone}"))?;
    }
    drop(small);
    Ok(())
}

/// Two processes whose merged pages are out, neighbours in neighbouring slots. Other pages of the group may go out before
/// them, and take slots; not many times. `begin` is called before the processes are merged, for what shall be merged with
/// them; the last that it made comes with them.
fn out_in_step<T>(
    bench: &Bench,
    group: &Group,
    begin: impl Fn() -> Outcome<T>,
) -> Outcome<(Vec<Sharer>, T)> {
    const ATTEMPTS: usize = 50;
    let mut shift = 0;
    for _ in 0..ATTEMPTS {
        let address = ADDRESS + shift * PAGE;
        let beside = begin()?;
        let both = merged_crowd_in(bench, 2, PAGES, || Region::map_at(address, PAGES))?;
        bench.ksm.stop()?;
        let _pad = take_slots()?;
        swapping::drain_lru()?;
        wait::until("all pages are out", || {
            let out = sharer::swapped(&both)?;
            if out < 2 * PAGES {
                group.reclaim((2 * PAGES - out).div_ceil(2) * PAGE)?;
            }
            Ok((out == 2 * PAGES, out))
        })?;
        let entries = both[0].pagemap()?;
        let slots: Vec<Option<u64>> = entries.iter().map(|entry| entry.slot()).collect();
        // The pages before the first whose address is in step belong to no large folio.
        if any_in_step(&slots[(ORDER_PAGES - shift) % ORDER_PAGES..]) {
            return Ok((both, beside));
        }
        crate::runner::log(&format!("slots from page {shift} on: {:?}", &slots[..20]));
        let first = slots[0].map_or(0, |slot| slot >> 5) as usize;
        shift = first % ORDER_PAGES;
        sharer::finish(both)?;
    }
    skip("the slots are never in step")
}

fn stranger(bench: &Bench, gone: bool) -> Outcome {
    let off = Large::set("never")?;
    let group = Group::enter("strangers")?;
    let (mut both, ()) = out_in_step(bench, &group, || Ok(()))?;
    for sharer in &mut both {
        sharer.advise(0, PAGES, libc::MADV_HUGEPAGE)?;
    }
    drop(off);
    let _on = Large::set("always")?;
    large_come(&mut both[0])?;
    let mut other = both.remove(1);
    let mut first = both.pop();
    if let Some(first) = first.take_if(|_| gone) {
        first.finish()?;
    }
    other.verify()?;
    if let Some(first) = &mut first {
        first.verify()?;
    }
    // A page that no walk over the reverse mapping comes to can never be taken away again.
    wait::until("the other one's pages can be pushed out", || {
        let out = sharer::swapped(std::slice::from_ref(&other))?;
        if out < PAGES {
            group.reclaim(2 * PAGES * PAGE)?;
        }
        Ok((out == PAGES, out))
    })?;
    other.verify()?;
    for index in 0..PAGES {
        other.write(index, 0x6200 + index as u64)?;
    }
    if let Some(first) = first {
        first.finish()?;
    }
    other.finish()
}

/// Where a mapping lies that is in step and no sharer's.
const ELSEWHERE: usize = 0x7800_0000_0000;

fn watched(bench: &Bench) -> Outcome {
    let mut small = SmallSwap::take(4096)?;
    if swapping::zswap() {
        return skip("zswap keeps the kernel from reading large folios");
    }
    sys::run_on(0).context("sched_setaffinity")?;
    let off = Large::set("never")?;
    let group = Group::enter("strangers")?;
    let faults = Faults::open(userfault::FEATURE_PAGEFAULT_FLAG_WP, "write protection")?;
    let (mut both, region) = out_in_step(bench, &group, || {
        let region = Region::map_at(ELSEWHERE, PAGES)?;
        region.fill(same);
        region.mergeable()?;
        Ok(region)
    })?;
    check!(
        region.pagemap()? == both[0].pagemap()?,
        "the stranger, who was to be merged with the others, is not in the same slots"
    );
    faults.register(&region, userfault::MODE_WP)?;
    let mut words = [region.addr() as u64, region.len() as u64, 1];
    faults
        .ioctl(userfault::WRITEPROTECT, &mut words)
        .context("UFFDIO_WRITEPROTECT")?;
    both[0].advise(0, PAGES, libc::MADV_HUGEPAGE)?;
    drop(off);
    let _on = Large::set("always")?;
    large_come(&mut both[0])?;
    // A fault that finds no way comes again for ever; a system call fails, and so does swapoff.
    let copy = Region::map(PAGES / 2)?;
    read_first(&region, &copy)?;
    copy.verify(same)?;
    all_watched(&region).context("after the first half was read")?;
    small.area().off().context("the rest is out")?;
    small.area().on()?;
    all_watched(&region).context("after swapoff")?;
    region.verify(same)?;
    sharer::verify(&mut both)?;
    sharer::finish(both)
}

/// Has the kernel copy the first pages of a region of the calling process.
fn read_first(region: &Region, copy: &Region) -> Outcome {
    let this = std::process::id() as i32;
    // SAFETY: all of a region that nobody else uses.
    let done = unsafe { sys::read_memory(this, region.addr(), copy.addr(), copy.len()) };
    let done = done.context("process_vm_readv")?;
    check_eq!(done, copy.len(), "bytes read");
    Ok(())
}

fn all_watched(region: &Region) -> Outcome {
    let entries = region.pagemap()?;
    let watched = entries.iter().filter(|entry| entry.watched()).count();
    check_eq!(watched, region.pages(), "pages that userfaultfd watches");
    Ok(())
}

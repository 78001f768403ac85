// SPDX-License-Identifier: GPL-2.0

//! Merged pages in the swap cache, in memory for some of their sharers and in swap for others: moved, locked, forked,
//! read ahead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::common::{frames_become, joins, merged_crowd, same};
use super::fragments::{self, Fragments};
use super::swapping::{self, Crowd};
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::content::Random;
use crate::ktap;
use crate::pagemap::{self, FLAG_HWPOISON, FLAG_KSM, FLAG_MLOCKED};
use crate::procfs;
use crate::region::{Lock, Region, MADV_SOFT_OFFLINE};
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/mlock_while_out",
        "locking pages that are out brings them in merged, and they stay",
        mlock_while_out,
    )
    .room(Room::Swap),
    Case::new(
        "swap/compaction",
        "compaction while some sharers have the pages in memory and others in swap",
        compaction,
    )
    .room(Room::Swap),
    Case::new(
        "swap/moved_in_cache",
        "a page that moves while it is in the swap cache is found by all",
        moved_in_cache,
    )
    .room(Room::Swap),
    Case::new(
        "swap/read_while_reclaimed",
        "pages that are read while reclaim is at work stay merged, also the moment they are gone",
        read_while_reclaimed,
    )
    .room(Room::Swap),
    Case::new(
        "swap/readahead",
        "pages that were read ahead are merged as the others",
        readahead,
    )
    .room(Room::Swap),
    Case::new(
        "swap/readahead_off",
        "page-cluster 0: every page is read alone",
        readahead_off,
    )
    .room(Room::Swap),
    Case::new(
        "swap/forks",
        "forks from before, during and after the time in swap, known to the scanner or not",
        forks,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/fork_first",
        "a fork that the scanner does not know is the first to read",
        fork_first,
    )
    .room(Room::Swap),
    Case::new(
        "swap/zswap_writeback",
        "zswap writes merged pages to its disk while they are read: they come back merged",
        zswap_writeback,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/zswap_used",
        "with zswap on, merged pages go to it and come back merged",
        zswap_used,
    )
    .room(Room::Swap),
];

const PAGES: usize = 256;

/// All present, in as many frames as there are contents.
fn all_shared(bench: &Bench, sharers: &[Sharer], pages: usize) -> Outcome {
    if !bench.ours() {
        return Ok(());
    }
    let frames = sharer::frames(sharers)?;
    check_eq!(frames.len(), sharers.len() * pages, "pages in memory");
    check_eq!(
        pagemap::distinct(&frames),
        pages,
        "frames of {} pages",
        frames.len()
    );
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        frames.len(),
        "pages that are merged"
    );
    Ok(())
}

/// A page that one CPU still has to put on a list while another notes that it is locked is counted as locked twice, and unlocking
/// once leaves it locked (`__mlock_folio()`). As many as are read ahead at a time by who then moves to another CPU.
const COUNTED_TWICE: usize = 8;

fn mlock_while_out(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].lock(Lock::OnFault)?;
    // The kernel fetches writable pages as if they were written to: these are the process's own.
    crowd.sharers[1].lock(Lock::Now)?;
    crowd.verify()?;
    let shared = [&crowd.sharers[0], &crowd.sharers[2]].map(Sharer::frames);
    let [locked, other] = shared;
    let (locked, other) = (locked?, other?);
    let own = crowd.sharers[1].frames()?;
    check_eq!(own.len(), PAGES, "pages of the second process in memory");
    if bench.ours() {
        check_eq!(locked, other, "frames of the process that locks on fault");
        check!(
            own.iter().all(|frame| !locked.contains(frame)),
            "locked pages of the second process are not its own"
        );
    }
    for _ in 0..5 {
        crowd.group().reclaim(crowd.all() * PAGE)?;
    }
    for (who, before) in [(0, locked), (1, own)] {
        check_eq!(
            crowd.sharers[who].frames()?,
            before,
            "frames of the locked pages of process {who} after reclaim"
        );
    }
    crowd.verify()?;
    let mut left = 0;
    for who in [0, 1] {
        crowd.sharers[who].lock(Lock::No)?;
        let mut locked = 0;
        wait::until("the kernel has unlocked the pages", || {
            locked = pagemap::count_flag(&crowd.sharers[who].frames()?, FLAG_MLOCKED)?;
            Ok((locked <= COUNTED_TWICE, locked))
        })?;
        left += locked;
    }
    if left > 0 {
        ktap::tell(&format!("{left} pages stay locked"));
    }
    crowd.push_out_to(crowd.all() - left * crowd.sharers.len())?;
    crowd.verify()?;
    crowd.finish()
}

fn compaction(bench: &Bench) -> Outcome {
    fragments::available()?;
    let (mut moved, mut fillers) = (0, Vec::new());
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    for round in 0..6usize {
        crowd.push_out()?;
        // What is reclaimed are the crowd's pages, not these.
        crowd.group().leave()?;
        let filler = Fragments::make()?;
        // One has its pages back, which stay in the swap cache for the others.
        let first = round % 4;
        crowd.sharers[first].verify()?;
        filler.open()?;
        fillers.push(filler);
        let before = crowd.sharers[first].frames()?;
        for _ in 0..2 {
            fragments::compact()?;
        }
        moved += fragments::moved(&before, &crowd.sharers[first].frames()?);
        crowd.verify().context(format!("round {round}"))?;
        all_shared(bench, &crowd.sharers, PAGES)?;
        if round >= 2 && moved > 0 {
            break;
        }
    }
    crate::runner::log(&format!("compaction has moved {moved} pages"));
    crowd.finish()?;
    if moved == 0 {
        // `races/compaction` fails if none of its pages is moved.
        return skip("compaction found none of these pages worth moving");
    }
    Ok(())
}

fn moved_in_cache(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].verify()?;
    let before = crowd.sharers[0].frames()?;
    let mut moved = 0;
    for index in (0..PAGES).step_by(16) {
        // A page that somebody has hold of for a moment (EBUSY) is not moved.
        wait::until("the page can be taken offline", || {
            let errno = crowd.sharers[0].try_advise(index, 1, MADV_SOFT_OFFLINE)?;
            Ok((errno == 0, errno))
        })?;
        // It would come back by itself if it had been dropped instead of moved.
        let entry = crowd.sharers[0].pagemap()?[index];
        moved += usize::from(entry.frame().is_some_and(|frame| frame != before[index]));
        check!(
            pagemap::flags(before[index])? & FLAG_HWPOISON != 0,
            "the old frame of page {index} is still in use"
        );
    }
    check!(moved > 0, "no page was moved");
    crowd.verify()?;
    all_shared(bench, &crowd.sharers, PAGES)?;
    crowd.push_out()?;
    crowd.verify()?;
    crowd.finish()
}

fn clustered(bench: &Bench, cluster: u32) -> Outcome {
    let _cluster = swapping::page_cluster(cluster)?;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    let copies = procfs::vmstat("ksm_swpin_copy")?;
    for step in [1, 7, 32] {
        crowd.push_out()?;
        // Each begins somewhere else, so that each finds pages that another has had read ahead.
        for at in 0..step.min(4) {
            for (who, sharer) in crowd.sharers.iter_mut().enumerate() {
                sharer.touch_every((at + who) % step, step)?;
            }
        }
        crowd.verify()?;
        all_shared(bench, &crowd.sharers, PAGES)?;
    }
    if bench.ours() {
        check_eq!(procfs::vmstat("ksm_swpin_copy")?, copies, "ksm_swpin_copy");
    }
    crowd.finish()
}

/// Reclaim takes a folio out of the swap cache, and frees it when it is done with the others of its list: in between it
/// is nobody's, and names its node.
fn read_while_reclaimed(bench: &Bench) -> Outcome {
    const MANY: usize = 512;
    bench.only_ours("sharing that survives swap")?;
    let mut crowd = Crowd::merged(bench, 6, MANY)?;
    // Not `swapin_miss_stale`: of a slot that is used again for what the processes have of their own, that is the right answer.
    let copied = || bench.ksm.number("swapin_copied");
    let before = copied()?;
    let end = Instant::now() + Duration::from_secs(bench.race_seconds);
    let mut random = Random::new(bench.seed);
    let over = AtomicBool::new(false);
    let (group, sharers) = crowd.parts();
    let (reclaimed, read) = std::thread::scope(|scope| {
        let reclaimer = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                group.reclaim(MANY * PAGE)?;
            }
            Ok(())
        });
        let mut read = Ok(());
        while read.is_ok() && Instant::now() < end {
            let who = random.below(sharers.len() as u64) as usize;
            read =
                sharers[who].touch_every(random.below(64) as usize, 1 + random.below(8) as usize);
        }
        over.store(true, Ordering::Relaxed);
        (reclaimer.join(), read)
    });
    read?;
    reclaimed.unwrap_or_else(|_| fail("the reclaimer has panicked"))?;
    check_eq!(copied()?, before, "copies");
    crowd.verify()?;
    // The scanner is at rest: whoever was given a page of his own has it still.
    frames_become(&crowd.sharers, MANY)?;
    crowd.finish()
}

fn readahead(bench: &Bench) -> Outcome {
    clustered(bench, 5)
}

fn readahead_off(bench: &Bench) -> Outcome {
    clustered(bench, 0)
}

/// Pages of a forked child that are out.
fn child_out(child: i32, parent: &Sharer) -> Outcome<usize> {
    let entries = pagemap::of(child, parent.addr(), parent.pages())?;
    Ok(entries.iter().filter(|entry| entry.swapped()).count())
}

/// Pushes out all that the sharers and a child have.
fn all_out(crowd: &Crowd, child: i32, parent: usize) -> Outcome {
    wait::until("the forked child's pages are out as well", || {
        crowd.group().reclaim(crowd.all() * PAGE)?;
        let out = child_out(child, &crowd.sharers[parent])? + sharer::swapped(&crowd.sharers)?;
        Ok((out == crowd.all() + PAGES, out))
    })
}

fn forks(bench: &Bench) -> Outcome {
    for known in [false, true] {
        for when in ["before", "during", "after"] {
            one_fork(bench, known, when)
                .context(format!("fork {when} the time in swap, known: {known}"))?;
        }
    }
    Ok(())
}

fn one_fork(bench: &Bench, known: bool, when: &str) -> Outcome {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let mut child = 0;
    if when == "before" {
        child = crowd.sharers[0].fork()?;
        if known {
            // The scanner makes the child's mappings sharers.
            bench.ksm.start()?;
            bench.ksm.passes(2)?;
            bench.ksm.stop()?;
        }
        all_out(&crowd, child, 0)?;
    } else {
        crowd.push_out()?;
    }
    if when == "during" {
        child = crowd.sharers[0].fork()?;
        check_eq!(
            child_out(child, &crowd.sharers[0])?,
            PAGES,
            "pages of the child that are out"
        );
    }
    crowd.sharers[1].verify()?;
    if when == "after" {
        crowd.sharers[0].verify()?;
        child = crowd.sharers[0].fork()?;
    }
    if known && when != "before" {
        bench.ksm.start()?;
        bench.ksm.passes(2)?;
        bench.ksm.stop()?;
    }
    all_out(&crowd, child, 0).context("once more")?;
    // The parent's writes are its own.
    for index in (0..PAGES).step_by(5) {
        crowd.sharers[0].write(index, 0x6600 + index as u64)?;
    }
    crowd.sharers[2].verify()?;
    crowd.sharers[0].end_child()?;
    crowd.verify()?;
    all_shared(bench, &crowd.sharers[1..], PAGES)?;
    crowd.finish()
}

fn fork_first(bench: &Bench) -> Outcome {
    let group = {
        swapping::device()?;
        Group::enter("fork-first")?
    };
    let mut sharers = merged_crowd(bench, 1, PAGES)?;
    let region = crate::region::Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    joins("the pages are merged", &sharers[0], || region.pagemap())?;
    bench.ksm.stop()?;
    let copies = procfs::vmstat("ksm_swpin_copy")?;
    sharers.push(Sharer::over(&region, (0..PAGES).map(same).collect())?);
    for _ in 0..2 {
        wait::until("all pages are out", || {
            group.reclaim(3 * PAGES * PAGE)?;
            let own = region.pagemap()?;
            let own = own.iter().filter(|entry| entry.swapped()).count();
            let out = own + sharer::swapped(&sharers)?;
            Ok((out == 3 * PAGES, out))
        })?;
        // The fork, its parent, the other process.
        sharers[1].verify()?;
        region.verify(same)?;
        sharers[0].verify()?;
        all_shared(bench, &sharers, PAGES)?;
        if bench.ours() {
            check_eq!(
                pagemap::frames(&region.pagemap()?),
                sharers[0].frames()?,
                "frames of the fork's parent"
            );
            check_eq!(procfs::vmstat("ksm_swpin_copy")?, copies, "ksm_swpin_copy");
        }
    }
    // A fork that writes first changes its own page only.
    group.reclaim(3 * PAGES * PAGE)?;
    for index in 0..PAGES {
        sharers[1].write(index, 0x3300 + index as u64)?;
    }
    region.verify(same)?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

/// zswap makes room by reading its oldest pages into the swap cache and writing them from there, where faults find them.
fn zswap_writeback(bench: &Bench) -> Outcome {
    /// Bytes that the group may have in zswap: each page that comes sends another one on.
    const LIMIT: usize = PAGE;
    const GOAL: i64 = 4 * PAGES as i64;
    if !swapping::zswap() {
        return skip("zswap is off");
    }
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let other = Sharer::start_in(
        || Region::map(PAGES),
        false,
        |index| 0x9900_0000 + index as u64,
    )?;
    let (written, copies) = (procfs::vmstat("zswpwb")?, procfs::vmstat("ksm_swpin_copy")?);
    let (group, sharers) = crowd.parts();
    group.set("memory.zswap.max", LIMIT)?;
    let pusher = Worker::start("pusher", |_| loop {
        group.reclaim(PAGES / 4 * PAGE)?;
    })?;
    let mut readers = (0..sharers.len()).cycle();
    wait::until("zswap has written every page, some often", || {
        sharers[readers.next().unwrap_or(0)].verify()?;
        let written = procfs::vmstat("zswpwb")? - written;
        Ok((written >= GOAL, written))
    })?;
    drop(pusher);
    crowd.verify()?;
    other.finish()?;
    if bench.ours() {
        check_eq!(procfs::vmstat("ksm_swpin_copy")?, copies, "ksm_swpin_copy");
        all_shared(bench, &crowd.sharers, PAGES)?;
    }
    crowd.finish()
}

fn zswap_used(bench: &Bench) -> Outcome {
    if !swapping::zswap() {
        return skip("zswap is off");
    }
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    let (stored, loaded) = (procfs::vmstat("zswpout")?, procfs::vmstat("zswpin")?);
    crowd.push_out()?;
    let stored = procfs::vmstat("zswpout")? - stored;
    check!(
        stored >= PAGES as i64,
        "{stored} of {PAGES} merged pages went to zswap"
    );
    crowd.verify()?;
    let loaded = procfs::vmstat("zswpin")? - loaded;
    check!(
        loaded >= PAGES as i64,
        "{loaded} of {PAGES} merged pages came from zswap"
    );
    all_shared(bench, &crowd.sharers, PAGES)?;
    crowd.finish()
}

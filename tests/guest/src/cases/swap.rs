// SPDX-License-Identifier: GPL-2.0

//! Merged pages in swap.

use std::ffi::CString;

use super::common::frames_become;
use super::swapping::{self, Crowd};
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::pagemap::{self, FLAG_KSM};
use crate::procfs;
use crate::sharer;
use crate::sys;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/out_and_in",
        "8 processes' merged pages go to swap and come back right",
        out_and_in,
    )
    .room(Room::Swap),
    Case::new(
        "swap/back_still_shared",
        "what comes back from swap is still shared, nothing is copied",
        back_shared,
    )
    .room(Room::Swap),
    Case::new(
        "swap/merged_again",
        "after swap the scanner has everything merged (again)",
        merged_again,
    )
    .room(Room::Swap),
    Case::new(
        "swap/partly_out",
        "reclaim of a part: contents right, written pages separate",
        partly,
    )
    .room(Room::Swap),
    Case::new(
        "swap/write_first",
        "a write as the first touch after swap changes the writer only",
        write_first,
    )
    .room(Room::Swap),
    Case::new(
        "swap/fork_while_out",
        "a process forks while its pages are out",
        fork_while_out,
    )
    .room(Room::Swap),
    Case::new(
        "swap/exit_while_out",
        "processes end while their pages are out",
        exit_while_out,
    )
    .room(Room::Swap),
    Case::new(
        "swap/unmerge_while_out",
        "MADV_UNMERGEABLE and run 2 while pages are out",
        unmerge_while_out,
    )
    .room(Room::Swap),
    Case::new(
        "swap/discard_while_out",
        "MADV_DONTNEED while pages are out",
        discard_while_out,
    )
    .room(Room::Swap),
    Case::new(
        "swap/swapoff",
        "swapoff brings merged pages back right",
        swapoff,
    )
    .room(Room::Swap),
    Case::new("swap/pageout", "MADV_PAGEOUT on merged pages", pageout).room(Room::Swap),
    Case::new(
        "swap/newcomer",
        "equal pages of a process that comes while the others are out",
        newcomer,
    )
    .room(Room::Swap),
    Case::new(
        "swap/newcomers",
        "processes that come and are merged while the others are out share with them when they are back",
        newcomers,
    )
    .room(Room::Swap),
    Case::new(
        "swap/newcomers_and_fork",
        "the same while a fork that nobody has seen yet has the pages in swap",
        newcomers_and_fork,
    )
    .room(Room::Swap),
    Case::new(
        "swap/rounds_under_scan",
        "out and in again and again while the scanner runs",
        rounds,
    )
    .room(Room::Swap)
    .seconds(240),
];

fn out_and_in(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 8, 1024)?;
    crowd.push_out()?;
    check_eq!(
        sharer::frames(&crowd.sharers)?.len(),
        0,
        "pages that are present after reclaim"
    );
    crowd.verify()?;
    check_eq!(
        sharer::swapped(&crowd.sharers)?,
        0,
        "pages that are out after everybody read everything"
    );
    crowd.finish()
}

fn back_shared(bench: &Bench) -> Outcome {
    const PAGES: usize = 1024;
    bench.only_ours("sharing that survives swap")?;
    let mut crowd = Crowd::merged(bench, 8, PAGES)?;
    crowd.push_out()?;
    let copies = procfs::vmstat("ksm_swpin_copy")?;
    crowd.verify()?;
    let frames = sharer::frames(&crowd.sharers)?;
    let distinct = pagemap::distinct(&frames);
    check_eq!(
        frames.len(),
        crowd.all(),
        "pages present after everybody read everything"
    );
    check!(
        distinct * 100 <= PAGES * 105,
        "{} pages lie in {distinct} frames, {PAGES} when merged",
        frames.len()
    );
    check_eq!(procfs::vmstat("ksm_swpin_copy")?, copies, "ksm_swpin_copy");
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        frames.len(),
        "pages that are KSM"
    );
    for (file, goal) in [("pages_shared", PAGES), ("pages_sharing", 7 * PAGES)] {
        bench.ksm.counter_becomes(file, goal as i64)?;
    }
    crowd.finish()
}

fn merged_again(bench: &Bench) -> Outcome {
    const PAGES: usize = 512;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    crowd.verify()?;
    bench.ksm.start()?;
    frames_become(&crowd.sharers, PAGES)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64)?;
    crowd.finish()
}

fn partly(bench: &Bench) -> Outcome {
    const PAGES: usize = 512;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out_to(crowd.all() / 4)?;
    for index in (0..PAGES).step_by(3) {
        crowd.sharers[1].write(index, 0x6000 + index as u64)?;
    }
    crowd.verify()?;
    crowd.push_out_to(crowd.all() / 2)?;
    crowd.sharers[2].verify()?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    crowd.verify()?;
    crowd.finish()
}

fn write_first(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    for index in 0..PAGES {
        let writer = index % 4;
        crowd.sharers[writer].write(index, 0x5500 + index as u64)?;
    }
    crowd.verify()?;
    bench.ksm.start()?;
    frames_become(&crowd.sharers, 2 * PAGES)?;
    crowd.finish()
}

fn fork_while_out(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    let child = crowd.sharers[0].fork()?;
    let entries = pagemap::of(child, crowd.sharers[0].addr(), PAGES)?;
    let out = entries.iter().filter(|entry| entry.swapped()).count();
    check_eq!(out, PAGES, "pages of the child that are out");
    for index in 0..PAGES / 2 {
        crowd.sharers[0].write(index, 0x5100 + index as u64)?;
    }
    crowd.sharers[0].end_child()?;
    // Once more, and this time others bring the pages in first.
    crowd.push_out()?;
    crowd.sharers[1].fork()?;
    crowd.sharers[2].verify()?;
    crowd.sharers[1].end_child()?;
    crowd.verify()?;
    crowd.finish()
}

fn exit_while_out(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    drop(crowd.sharers.pop());
    crowd.sharers[0].verify()?;
    drop(crowd.sharers.remove(0));
    crowd.verify()?;
    bench.ksm.start()?;
    frames_become(&crowd.sharers, PAGES)?;
    crowd.push_out()?;
    crowd.finish()?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    bench.ksm.counter_becomes("pages_shared", 0)
}

fn unmerge_while_out(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    crowd.sharers[0].verify()?;
    let frames = crowd.sharers[0].frames()?;
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "merged pages of the process that left"
    );
    bench.ksm.set("run", 2)?;
    for file in ["pages_shared", "pages_sharing"] {
        bench
            .ksm
            .counter_becomes(file, 0)
            .context("after run 2 with pages out")?;
    }
    crowd.verify()?;
    let frames = sharer::frames(&crowd.sharers)?;
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "merged pages after run 2"
    );
    bench.ksm.start()?;
    frames_become(&crowd.sharers[1..], PAGES)?;
    crowd.finish()
}

fn discard_while_out(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    crowd.sharers[0].discard(0, PAGES)?;
    crowd.sharers[1].discard(0, PAGES / 2)?;
    crowd.verify()?;
    crowd.finish()
}

fn swapoff(bench: &Bench) -> Outcome {
    const PAGES: usize = 512;
    let device = CString::new(swapping::device()?).expect("a device name has no zero byte");
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.push_out()?;
    // SAFETY: a string that outlives the call.
    sys::check(unsafe { libc::swapoff(device.as_ptr()) }.into()).context("swapoff")?;
    let out = sharer::swapped(&crowd.sharers);
    // SAFETY: as above.
    sys::check(unsafe { libc::swapon(device.as_ptr(), 0) }.into()).context("swapon")?;
    check_eq!(out?, 0, "pages that are out after swapoff");
    crowd.verify()?;
    for index in 0..PAGES {
        crowd.sharers[index % 4].write(index, 0x5300 + index as u64)?;
    }
    crowd.verify()?;
    bench.ksm.start()?;
    bench.ksm.passes(3)?;
    crowd.finish()
}

fn pageout(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 2, PAGES)?;
    for _ in 0..3 {
        for sharer in &mut crowd.sharers {
            sharer.advise(0, PAGES, libc::MADV_PAGEOUT)?;
        }
        crowd.verify()?;
    }
    // With one process left nobody else's page is in the way.
    drop(crowd.sharers.pop());
    crowd.sharers[0].advise(0, PAGES, libc::MADV_PAGEOUT)?;
    let out = sharer::swapped(&crowd.sharers)?;
    check!(
        out * 10 >= PAGES * 9,
        "{out} of {PAGES} pages are out after MADV_PAGEOUT by the only user"
    );
    crowd.verify()?;
    crowd.finish()
}

fn newcomer(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    bench.ksm.start()?;
    let newcomer = swapping::newcomer(PAGES)?;
    bench.ksm.passes(3)?;
    crowd.sharers.push(newcomer);
    crowd.verify()?;
    frames_become(&crowd.sharers, PAGES)?;
    crowd.finish()
}

fn newcomers(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out()?;
    bench.ksm.start()?;
    // Two, which are merged with each other: what the others have is not in memory.
    let two = [swapping::newcomer(PAGES)?, swapping::newcomer(PAGES)?];
    frames_become(&two, PAGES).context("newcomers alone")?;
    check_eq!(
        sharer::frames(&crowd.sharers)?.len(),
        0,
        "pages of the others that are in memory"
    );
    crowd.verify()?;
    crowd.sharers.extend(two);
    bench.only_ours("copies that become one")?;
    frames_become(&crowd.sharers, PAGES)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 4 * PAGES as i64)?;
    crowd.verify()?;
    for (index, sharer) in crowd.sharers.iter_mut().enumerate() {
        sharer.write(index, 0x800 + index as u64)?;
    }
    crowd.finish()
}

fn newcomers_and_fork(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    bench.only_ours("copies that become one")?;
    bench.ksm.set("stable_node_chains_prune_millisecs", 0)?;
    let mut crowd = Crowd::merged(bench, 2, PAGES)?;
    // The only sharer of each page is the parent.
    drop(crowd.sharers.pop());
    crowd.push_out()?;
    let child = crowd.sharers[0].fork()?;
    bench.ksm.start()?;
    let two = [swapping::newcomer(PAGES)?, swapping::newcomer(PAGES)?];
    frames_become(&two, PAGES).context("newcomers alone")?;
    let copied = bench.ksm.number("swapin_copied")?;
    crowd.verify()?;
    // The scanner comes by the parent, and would have moved it.
    bench.ksm.passes(4)?;
    let entries = pagemap::of(child, crowd.sharers[0].addr(), PAGES)?;
    let out = entries.iter().filter(|entry| entry.swapped()).count();
    check_eq!(out, PAGES, "pages of the child that are out");
    crowd.sharers[0].verify_child()?;
    check_eq!(bench.ksm.number("swapin_copied")?, copied, "copies");
    // Parent, child and newcomers have the same pages in the end.
    wait::until("the child has the same frames as the newcomers", || {
        let frames = pagemap::frames(&pagemap::of(child, crowd.sharers[0].addr(), PAGES)?);
        let goal = two[0].frames()?;
        let same = frames.iter().filter(|frame| goal.contains(frame)).count();
        Ok((same == PAGES, same))
    })?;
    crowd.sharers.extend(two);
    frames_become(&crowd.sharers, PAGES)?;
    crowd.sharers[0].end_child()?;
    crowd.finish()
}

fn rounds(bench: &Bench) -> Outcome {
    const PAGES: usize = 256;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    for round in 0..6u64 {
        crowd.push_out_to(crowd.all() * 3 / 4)?;
        let writer = round as usize % 4;
        for index in (writer..PAGES).step_by(7) {
            crowd.sharers[writer].write(index, round << 20 | index as u64)?;
        }
        crowd.verify().context(format!("round {round}"))?;
    }
    crowd.finish()
}

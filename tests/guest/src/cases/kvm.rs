// SPDX-License-Identifier: GPL-2.0

//! Merged pages under KVM guests, which map them by page tables of their own.

use std::path::Path;
use std::time::{Duration, Instant};

use super::common::same;
use super::swapping;
use super::takeover::{load, unload};
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::kvm::guest::Guest;
use crate::kvm::machine::{self, Setup};
use crate::pagemap::{self, FLAG_KSM};
use crate::procfs;
use crate::sys::PAGE;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "kvm/merge",
        "equal memory of two KVM guests shares frames, and both read it right",
        merge,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/write",
        "what a KVM guest writes to merged memory is its own",
        write,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/dirty_log",
        "the log of written pages is exact across merging and unmerging",
        dirty_log,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/live_migration",
        "a copy made by the log of written pages is whole, under a busy scanner",
        live_migration,
    )
    .room(Room::Kvm)
    .seconds(240),
    Case::new(
        "kvm/hammer",
        "KVM guests write and compare while the scanner merges and run is changed",
        hammer,
    )
    .room(Room::Kvm)
    .seconds(240),
    Case::new(
        "kvm/swap",
        "merged memory of KVM guests comes back from swap, shared, as the guests read it",
        swap,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/swap_beside",
        "the same when the kernel brings it in beside the guest's CPU",
        swap_beside,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/swap_hammer",
        "KVM guests write and compare while their memory goes to swap",
        swap_hammer,
    )
    .room(Room::Kvm)
    .seconds(240),
    Case::new(
        "kvm/unmergeable",
        "MADV_UNMERGEABLE of a KVM guest's memory leaves it and the other guest right",
        unmergeable,
    )
    .room(Room::Kvm),
    Case::new(
        "kvm/unload",
        "swapksm is unloaded and loaded while KVM guests write",
        unload_under_guests,
    )
    .room(Room::Kvm)
    .seconds(400),
    Case::new(
        "kvm/unload_busy",
        "the same while a KVM guest does not leave its CPU by itself",
        unload_under_busy,
    )
    .room(Room::Kvm)
    .seconds(400),
];

/// Pages of each guest's memory in most cases.
const PAGES: usize = 64;

/// Writes to random pages that a guest does in one go.
const SLICE: u64 = 1000;

/// Without log and interrupts.
const PLAIN: Setup = Setup {
    pages: PAGES,
    log: false,
    interrupts: false,
};

/// Guests of equal memory, which they have read, so that their own page tables map it.
fn guests(setup: Setup) -> Outcome<Vec<Guest>> {
    machine::available()?;
    let mut guests = vec![Guest::start(setup, same)?, Guest::start(setup, same)?];
    guests.iter_mut().try_for_each(Guest::touch)?;
    Ok(guests)
}

/// Frames of all guests' memory.
fn frames(guests: &[Guest]) -> Outcome<Vec<u64>> {
    let mut all = Vec::new();
    for guest in guests {
        all.extend(guest.frames()?);
    }
    Ok(all)
}

/// Waits until the memory of all guests lies in `goal` frames.
fn frames_become(guests: &[Guest], goal: usize) -> Outcome {
    wait::until(&format!("the guests' memory lies in {goal} frames"), || {
        let frames = frames(guests)?;
        let distinct = pagemap::distinct(&frames);
        let text = format!("{} pages in {distinct} frames", frames.len());
        Ok((distinct == goal, text))
    })
}

/// Guests whose memory is merged.
fn merged(bench: &Bench, setup: Setup) -> Outcome<Vec<Guest>> {
    let guests = guests(setup)?;
    bench.ksm.start()?;
    frames_become(&guests, setup.pages)?;
    Ok(guests)
}

fn verify(guests: &mut [Guest]) -> Outcome {
    guests.iter_mut().try_for_each(Guest::verify)
}

fn finish(guests: Vec<Guest>) -> Outcome {
    guests.into_iter().try_for_each(Guest::finish)
}

fn merge(bench: &Bench) -> Outcome {
    let mut guests = merged(bench, PLAIN)?;
    check_eq!(
        guests[0].frames()?,
        guests[1].frames()?,
        "frames of both guests, page by page"
    );
    verify(&mut guests)?;
    check_eq!(
        pagemap::distinct(&frames(&guests)?),
        PAGES,
        "frames after both guests have read everything"
    );
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    guests.push(Guest::start(PLAIN, same)?);
    frames_become(&guests, PAGES).context("a third guest")?;
    finish(guests)
}

fn write(bench: &Bench) -> Outcome {
    let mut guests = merged(bench, PLAIN)?;
    bench.ksm.stop()?;
    for index in (0..PAGES).step_by(2) {
        guests[0].write(index, 0x7_0000 + index as u64)?;
    }
    let [mine, theirs] = [guests[0].frames()?, guests[1].frames()?];
    for index in 0..PAGES {
        let apart = mine[index] != theirs[index];
        check_eq!(apart, index % 2 == 0, "page {index} has a frame of its own");
    }
    verify(&mut guests)?;
    for index in 0..PAGES {
        guests[1].write(index, 0x8_0000 + index as u64)?;
    }
    let frames = frames(&guests)?;
    check_eq!(
        pagemap::distinct(&frames),
        2 * PAGES,
        "frames after all pages were written by one guest or the other"
    );
    verify(&mut guests)?;
    for index in 0..PAGES {
        guests[0].write(index, same(index))?;
        guests[1].write(index, same(index))?;
    }
    bench.ksm.start()?;
    frames_become(&guests, PAGES).context("merging what was made equal again")?;
    finish(guests)
}

fn dirty_log(bench: &Bench) -> Outcome {
    let setup = Setup { log: true, ..PLAIN };
    let mut guests = guests(setup)?;
    let log = |guests: &mut Vec<Guest>, what: &str| {
        guests
            .iter_mut()
            .try_for_each(Guest::verify_log)
            .context(what)
    };
    // Reading pages that the host may write has put them into the log.
    guests.iter_mut().try_for_each(Guest::clear_log)?;
    for index in (0..PAGES).step_by(3) {
        guests[0].write(index, 0x9_0000)?;
        guests[1].write(index, 0x9_0000)?;
    }
    bench.ksm.start()?;
    // One frame for every page that was not written, one for all that were.
    let left = PAGES - PAGES.div_ceil(3) + 1;
    frames_become(&guests, left)?;
    log(&mut guests, "written first, merged after")?;
    guests.iter_mut().try_for_each(Guest::touch)?;
    log(&mut guests, "reading merged memory")?;
    for index in (0..PAGES).step_by(5) {
        guests[0].write(index, 0xa_0000 + index as u64)?;
    }
    log(&mut guests, "writing to merged memory")?;
    bench.ksm.set("run", 2)?;
    frames_become(&guests, 2 * PAGES)?;
    log(&mut guests, "unmerging")?;
    guests[1].write(7, 0xb_0000)?;
    guests[1].write(8, same(8))?;
    log(&mut guests, "writing to unmerged memory")?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    log(&mut guests, "merging again")?;
    finish(guests)
}

fn live_migration(bench: &Bench) -> Outcome {
    let setup = Setup { log: true, ..PLAIN };
    machine::available()?;
    // Few contents, so that most of what the guests write is merged again at once.
    let four = |index: usize| index as u64 % 4;
    let mut guests = vec![Guest::start(setup, four)?, Guest::start(setup, four)?];
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    let scans = bench.ksm.number("full_scans")?;
    for (number, guest) in guests.iter_mut().enumerate() {
        guest.migrate(40, bench.seed + number as u64)?;
    }
    guests.iter_mut().try_for_each(Guest::rested)?;
    let scans = bench.ksm.number("full_scans")? - scans;
    check!(
        scans >= 2,
        "{scans} passes of the scanner meanwhile: the scanner was not at work"
    );
    finish(guests)
}

/// Lets `guests` write for slices until `end`; `between` is called while they do.
fn keep_busy(
    bench: &Bench,
    guests: &mut [Guest],
    end: Instant,
    mut between: impl FnMut(u64) -> Outcome,
) -> Outcome {
    let mut slice = 0;
    while Instant::now() < end {
        for (number, guest) in guests.iter_mut().enumerate() {
            guest.hammer(SLICE, bench.seed + slice * 16 + number as u64)?;
        }
        between(slice)?;
        guests.iter_mut().try_for_each(Guest::rested)?;
        slice += 1;
    }
    Ok(())
}

fn hammer(bench: &Bench) -> Outcome {
    machine::available()?;
    let four = |index: usize| index as u64 % 4;
    let mut guests = vec![Guest::start(PLAIN, four)?, Guest::start(PLAIN, four)?];
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    let end = Instant::now() + Duration::from_secs(bench.stress_seconds);
    let mut most = 0;
    keep_busy(bench, &mut guests, end, |slice| {
        most = most.max(bench.ksm.number("pages_sharing")?);
        match slice % 8 {
            5 => bench.ksm.set("run", 2),
            6 => bench.ksm.set("use_zero_pages", slice / 8 % 2),
            7 => bench.ksm.set("run", 1),
            _ => Ok(()),
        }
    })?;
    check!(most > 0, "nothing was merged while the guests wrote");
    finish(guests)
}

/// Pushes out all of the guests' memory.
fn push_out(group: &Group, guests: &[Guest]) -> Outcome {
    let all: usize = guests.len() * PAGES;
    wait::until(&format!("{all} pages are swapped out"), || {
        group.reclaim(all / 2 * PAGE)?;
        let mut out = 0;
        for guest in guests {
            out += guest
                .pagemap()?
                .iter()
                .filter(|page| page.swapped())
                .count();
        }
        Ok((out == all, out))
    })
}

/// Memory goes out, and the guests read it, each page for itself.
fn out_and_in(bench: &Bench, setup: Setup) -> Outcome {
    swapping::device()?;
    let _alone = swapping::page_cluster(0)?;
    let group = Group::enter("kvm")?;
    let mut guests = merged(bench, setup)?;
    bench.ksm.stop()?;
    for round in 1..=3 {
        push_out(&group, &guests)?;
        let copies = procfs::vmstat("ksm_swpin_copy")?;
        guests.iter_mut().try_for_each(Guest::guest_verifies)?;
        let frames = frames(&guests)?;
        check_eq!(frames.len(), 2 * PAGES, "pages in memory, round {round}");
        if bench.ours() {
            check_eq!(
                procfs::vmstat("ksm_swpin_copy")? - copies,
                0,
                "copies made at swap-in, round {round}"
            );
            check_eq!(
                pagemap::distinct(&frames),
                PAGES,
                "frames after the guests have read everything, round {round}"
            );
            check_eq!(
                pagemap::count_flag(&frames, FLAG_KSM)?,
                2 * PAGES,
                "mappings of merged pages, round {round}"
            );
        }
    }
    finish(guests)
}

fn swap(bench: &Bench) -> Outcome {
    out_and_in(bench, PLAIN)
}

fn swap_beside(bench: &Bench) -> Outcome {
    let setup = Setup {
        interrupts: true,
        ..PLAIN
    };
    out_and_in(bench, setup)
}

fn swap_hammer(bench: &Bench) -> Outcome {
    swapping::device()?;
    let group = Group::enter("kvm")?;
    machine::available()?;
    let four = |index: usize| index as u64 % 4;
    let beside = Setup {
        interrupts: true,
        ..PLAIN
    };
    let mut guests = vec![Guest::start(PLAIN, four)?, Guest::start(beside, four)?];
    bench.ksm.start()?;
    let out = procfs::vmstat("pswpout")?;
    let end = Instant::now() + Duration::from_secs(bench.stress_seconds);
    keep_busy(bench, &mut guests, end, |_| group.reclaim(PAGES * PAGE))?;
    let out = procfs::vmstat("pswpout")? - out;
    check!(
        out > PAGES as i64,
        "only {out} pages went to swap while the guests wrote"
    );
    finish(guests)
}

fn unmergeable(bench: &Bench) -> Outcome {
    let mut guests = merged(bench, PLAIN)?;
    guests.push(Guest::start(PLAIN, same)?);
    frames_become(&guests, PAGES)?;
    guests[0].unmergeable()?;
    check_eq!(
        pagemap::count_flag(&guests[0].frames()?, FLAG_KSM)?,
        0,
        "merged pages of the guest that left"
    );
    check_eq!(
        pagemap::distinct(&frames(&guests[1..])?),
        PAGES,
        "frames of those that stayed"
    );
    for index in 0..PAGES {
        guests[0].write(index, 0xc_0000 + index as u64)?;
    }
    verify(&mut guests)?;
    finish(guests)
}

/// Skips where swapksm cannot be unloaded and loaded.
fn can_unload(bench: &Bench) -> Outcome {
    bench.only_ours("unloading")?;
    for file in ["ksmctl", "swapksm.ko"] {
        if !Path::new(file).exists() {
            return skip(format!("{file} is not in the working directory"));
        }
    }
    Ok(())
}

fn unload_under_guests(bench: &Bench) -> Outcome {
    can_unload(bench)?;
    machine::available()?;
    let four = |index: usize| index as u64 % 4;
    let mut guests = vec![Guest::start(PLAIN, four)?, Guest::start(PLAIN, four)?];
    for round in 0..3 {
        bench.ksm.start()?;
        wait::until("the guests' memory is merged", || {
            let distinct = pagemap::distinct(&frames(&guests)?);
            Ok((distinct <= PAGES, distinct))
        })?;
        let end = Instant::now() + Duration::from_millis(100);
        keep_busy(bench, &mut guests, end, |_| unload())
            .context(format!("unloading, round {round}"))?;
        verify(&mut guests).context(format!("after unloading, round {round}"))?;
        bench.ksm.start()?;
        keep_busy(bench, &mut guests, end, |_| Ok(()))?;
        let end = Instant::now() + Duration::from_millis(100);
        keep_busy(bench, &mut guests, end, |_| load())
            .context(format!("loading, round {round}"))?;
        verify(&mut guests).context(format!("after loading, round {round}"))?;
    }
    bench.ksm.start()?;
    wait::until("the guests' memory is merged at last", || {
        let distinct = pagemap::distinct(&frames(&guests)?);
        Ok((distinct <= PAGES, distinct))
    })?;
    finish(guests)
}

fn unload_under_busy(bench: &Bench) -> Outcome {
    /// Enough to last until the guest is killed.
    const FOR_EVER: u64 = 0xffff_ffff;
    can_unload(bench)?;
    let mut guests = merged(bench, PLAIN)?;
    guests[0].hammer(FOR_EVER, bench.seed)?;
    for round in 0..2 {
        let start = Instant::now();
        unload().context(format!("unloading, round {round}"))?;
        let unloaded = start.elapsed();
        load().context(format!("loading, round {round}"))?;
        crate::runner::log(&format!(
            "unloaded in {unloaded:?}, loaded in {:?}",
            start.elapsed() - unloaded
        ));
        guests[1].verify()?;
    }
    drop(guests.remove(0));
    guests.push(Guest::start(PLAIN, same)?);
    bench.ksm.start()?;
    frames_become(&guests, PAGES)?;
    finish(guests)
}

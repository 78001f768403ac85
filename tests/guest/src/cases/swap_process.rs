// SPDX-License-Identifier: GPL-2.0

//! What `/proc/PID/ksm_stat` says of one process's merged pages on their way to swap and back: against its page tables.

use std::sync::atomic::{AtomicBool, Ordering};

use super::swapping::Crowd;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::pagemap;
use crate::procfs::{self, swapksm_numbers};
use crate::sharer::Sharer;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/process_swapped",
        "each process's swapped mappings are those of its page tables, step by step",
        swapped,
    )
    .room(Room::Swap),
    Case::new(
        "swap/process_fork",
        "a forked child's numbers begin at zero and count what it brings back itself",
        fork,
    )
    .room(Room::Swap),
    Case::new(
        "swap/process_misses",
        "who gets copies from swap sees them counted, with the reason; others do not",
        misses,
    )
    .room(Room::Swap),
    Case::new(
        "swap/process_readers",
        "numbers are read all the time while pages go and come and processes end",
        readers,
    )
    .room(Room::Swap)
    .seconds(240),
];

const PAGES: usize = 256;

fn number(pid: i32, key: &str) -> Outcome<i64> {
    procfs::ksm_stat(pid, &format!("swapksm_{key}"))
}

/// All merged pages of each process that its page tables have in swap, and no other, must be counted. Returns how many
/// that are, all processes together.
fn each_is_true(bench: &Bench, when: &str, sharers: &[Sharer]) -> Outcome<i64> {
    bench.ksm.sync()?;
    let mut sum = 0;
    for sharer in sharers {
        let entries = sharer.pagemap()?;
        let expected = entries.iter().filter(|entry| entry.swapped()).count() as i64;
        let found = number(sharer.pid(), "sharers_swapped")?;
        check_eq!(found, expected, "swapksm_sharers_swapped {when}");
        sum += found;
    }
    Ok(sum)
}

/// The same, and that sysfs has the sum. There a fork that the scanner has not seen yet disturbs.
fn all_are_true(bench: &Bench, when: &str, sharers: &[Sharer]) -> Outcome {
    let sum = each_is_true(bench, when, sharers)?;
    check_eq!(
        bench.ksm.number("sharers_swapped")?,
        sum,
        "sharers_swapped against the sum over the processes {when}"
    );
    Ok(())
}

/// Waits until `goal` of the process's swapped mappings are of pages that nobody has in memory: a disk is slow to take
/// them.
fn nodes_become(when: &str, sharer: &Sharer, goal: i64) -> Outcome {
    wait::until(&format!("swapksm_nodes_swapped = {goal} {when}"), || {
        let found = number(sharer.pid(), "nodes_swapped")?;
        Ok((found == goal, found))
    })
}

fn swapped(bench: &Bench) -> Outcome {
    bench.only_ours("numbers of what is in swap")?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let pages = PAGES as i64;
    all_are_true(bench, "when merged", &crowd.sharers)?;
    let merging = |sharer: &Sharer| procfs::ksm_merging_pages(sharer.pid());

    crowd.push_all_out(bench, crowd.all())?;
    all_are_true(bench, "when out", &crowd.sharers)?;
    for sharer in &crowd.sharers {
        check_eq!(
            number(sharer.pid(), "sharers_swapped")?,
            pages,
            "swapksm_sharers_swapped when all is out"
        );
        nodes_become("when all is out", sharer, pages)?;
    }

    // One reads half of it: his mappings are in memory, the others' not, but their pages are.
    crowd.sharers[0].touch_every(0, 2)?;
    all_are_true(bench, "after one has read half", &crowd.sharers)?;
    let told = |index: usize, crowd: &Crowd| number(crowd.sharers[index].pid(), "sharers_swapped");
    check_eq!(told(0, &crowd)?, pages / 2, "swapped of him who has read");
    check_eq!(told(1, &crowd)?, pages, "swapped of him who has not");
    for sharer in &crowd.sharers {
        nodes_become("after one has read half", sharer, pages / 2)?;
    }
    check_eq!(
        number(crowd.sharers[0].pid(), "swapin_shared")?,
        pages / 2,
        "pages he has brought back shared"
    );
    check_eq!(
        number(crowd.sharers[1].pid(), "swapin_shared")?,
        0,
        "pages another has brought back"
    );

    // Another writes a quarter: the page comes back shared, and he leaves it.
    for index in 0..PAGES / 4 {
        crowd.sharers[1].write(index, 0x7700 + index as u64)?;
    }
    all_are_true(bench, "after one has written a quarter", &crowd.sharers)?;
    check_eq!(
        told(1, &crowd)?,
        pages * 3 / 4,
        "swapped of him who has written"
    );
    check_eq!(
        merging(&crowd.sharers[1])?,
        pages * 3 / 4,
        "ksm_merging_pages of him who has written"
    );
    check_eq!(
        number(crowd.sharers[1].pid(), "swapin_shared")?,
        pages / 4,
        "pages he has brought back shared"
    );

    // Discarded while out: no mapping is left to count.
    crowd.sharers[2].discard(PAGES / 2, PAGES / 4)?;
    all_are_true(bench, "after one has discarded a quarter", &crowd.sharers)?;
    check_eq!(
        (merging(&crowd.sharers[2])?, told(2, &crowd)?),
        (pages * 3 / 4, pages * 3 / 4),
        "merged and swapped of him who has discarded"
    );

    // Who leaves takes his numbers with him, and nobody else's.
    drop(crowd.sharers.pop());
    all_are_true(bench, "after one has ended", &crowd.sharers)?;

    crowd.verify()?;
    all_are_true(bench, "after all was read", &crowd.sharers)?;
    for sharer in &crowd.sharers {
        check_eq!(
            number(sharer.pid(), "sharers_swapped")? + number(sharer.pid(), "nodes_swapped")?,
            0,
            "what is out after all was read"
        );
        for (key, count) in swapksm_numbers(sharer.pid())? {
            let is_miss = key.contains("_miss_") || key.ends_with("_copied");
            check!(!is_miss || count == 0, "{key} is {count}, nothing missed");
        }
    }
    crowd.finish()
}

fn fork(bench: &Bench) -> Outcome {
    bench.only_ours("numbers of what is in swap")?;
    let mut crowd = Crowd::merged(bench, 2, PAGES)?;
    let pages = PAGES as i64;
    crowd.push_all_out(bench, crowd.all())?;
    crowd.sharers[0].touch_every(0, 4)?;
    let child = crowd.sharers[0].fork()?;
    let addr = crowd.sharers[0].addr();
    let out = || -> Outcome<usize> {
        let entries = pagemap::of(child, addr, PAGES)?;
        Ok(entries.iter().filter(|entry| entry.swapped()).count())
    };
    check_eq!(out()?, PAGES * 3 / 4, "pages of the child that are out");
    for (key, count) in swapksm_numbers(child)? {
        check_eq!(count, 0, "{key} of a child that has done nothing yet");
    }
    each_is_true(bench, "after the fork", &crowd.sharers)?;

    // The child reads everything when it compares; what the parent has brought back is the parent's.
    crowd.sharers[0].verify_child()?;
    check_eq!(out()?, 0, "pages of the child that are out after reading");
    let mine = number(crowd.sharers[0].pid(), "swapin_shared")?;
    let of_child = number(child, "swapin_shared")?;
    check_eq!(
        (mine, of_child),
        (pages / 4, pages * 3 / 4),
        "pages brought back shared, parent and child"
    );
    for key in ["swapin_copied", "swapin_miss_unknown"] {
        check_eq!(number(child, key)?, 0, "{key} of the child");
    }

    // Once the scanner has come by the child is a sharer like any other, and its mappings count when they go out.
    bench.ksm.start()?;
    let told = |key: &str| number(child, key);
    wait::until("the child's pages are known as merged", || {
        let now = procfs::ksm_merging_pages(child)?;
        Ok((now == pages, now))
    })?;
    bench.ksm.stop()?;
    check_eq!(
        told("sharers_swapped")?,
        0,
        "swapped of the child in memory"
    );
    wait::until("the child's pages are out", || {
        crowd.group().reclaim(PAGES * crate::sys::PAGE)?;
        let out = out()?;
        Ok((out == PAGES, out))
    })?;
    bench.ksm.sync()?;
    check_eq!(told("sharers_swapped")?, pages, "swapped of the child");
    crowd.sharers[0].end_child()?;
    crowd.finish()
}

fn misses(bench: &Bench) -> Outcome {
    bench.only_ours("numbers of what is in swap")?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let pages = PAGES as i64;
    crowd.push_all_out(bench, crowd.all())?;
    let before = bench.ksm.number("swapin_copied")?;
    crowd.sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    all_are_true(bench, "after one has unmerged", &crowd.sharers)?;
    crowd.sharers[0].verify()?;
    bench.ksm.sync()?;
    let unmerged = crowd.sharers[0].pid();
    let expected = [
        ("sharers_swapped", 0),
        ("nodes_swapped", 0),
        ("swapin_shared", 0),
        ("swapin_copied", pages),
        ("swapin_miss_unknown", pages),
        ("swapin_miss_large", 0),
        ("swapin_miss_exclusive", 0),
        ("swapin_miss_stale", 0),
        ("swapin_miss_hash", 0),
    ];
    for (key, count) in expected {
        check_eq!(number(unmerged, key)?, count, "{key} of him who unmerged");
    }
    check_eq!(
        bench.ksm.number("swapin_copied")? - before,
        pages,
        "swapin_copied of all"
    );
    check_eq!(
        procfs::ksm_merging_pages(unmerged)?,
        0,
        "ksm_merging_pages of him who unmerged"
    );
    for sharer in &crowd.sharers[1..] {
        check_eq!(
            number(sharer.pid(), "sharers_swapped")?,
            pages,
            "swapped of those who did not"
        );
        for key in ["swapin_shared", "swapin_copied", "swapin_miss_unknown"] {
            check_eq!(number(sharer.pid(), key)?, 0, "{key} of those who did not");
        }
    }

    // Everybody by run 2: copies, and nothing is left to count.
    bench.ksm.set("run", 2)?;
    crowd.verify()?;
    bench.ksm.sync()?;
    for sharer in &crowd.sharers {
        for key in ["sharers_swapped", "nodes_swapped", "swapin_shared"] {
            check_eq!(number(sharer.pid(), key)?, 0, "{key} after run 2");
        }
    }
    crowd.finish()
}

fn readers(bench: &Bench) -> Outcome {
    bench.only_ours("numbers of what is in swap")?;
    const MANY: usize = 512;
    let mut crowd = Crowd::merged(bench, 4, MANY)?;
    let pids: Vec<i32> = crowd.sharers.iter().map(Sharer::pid).collect();
    let over = AtomicBool::new(false);
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Outcome<u64> {
            let mut reads = 0u64;
            while !over.load(Ordering::Relaxed) {
                for &pid in &pids {
                    within(pid, MANY as i64)?;
                    reads += 1;
                }
            }
            Ok(reads)
        });
        let rounds = move_about(&mut crowd);
        over.store(true, Ordering::Relaxed);
        let reads = match reader.join() {
            Ok(reads) => reads?,
            Err(_) => return fail("the reader panicked"),
        };
        rounds?;
        check!(reads >= 20, "only {reads} reads were made meanwhile");
        Ok(())
    })?;
    crowd.finish()
}

/// Pages go and come, are written, and one process ends.
fn move_about(crowd: &mut Crowd) -> Outcome {
    for round in 0..4u64 {
        crowd.push_out_to(crowd.all() / 2)?;
        let writer = round as usize % crowd.sharers.len();
        for index in (writer..crowd.sharers[writer].pages()).step_by(11) {
            crowd.sharers[writer].write(index, round << 20 | index as u64)?;
        }
        crowd.verify().context(format!("round {round}"))?;
    }
    drop(crowd.sharers.pop());
    crowd.push_out_to(crowd.all() / 2)?;
    crowd.verify()
}

/// Numbers of a process that may be gone, taken while they change: no more than it has pages.
fn within(pid: i32, pages: i64) -> Outcome {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/ksm_stat")) else {
        return Ok(());
    };
    for line in text.lines() {
        let Some((key, count)) = line.split_once(' ') else {
            return fail(format!("ksm_stat of {pid} has the line '{line}'"));
        };
        if key.ends_with("_swapped") || key == "ksm_merging_pages" {
            let count: i64 = count.parse().unwrap_or(-1);
            check!((0..=pages).contains(&count), "{line} of {pages} pages");
        }
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! What /sys/kernel/mm/ksm and the control group say of merged pages on their way to swap and back.

use super::swapping::Crowd;
use crate::case::{fail, Bench, Case, Context, Outcome, Room, Stop};
use crate::check;
use crate::pagemap::{self, FLAG_KSM};
use crate::procfs;
use crate::sharer;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/numbers",
        "every number of sysfs is right before, during and after the time in swap",
        numbers,
    )
    .room(Room::Swap),
    Case::new(
        "swap/memory_after",
        "the group has as much memory after everything was read back as when it was merged",
        memory_after,
    )
    .room(Room::Swap),
    Case::new(
        "swap/process_numbers",
        "/proc/PID/ksm_stat counts merged pages while they are out",
        process_numbers,
    )
    .room(Room::Swap),
];

const PAGES: usize = 256;

/// Numbers that tell how many there are now.
const STATES: &[&str] = &[
    "nodes_swapped",
    "sharers_swapped",
    "pages_shared",
    "pages_sharing",
];
/// Numbers that tell how often something happened.
const EVENTS: &[&str] = &[
    "swapin_shared",
    "swapin_copied",
    "swapin_miss_unknown",
    "swapin_miss_large",
    "swapin_miss_exclusive",
    "swapin_miss_stale",
    "swapin_miss_hash",
];

fn read(bench: &Bench, files: &[&str]) -> Outcome<Vec<i64>> {
    files.iter().map(|file| bench.ksm.number(file)).collect()
}

/// Compares [`STATES`], which follow the page tables after the deferred work.
fn states_are(bench: &Bench, when: &str, goals: [i64; 4]) -> Outcome {
    for (file, goal) in STATES.iter().zip(goals) {
        bench
            .ksm
            .counter_becomes(file, goal)
            .context(when)
            .or_else(|stop| match stop {
                Stop::Fail(text) => fail(format!(
                    "{text}; {STATES:?} {:?}; {EVENTS:?} {:?}",
                    read(bench, STATES)?,
                    read(bench, EVENTS)?
                )),
                skip => Err(skip),
            })?;
    }
    Ok(())
}

fn numbers(bench: &Bench) -> Outcome {
    bench.only_ours("numbers of what is in swap")?;
    const COUNT: usize = 8;
    let pages = PAGES as i64;
    let (shared, sharing) = (pages, (COUNT as i64 - 1) * pages);
    let mut crowd = Crowd::merged(bench, COUNT, PAGES)?;
    states_are(bench, "when merged", [0, 0, shared, sharing])?;
    let before = read(bench, EVENTS)?;
    let copies = procfs::vmstat("ksm_swpin_copy")?;
    crowd.push_all_out(bench, crowd.all())?;
    let all = COUNT as i64 * pages;
    states_are(bench, "when out", [pages, all, shared, sharing])?;
    for (index, sharer) in crowd.sharers.iter_mut().enumerate() {
        sharer.verify()?;
        let out = all - (index as i64 + 1) * pages;
        let when = format!("after {} have read their pages", index + 1);
        states_are(bench, &when, [0, out, shared, sharing])?;
    }
    // The first to read has every page made the merged one again, the others find it so.
    let happened: Vec<i64> = read(bench, EVENTS)?
        .iter()
        .zip(&before)
        .map(|(now, before)| now - before)
        .collect();
    let expected: Vec<i64> = EVENTS
        .iter()
        .map(|&file| if file == "swapin_shared" { all } else { 0 })
        .collect();
    check!(
        happened == expected,
        "of {EVENTS:?} there were {happened:?}, expected {expected:?}"
    );
    let copied = procfs::vmstat("ksm_swpin_copy")? - copies;
    check!(copied == 0, "ksm_swpin_copy moved by {copied}");
    // A process that leaves while its pages are out is no sharer any more.
    crowd.push_all_out(bench, crowd.all())?;
    drop(crowd.sharers.pop());
    states_are(
        bench,
        "after one has ended",
        [pages, all - pages, shared, sharing - pages],
    )?;
    crowd.sharers[0].discard(0, PAGES / 2)?;
    let gone = pages + pages / 2;
    states_are(
        bench,
        "after one has discarded half of it",
        [pages, all - gone, shared, sharing - gone],
    )?;
    // The same by writing, which brings the page in for the others.
    for index in PAGES / 2..PAGES {
        crowd.sharers[0].write(index, 0x8800 + index as u64)?;
    }
    let gone = 2 * pages;
    crowd.verify()?;
    states_are(
        bench,
        "after all have read or written",
        [0, 0, shared, sharing - gone],
    )?;
    // Pages that were discarded and read since are no pages of anybody's.
    crowd.push_out_to(crowd.all() - PAGES / 2)?;
    crowd.finish()?;
    states_are(bench, "after all have ended", [0, 0, 0, 0])
}

fn memory_after(bench: &Bench) -> Outcome {
    bench.only_ours("sharing that survives swap")?;
    const MANY: usize = 2048;
    let mut crowd = Crowd::merged(bench, 8, MANY)?;
    let merged = crowd.group().anon()?;
    let copies = procfs::vmstat("ksm_swpin_copy")?;
    for round in 1..=2 {
        crowd.push_out()?;
        let out = crowd.group().anon()?;
        check!(
            out * 4 < merged,
            "{out} bytes of anonymous memory when all is out, {merged} when merged"
        );
        crowd.verify()?;
        let back = crowd.group().anon()?;
        check!(
            back * 100 <= merged * 105,
            "{back} bytes of anonymous memory after read-back number {round}, {merged} when merged"
        );
        let frames = sharer::frames(&crowd.sharers)?;
        let merged_now = pagemap::count_flag(&frames, FLAG_KSM)?;
        check!(
            merged_now == crowd.all(),
            "{merged_now} of {} pages are merged after read-back number {round}",
            crowd.all()
        );
    }
    let copied = procfs::vmstat("ksm_swpin_copy")? - copies;
    check!(copied == 0, "ksm_swpin_copy moved by {copied}");
    crowd.finish()
}

fn process_numbers(bench: &Bench) -> Outcome {
    bench.only_ours("sharing that survives swap")?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let all_have = |crowd: &Crowd, goal: usize, when: &str| {
        bench.ksm.sync()?;
        for sharer in &crowd.sharers {
            let found = procfs::ksm_merging_pages(sharer.pid())?;
            check!(
                found == goal as i64,
                "ksm_merging_pages of a process {when}: {found}, expected {goal}"
            );
        }
        Ok(())
    };
    all_have(&crowd, PAGES, "when merged")?;
    crowd.push_out()?;
    all_have(&crowd, PAGES, "when out")?;
    crowd.verify()?;
    all_have(&crowd, PAGES, "after reading")?;
    crowd.push_out()?;
    for sharer in &mut crowd.sharers {
        sharer.discard(0, PAGES / 2)?;
    }
    all_have(&crowd, PAGES / 2, "after discarding half of it")?;
    crowd.finish()
}

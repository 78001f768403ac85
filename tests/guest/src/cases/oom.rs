// SPDX-License-Identifier: GPL-2.0

//! The OOM killer takes processes whose memory is being merged.

use std::time::Instant;

use super::abuse::become_nobody;
use super::common::{frames_become, merged_crowd, same, self_check};
use super::swapping::Crowd;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::procfs;
use crate::region::{Lock, Region};
use crate::sabotage::{self, Sabotage};
use crate::setting::Setting;
use crate::sharer::{self, Sharer};
use crate::sys;
use crate::wait::{self, patience};
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "oom/killed_while_merged",
        "processes that grow until the OOM killer takes them, their memory locked or not, hold nobody up",
        killed,
    )
    .seconds(240),
    Case::new(
        "oom/killed_by_unmerging",
        "unmerging more than a cgroup may have ends, and takes nothing from others",
        unmerging,
    )
    .seconds(240),
    Case::new(
        "oom/global",
        "the whole machine runs out of memory while the scanner runs without rest: only who took it dies",
        global,
    )
    .seconds(240),
    Case::new(
        "oom/global_swapped",
        "the same while merged pages are out, and swap runs out, too",
        global_swapped,
    )
    .room(Room::Swap)
    .seconds(240),
];

/// Pages of the honest processes, equal to some of every victim's.
const PAGES: usize = 128;

fn killed(bench: &Bench) -> Outcome {
    const LIMIT: usize = 24 << 20;
    const ROUNDS: usize = 6;
    bench.ksm.set("sleep_millisecs", 0)?;
    let mut honest = Sharer::crowd(2, PAGES, same)?;
    bench.ksm.start()?;
    frames_become(&honest, PAGES)?;
    let group = Group::enter("oom")?;
    group.leave()?;
    group.set("memory.max", LIMIT)?;
    for round in 0..ROUNDS {
        let mut victim = Worker::start("process that grows", |steps| {
            group.join()?;
            steps.step(0)?;
            loop {
                let region = Region::map(512)?;
                if round % 2 == 1 {
                    region.lock(Lock::Now)?;
                }
                region.mergeable()?;
                // Half of it is merged as it grows, so that it takes a while.
                region.fill(|index| match index % 2 {
                    0 => same(index / 2 % PAGES),
                    _ => (region.addr() + index) as u64,
                });
                region.release();
            }
        })?;
        victim.arrived()?;
        let start = Instant::now();
        victim.go(0)?;
        victim
            .killed_by(libc::SIGKILL)
            .context(format!("round {round}"))?;
        check!(
            start.elapsed() < patience(),
            "round {round}: it took {:?}",
            start.elapsed()
        );
        sharer::verify(&mut honest).context(format!("after round {round}"))?;
    }
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    check_eq!(
        group.event("oom_kill")? as usize,
        ROUNDS,
        "processes that the OOM killer took"
    );
    // Not because the whole machine was out of memory.
    let at_limit = group.event("oom")? as usize;
    check!(
        at_limit >= ROUNDS,
        "the group was out of memory {at_limit} times, for {ROUNDS} processes"
    );
    sharer::finish(honest)
}

fn unmerging(bench: &Bench) -> Outcome {
    const MERGED: usize = 4096;
    let mut honest = Sharer::crowd(2, PAGES, same)?;
    let group = Group::enter("oom")?;
    // One content: one page in memory.
    let victim = Sharer::start(MERGED, |_| 0x77)?;
    group.leave()?;
    bench.ksm.start()?;
    wait::until("the victim's pages are merged", || {
        let distinct = crate::pagemap::distinct(&victim.frames()?);
        Ok((distinct <= MERGED / 128, distinct))
    })?;
    frames_become(&honest, PAGES)?;
    group.set("memory.max", 8 << 20)?;
    // Who writes it is in no group of limits; whose memory it is has too little room.
    let start = Instant::now();
    let result = bench.ksm.try_set("run", "2");
    let took = start.elapsed();
    crate::runner::log(&format!("writing 2 to run: {result:?} after {took:?}"));
    check!(took < patience(), "it took {took:?}");
    // All was unmerged, as far as it was there still, or memory was missing for it.
    if let Err(error) = result {
        check!(
            sys::is_errno(&error, libc::ENOMEM),
            "writing 2 to run failed with another error than ENOMEM: {error}"
        );
    }
    sharer::verify(&mut honest)?;
    victim.killed_by(libc::SIGKILL)?;
    check!(
        group.event("oom_kill")? > 0,
        "the victim is gone, and the OOM killer has taken nobody"
    );
    bench.ksm.set("run", 2)?;
    frames_become(&honest, 2 * PAGES)?;
    bench.ksm.counter_becomes("pages_shared", 0)?;
    sharer::finish(honest)
}

fn global(bench: &Bench) -> Outcome {
    let mut honest = merged_crowd(bench, 3, PAGES)?;
    out_of_memory(bench)?;
    sharer::verify(&mut honest)?;
    still_merged(bench, honest)
}

fn global_swapped(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    // Who takes all the memory is none of this group's.
    crowd.group().leave()?;
    crowd.push_out_to(crowd.all() / 2)?;
    out_of_memory(bench)?;
    let out = sharer::swapped(&crowd.sharers)?;
    crate::runner::log(&format!("{out} entries are out"));
    check!(out > 0, "no page is out when memory has run out");
    crowd.verify()?;
    still_merged(bench, crowd.into_sharers())
}

/// Somebody takes all the memory there is while the scanner runs without rest, and dies of it.
fn out_of_memory(bench: &Bench) -> Outcome {
    const ADJUST: &str = "/proc/self/oom_score_adj";
    let _aside = put_aside()?;
    bench.ksm.set("sleep_millisecs", 0)?;
    bench.ksm.start()?;
    let kills = procfs::vmstat("oom_kill")?;
    let mut eater = Worker::start("process that takes all memory", |steps| {
        // The first to go, wherever memory runs out.
        std::fs::write(ADJUST, "1000").context(ADJUST)?;
        become_nobody()?;
        steps.step(0)?;
        eat()
    })?;
    eater.arrived()?;
    let start = Instant::now();
    eater.go(0)?;
    eater.killed_by(libc::SIGKILL)?;
    let took = start.elapsed();
    crate::runner::log(&format!("out of memory and free again in {took:?}"));
    check!(took < patience(), "it took {took:?}");
    check_eq!(
        procfs::vmstat("oom_kill")? - kills,
        1,
        "processes that the OOM killer took"
    );
    Ok(())
}

/// Has the kernel put most of the memory aside as huge pages, which is quicker than filling it.
fn put_aside() -> Outcome<Option<Setting>> {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";
    const LEFT: usize = 192 << 20;
    if std::fs::metadata(FILE).is_err() {
        return Ok(None);
    }
    let available = (procfs::field("/proc/meminfo", "MemAvailable")? as usize) << 10;
    Setting::set(FILE, available.saturating_sub(LEFT) / sys::HUGE).map(Some)
}

/// Takes memory until there is none, a part of it to be merged, which never can be.
fn eat() -> Outcome {
    const CHUNK: usize = 1024;
    // Far more than the machine has.
    const CHUNKS: usize = (64 << 30) / (CHUNK * sys::PAGE);
    let chunks = match sabotage::is(Sabotage::NoPoke) {
        true => 0,
        false => CHUNKS,
    };
    for chunk in 0..chunks {
        let region = Region::map(CHUNK)?;
        // The scanner has enough to look at.
        if chunk % 4 == 0 {
            region.mergeable()?;
        }
        for index in 0..CHUNK {
            // SAFETY: a page of our own mapping.
            unsafe { region.page(index).write_volatile(region.page(index) as u64) };
        }
        region.release();
    }
    fail("there is no end of memory")
}

/// All pages are right and merged, and the module's numbers say so.
fn still_merged(bench: &Bench, mut sharers: Vec<Sharer>) -> Outcome {
    let count = sharers.len();
    frames_become(&sharers, PAGES)?;
    sharer::verify(&mut sharers)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", ((count - 1) * PAGES) as i64)?;
    bench.ksm.counter_becomes("pages_unshared", 0)?;
    self_check(&bench.ksm)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

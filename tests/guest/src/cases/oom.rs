// SPDX-License-Identifier: GPL-2.0

//! The OOM killer takes processes whose memory is being merged.

use std::time::Instant;

use super::common::{frames_become, same};
use crate::case::{Bench, Case, Context, Outcome};
use crate::cgroup::Group;
use crate::region::{Lock, Region};
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

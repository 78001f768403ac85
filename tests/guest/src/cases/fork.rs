// SPDX-License-Identifier: GPL-2.0

//! Fork of processes with merged pages.

use super::common::{frames_become, merged_crowd, same};
use crate::case::{fail, Bench, Case, Context, Outcome, Stop};
use crate::check_eq;
use crate::pagemap;
use crate::pipe::{self, Message};
use crate::region::Region;
use crate::sharer;
use crate::sys;
use crate::wait;
use crate::worker::Worker;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "fork/child_shares",
        "a forked child has the parent's merged frames and sees its own writes",
        child_shares,
    ),
    Case::new(
        "fork/parent_exits",
        "the child keeps its content when the parent exits",
        parent_exits,
    ),
    Case::new(
        "fork/child_exits",
        "the parent keeps its content when children exit",
        child_exits,
    ),
    Case::new(
        "fork/child_is_merged",
        "the child of a mergeable process is scanned, too",
        child_is_merged,
    ),
];

fn child_shares(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let before = sharers[0].frames()?;
    let child = sharers[0].fork()?;
    let frames = pagemap::frames(&pagemap::of(child, sharers[0].addr(), PAGES)?);
    check_eq!(frames, before, "frames of the child");
    // The parent writes, the child must keep what was there at the fork.
    for index in 0..PAGES / 2 {
        sharers[0].write(index, 0x9900 + index as u64)?;
    }
    sharers[0].end_child()?;
    sharer::finish(sharers)
}

fn parent_exits(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let frames = sharers[0].frames()?;
    let (mut from, mut to) = pipe::pair()?;
    // The middle process is merged with the others, forks, and exits; its child reports here.
    let mut middle = Worker::start("middle", |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        let parent = std::process::id() as i32;
        let orphan = sys::fork().context("fork")?;
        let Some(pid) = orphan else {
            let outcome = orphaned(parent).and_then(|()| region.verify(same));
            // If nobody listens any more the case has failed already.
            let _ = to.done(&outcome);
            // Hold the pages until killed with the case.
            std::thread::sleep(wait::patience() * 10);
            sys::exit(0);
        };
        steps.step(pid as u64).map(drop)
    })?;
    let addr = middle.arrived()? as usize;
    wait::until("the middle process is merged", || {
        let now = pagemap::frames(&pagemap::of(middle.pid(), addr, PAGES)?);
        Ok((now == frames, ()))
    })?;
    let child = middle.step(0)? as i32;
    middle.finish()?;
    match from.receive(wait::patience())? {
        Message::Done(outcome) => outcome.context("orphan")?,
        other => return fail(format!("the orphan sent {other:?}")),
    }
    check_eq!(
        pagemap::frames(&pagemap::of(child, addr, PAGES)?),
        frames,
        "frames of the orphan"
    );
    bench.ksm.passes(3)?;
    check_eq!(
        pagemap::frames(&pagemap::of(child, addr, PAGES)?),
        frames,
        "frames of the orphan later"
    );
    sharer::finish(sharers)
}

/// Waits until the parent of the calling process has ended.
///
/// The parent's number was read before the fork: by now it may have ended already.
fn orphaned(parent: i32) -> Outcome {
    wait::until("the parent ends", || {
        // SAFETY: takes no arguments, cannot fail.
        Ok((unsafe { libc::getppid() } != parent, ()))
    })
}

fn child_exits(bench: &Bench) -> Outcome {
    const PAGES: usize = 128;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    for _ in 0..5 {
        sharers[1].fork()?;
        bench.ksm.passes(1)?;
        sharers[1].end_child()?;
        sharer::verify(&mut sharers)?;
    }
    frames_become(&sharers, PAGES)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    sharer::finish(sharers)
}

fn child_is_merged(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    // Everything is unique at first; the child writes what the parent's other half holds.
    let region = Region::map(PAGES)?;
    region.fill(|index| 0x3000 + index as u64);
    region.mergeable()?;
    let mut child = Worker::start("child", |steps| {
        region.fill(|index| 0x3000 + index as u64);
        steps.step(0)?;
        region.verify(|index| 0x3000 + index as u64)
    })?;
    child.arrived()?;
    region.fill(|index| 0x3000 + index as u64);
    let frames =
        |pid: i32| Ok::<_, Stop>(pagemap::frames(&pagemap::of(pid, region.addr(), PAGES)?));
    let me = std::process::id() as i32;
    check_eq!(
        frames(me)? == frames(child.pid())?,
        false,
        "parent and child share after both wrote"
    );
    bench.ksm.start()?;
    wait::until("parent and child are merged", || {
        Ok((frames(me)? == frames(child.pid())?, ()))
    })?;
    region.verify(|index| 0x3000 + index as u64)?;
    child.finish()
}

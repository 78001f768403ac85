// SPDX-License-Identifier: GPL-2.0

//! Memory that goes offline.

use std::time::{Duration, Instant};

use super::common::{frames_become, merged_crowd_in, same, self_check};
use super::memory_block::{Block, Filler};
use super::numa;
use super::swapping::{self, Crowd};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::ksm::Ksm;
use crate::pagemap::{self, FLAG_KSM};
use crate::pipe_pages::PipePages;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::slow;
use crate::sys::is_errno;
use crate::wait::{self, patience};
use crate::worker::Worker;
use crate::{check, check_eq, sys};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "hotplug/offline",
        "taking memory offline moves the merged pages in it",
        offline,
    )
    .room(Room::Numa),
    Case::new(
        "hotplug/offline_refused",
        "memory with a page that cannot be moved stays online: the scanner and writers of knobs go on",
        offline_refused,
    )
    .room(Room::Numa),
    Case::new(
        "hotplug/offline_while_out",
        "memory goes offline while merged pages are in swap and in the swap cache",
        offline_while_out,
    )
    .room(Room::Numa)
    .seconds(240),
];

/// Pages of a process whose memory is in a block.
pub const PAGES: usize = 64;
/// Seconds after which who takes memory offline is told to give up.
const GIVES_UP: Duration = Duration::from_secs(3);

/// Processes of equal pages, all of them in the block, merged.
pub fn merged_inside(bench: &Bench, block: &Block, count: usize) -> Outcome<Vec<Sharer>> {
    let sharers = merged_crowd_in(bench, count, PAGES, || block.map_inside(PAGES))?;
    check_eq!(
        block.count(&sharers[0].frames()?),
        PAGES,
        "merged pages in the block before"
    );
    Ok(sharers)
}

fn offline(bench: &Bench) -> Outcome {
    let block = Block::find()?;
    let mut sharers = merged_inside(bench, &block, 3)?;
    block.offline_at_last()?;
    let after = sharers[0].frames();
    let merged = frames_become(&sharers, PAGES);
    let right = sharer::verify(&mut sharers);
    block.online()?;
    check_eq!(
        block.count(&after?),
        0,
        "merged pages left in the block that is offline"
    );
    merged?;
    right?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

/// The kernel tries for ever to move a page that a pipe refers to, until a signal ends it.
fn offline_refused(bench: &Bench) -> Outcome {
    let block = Block::find()?;
    let mut sharers = merged_inside(bench, &block, 3)?;
    let pinned = block.map_inside(1)?;
    pinned.write(0, 0xb10c);
    let pipe = PipePages::splice(&pinned, 0..1)?;
    let mut offliner = Worker::start("who takes memory offline", |steps| {
        steps.step(0)?;
        alarm(slow::limit(GIVES_UP))?;
        match block.try_offline() {
            Err(error) if is_errno(&error, libc::EINTR) => Ok(()),
            other => fail(format!(
                "taking memory offline, with a page in a pipe, ended with {other:?}, not by a signal"
            )),
        }
    })?;
    offliner.arrived()?;
    offliner.go(0)?;
    // Pages move when everybody has been told.
    let begun = wait::until("merged pages are moved from the block", || {
        let inside = block.count(&sharers[0].frames()?);
        Ok((inside == 0, inside))
    });
    let writer = Worker::start("writer of run", |_| {
        let start = Instant::now();
        Ksm.set("run", 2)?;
        check!(
            start.elapsed() < patience(),
            "run took {:?}",
            start.elapsed()
        );
        Ok(())
    })?;
    let newcomer = Sharer::start(PAGES, same)?;
    std::thread::sleep(GIVES_UP / 6);
    let run = bench.ksm.number("run")?;
    let (own, merged) = (newcomer.frames()?, sharers[0].frames()?);
    let shared = own.iter().any(|frame| merged.contains(frame));
    // What was seen was seen in the meantime, if it is the meantime still.
    let meanwhile = block.state()? == "going-offline";
    let ended = offliner.ended();
    let state = block.state()?;
    if state != "online" {
        block.online()?;
    }
    ended?;
    begun?;
    check_eq!(state, "online", "the block's state when it was given up");
    check!(
        !meanwhile || run == 1 && !shared,
        "while memory was going offline run became {run}, and a newcomer was merged: {shared}"
    );
    writer
        .ended()
        .context("the writer of run when memory is settled")?;
    sharers.push(newcomer);
    frames_become(&sharers, sharers.len() * PAGES).context("after run 2")?;
    for (file, value) in [("merge_across_nodes", 0), ("max_page_sharing", 12)] {
        let start = Instant::now();
        // Pages may still be on their way out of the books.
        bench.ksm.counter_becomes("pages_shared", 0)?;
        bench.ksm.set(file, value)?;
        check!(
            start.elapsed() < patience(),
            "{file} took {:?}",
            start.elapsed()
        );
    }
    bench.ksm.set("merge_across_nodes", 1)?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES).context("merged again")?;
    sharer::verify(&mut sharers)?;
    self_check(&bench.ksm)?;
    let copy = Region::map(1)?;
    pipe.read(&copy)?;
    copy.verify_page(0, 0xb10c).context("out of the pipe")?;
    // Nothing is in the way any more.
    block.offline_at_last()?;
    let after = sharer::frames(&sharers);
    let right = pinned.verify_page(0, 0xb10c);
    block.online()?;
    check_eq!(block.count(&after?), 0, "merged pages left in the block");
    right?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

/// A signal comes after so long; what the calling process does ends with EINTR then.
fn alarm(after: Duration) -> Outcome {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zero is a valid sigaction: no flags, so that calls are not begun again.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: a valid action whose handler does nothing.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    sys::check(set.into()).context("sigaction")?;
    // SAFETY: plain system call.
    unsafe { libc::alarm(after.as_secs() as u32) };
    Ok(())
}

fn offline_while_out(bench: &Bench) -> Outcome {
    const MANY: usize = 256;
    const ROUNDS: usize = 4;
    swapping::device()?;
    let block = Block::find()?;
    let mut filler = Filler::make(&block)?;
    let mut crowd = Crowd::merged_in(bench, 3, MANY, || numa::map_near(0, MANY))?;
    for round in 0..ROUNDS {
        once_while_out(bench, &block, &mut filler, &mut crowd, round)
            .context(format!("round {round}"))
            .inspect_err(|_| drop(block.online()))?;
    }
    bench.ksm.start()?;
    frames_become(&crowd.sharers, MANY)?;
    bench.ksm.counter_becomes("pages_shared", MANY as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * MANY as i64)?;
    self_check(&bench.ksm)?;
    crowd.finish()
}

/// All pages of a crowd go out, and every other one comes back for one of the processes: how many of those are in the block,
/// which is most of them.
pub fn half_out(
    block: &Block,
    filler: &mut Filler,
    crowd: &mut Crowd,
    who: usize,
) -> Outcome<usize> {
    let mut inside = 0;
    wait::until("most pages that came back are in the block", || {
        crowd.push_out()?;
        // What they were in may lie beside the block, and would be taken first. Each CPU keeps some of it, and some is free only
        // when it has been written: what came back to it has gone out again the next time.
        filler.top_up(block)?;
        // What is read is in the swap cache for the others, the rest is out, or on its way.
        crowd.sharers[who].touch_every(0, 2)?;
        let present = crowd.sharers[who].frames()?;
        inside = block.count(&present);
        Ok((
            inside * 2 > present.len(),
            format!("{inside} of {}", present.len()),
        ))
    })?;
    Ok(inside)
}

/// All pages go out, some come back, for some of the processes; then the block goes offline.
fn once_while_out(
    bench: &Bench,
    block: &Block,
    filler: &mut Filler,
    crowd: &mut Crowd,
    round: usize,
) -> Outcome {
    let inside = half_out(block, filler, crowd, round % 3)?;
    let out = sharer::swapped(&crowd.sharers)?;
    check!(out > 0, "no page is out");
    block.offline_at_last()?;
    let left = block.count(&sharer::frames(&crowd.sharers)?);
    crowd.verify()?;
    let frames = sharer::frames(&crowd.sharers)?;
    let read = block.count(&frames);
    block.online()?;
    check_eq!(left, 0, "pages left in the block that is offline");
    check_eq!(read, 0, "pages that came back to the block that is offline");
    crate::runner::log(&format!(
        "round {round}: {inside} pages in the block, {out} entries out, now {} frames",
        pagemap::distinct(&frames)
    ));
    if bench.ours() {
        let pages = frames.len() / crowd.sharers.len();
        check_eq!(pagemap::distinct(&frames), pages, "frames of all");
        check_eq!(
            pagemap::count_flag(&frames, FLAG_KSM)?,
            frames.len(),
            "pages that are merged"
        );
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Hardware memory errors in merged pages, as `MADV_HWPOISON` feigns them.

use super::common::{frames_become, merged_crowd, same};
use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::pagemap::{self, FLAG_HWPOISON, FLAG_KSM};
use crate::region::{Region, MADV_SOFT_OFFLINE};
use crate::sharer::{self, Sharer};
use crate::sys;
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "poison/only_users_die",
        "a broken merged page kills who touches it, and nobody else",
        users_die,
    ),
    Case::new(
        "poison/early_kill",
        "who asked for it is told of a broken merged page at once",
        early_kill,
    ),
    Case::new(
        "poison/soft_offline",
        "MADV_SOFT_OFFLINE moves a merged page away for all sharers",
        soft_offline,
    ),
];

const PAGES: usize = 16;
pub const BROKEN: usize = 5;
/// `PR_MCE_KILL`, to set, for the process, early.
const EARLY_KILL: (i32, [u64; 4]) = (33, [1, 1, 0, 0]);

/// Breaks the page [`BROKEN`] of a new process that is merged with `sharers`, whose pages are those of [`same`].
pub fn break_page(sharers: &[Sharer], advice: i32) -> Outcome {
    break_page_after(sharers, advice, || Ok(()))
}

/// The same; `prepare` is called when the process is merged, before the page breaks.
pub fn break_page_after(
    sharers: &[Sharer],
    advice: i32,
    prepare: impl FnOnce() -> Outcome,
) -> Outcome {
    let pages = sharers[0].pages();
    let mut worker = Worker::start("breaker", |steps| {
        let region = Region::map(pages)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        match region.advise_pages(BROKEN..BROKEN + 1, advice) {
            Err(error) if sys::is_errno(&error, libc::EINVAL) => {
                skip("this kernel cannot feign memory errors")
            }
            other => other.context("breaking a merged page"),
        }
    })?;
    let addr = worker.arrived()? as usize;
    let pid = worker.pid();
    let goal = sharers[0].frames()?;
    wait::until("the breaker is merged with the others", || {
        Ok((pagemap::frames(&pagemap::of(pid, addr, pages)?) == goal, ()))
    })?;
    prepare()?;
    worker.go(0)?;
    match advice {
        libc::MADV_HWPOISON => worker.killed_by(libc::SIGBUS),
        _ => worker.ended(),
    }
}

fn users_die(bench: &Bench) -> Outcome {
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    let other = Sharer::start(PAGES, |index| 0x6_0000 + index as u64)?;
    let frame = sharers[0].frames()?[BROKEN];
    break_page(&sharers, libc::MADV_HWPOISON)?;
    check!(
        pagemap::flags(frame)? & FLAG_HWPOISON != 0,
        "frame {frame} does not carry the HWPOISON flag"
    );
    for sharer in &mut sharers {
        sharer
            .touch(BROKEN + 1)
            .context("a good page next to the broken one")?;
    }
    bench.ksm.passes(2)?;
    let survivor = sharers.pop().expect("three were started");
    for sharer in sharers {
        sharer.dies_touching(BROKEN, libc::SIGBUS)?;
    }
    other
        .finish()
        .context("a process that does not use the page")?;
    // Who never touches the page lives on, and may replace it.
    let mut survivor = survivor;
    survivor.discard(BROKEN, 1)?;
    survivor.write(BROKEN, same(BROKEN))?;
    survivor.finish()
}

fn early_kill(bench: &Bench) -> Outcome {
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let mut early = Worker::start("early", |steps| {
        // The standard library's handler takes a SIGBUS that no access of ours caused for nothing, and returns.
        // SAFETY: the default action, in a process of its own.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        sys::prctl(EARLY_KILL.0, EARLY_KILL.1).context("PR_MCE_KILL")?;
        let region = Region::map(PAGES)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        // Touches nothing; the signal must come by itself.
        std::thread::sleep(wait::patience());
        crate::case::fail("no signal came")
    })?;
    let addr = early.arrived()? as usize;
    let goal = sharers[0].frames()?;
    wait::until("the process is merged", || {
        Ok((
            pagemap::frames(&pagemap::of(early.pid(), addr, PAGES)?) == goal,
            (),
        ))
    })?;
    early.go(0)?;
    break_page(&sharers, libc::MADV_HWPOISON)?;
    early.killed_by(libc::SIGBUS)?;
    sharers
        .into_iter()
        .try_for_each(|sharer| sharer.dies_touching(BROKEN, libc::SIGBUS))
}

fn soft_offline(bench: &Bench) -> Outcome {
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    let before = sharers[0].frames()?;
    break_page(&sharers, MADV_SOFT_OFFLINE)?;
    frames_become(&sharers, PAGES)?;
    let after = sharers[0].frames()?;
    check!(
        after[BROKEN] != before[BROKEN],
        "the page is still in the frame that went offline"
    );
    check!(
        pagemap::flags(before[BROKEN])? & FLAG_HWPOISON != 0,
        "the old frame is not out of use"
    );
    check_eq!(
        pagemap::count_flag(&after, FLAG_KSM)?,
        PAGES,
        "pages that are merged"
    );
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

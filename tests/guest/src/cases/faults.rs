// SPDX-License-Identifier: GPL-2.0

//! Memory runs out at the worst moment: of what the scanner, reclaim and faults may fail at, one after the other does.
//!
//! After each failure all is repeated without one, and must then come out as if nothing had been: a failure gives up a
//! page for a while, never more.

use super::common::{frames_become, same};
use super::faults_common::{in_order, prepare};
use super::starve::{self, REAPER};
use super::swapping::Crowd;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::inject::{each, Scope, Series, Victim};
use crate::ktap;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/scan_and_merge",
        "each allocation of the scanner's fails in turn while it registers, merges and merges again",
        scan,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/reap",
        "the thread that ends memberships allocates nothing",
        reap,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/push_out",
        "each allocation of reclaim's fails in turn while it pushes merged pages out",
        push_out,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/read_back",
        "each allocation of a page fault fails in turn that reads a merged page from swap",
        read_back,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/write_back",
        "each allocation of a page fault fails in turn that writes to a merged page in swap",
        write_back,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/by_chance",
        "one in ten allocations of swapksm's fails while processes merge, write and are reclaimed",
        by_chance,
    )
    .room(Room::Faults)
    .seconds(300),
];

/// The thread that scans.
const SCANNER: &str = "swapksmd";
/// Pages of a process: few, so that each failure can be tried.
const PAGES: usize = 6;
/// More failures than any of these cases should find.
const MOST: u32 = 600;

/// Pages of process `number`: the first two its own, one of them empty, the others equal in all.
fn mixed(number: usize) -> impl Fn(usize) -> u64 + Copy {
    move |index| match index {
        0 => 0x100 + number as u64,
        1 => 0,
        _ => same(index),
    }
}

/// Processes that the scanner has not seen yet.
fn newcomers() -> Outcome<Vec<Sharer>> {
    (0..3)
        .map(|number| Sharer::start(PAGES, mixed(number)))
        .collect()
}

fn scan(bench: &Bench) -> Outcome {
    let _injection = prepare(bench, Scope::Module)?;
    let scanner = Victim::thread(starve::find(SCANNER)?)?;
    each("scanning and merging", Series::new(30, MOST), |nth| {
        let mut sharers = newcomers()?;
        scanner.arm(nth)?;
        bench.ksm.start()?;
        // Three pages that nobody shares, and one frame for each of the others: the zero page is merged as any.
        frames_become(&sharers, 3 + PAGES - 1)?;
        bench.ksm.passes(1)?;
        let reached = scanner.disarm()?;
        bench.ksm.stop()?;
        sharer::verify(&mut sharers)?;
        in_order(bench)?;
        sharer::finish(sharers)?;
        Ok(reached)
    })
}

/// The thread needs no memory: of the failures armed for it none is used up, although it has run and done its work.
fn reap(bench: &Bench) -> Outcome {
    let _injection = prepare(bench, Scope::Module)?;
    let thread = starve::find(REAPER)?;
    let reaper = Victim::thread(thread)?;
    let mut sharers = newcomers()?;
    bench.ksm.start()?;
    frames_become(&sharers, 3 + PAGES - 1)?;
    bench.ksm.stop()?;
    bench.ksm.sync()?;
    let (ran, sharing) = (
        starve::run_time(thread)?,
        bench.ksm.number("pages_sharing")?,
    );
    reaper.arm(1)?;
    sharers[0].fork()?;
    sharers[0].write(2, 0x200)?;
    sharers[1].discard(3, 1)?;
    sharers[2].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    sharers[0].end_child()?;
    bench.ksm.sync()?;
    check!(
        !reaper.disarm()?,
        "the thread has tried to allocate memory; it works when there is none, too"
    );
    let (ran, left) = (
        starve::run_time(thread)? - ran,
        bench.ksm.number("pages_sharing")?,
    );
    ktap::tell(&format!(
        "the thread ran for {ran} ns; pages_sharing went from {sharing} to {left}"
    ));
    check!(ran > 0, "the thread has not run: nothing was tested");
    check!(
        left < sharing,
        "pages_sharing is {left} after it was {sharing}: the thread has ended no membership, so nothing was tested"
    );
    sharer::verify(&mut sharers)?;
    in_order(bench)?;
    sharer::finish(sharers)
}

fn push_out(bench: &Bench) -> Outcome {
    // Only what reclaim itself may fail at: whoever writes to the group's file gets its errors from elsewhere.
    let _injection = prepare(bench, Scope::Function("try_to_free_mem_cgroup_pages"))?;
    let this = Victim::this()?;
    each("reclaiming merged pages", Series::new(10, MOST), |nth| {
        let mut crowd = Crowd::merged(bench, 3, PAGES)?;
        this.arm(nth)?;
        let asked = crowd.group().reclaim(crowd.all() * PAGE);
        let reached = this.disarm()?;
        asked?;
        in_order(bench)?;
        crowd.push_out().context("once more")?;
        in_order(bench)?;
        crowd.verify()?;
        in_order(bench)?;
        crowd.finish()?;
        Ok(reached)
    })
}

fn read_back(bench: &Bench) -> Outcome {
    back(bench, "reading a merged page from swap", 3, |crowd, nth| {
        crowd.sharers[0].access_failing(PAGES - 1, None, nth)
    })
}

fn write_back(bench: &Bench) -> Outcome {
    back(
        bench,
        "writing to a merged page in swap",
        4,
        |crowd, nth| crowd.sharers[0].access_failing(PAGES - 1, Some(0x300), nth),
    )
}

/// A page fault of one process while all pages are out; `fault` tells whether the failure was reached.
fn back(
    bench: &Bench,
    what: &str,
    least: u32,
    mut fault: impl FnMut(&mut Crowd, u32) -> Outcome<bool>,
) -> Outcome {
    let _injection = prepare(bench, Scope::Task)?;
    each(what, Series::new(least, MOST), |nth| {
        let mut crowd = Crowd::merged(bench, 3, PAGES)?;
        crowd.push_out()?;
        // What is still in the swap cache need not be read.
        for _ in 0..3 {
            crowd.group().reclaim(crowd.all() * PAGE)?;
        }
        let reached = fault(&mut crowd, nth)?;
        in_order(bench)?;
        crowd.verify()?;
        in_order(bench)?;
        crowd.finish()?;
        Ok(reached)
    })
}

fn by_chance(bench: &Bench) -> Outcome {
    /// Rounds of all that the processes do.
    const ROUNDS: u64 = 12;
    let mut injection = prepare(bench, Scope::Module)?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    bench.ksm.start()?;
    let mut refused = 0;
    for round in 0..ROUNDS {
        for sharer in &mut crowd.sharers {
            sharer.fork()?;
        }
        let mut newcomer = Sharer::start_in(|| Region::map(4 * PAGES), false, same)?;
        for kind in ["failslab", "fail_page_alloc"] {
            injection.by_chance(kind, 10)?;
        }
        refused += usize::from(!mergeable(&mut newcomer)?);
        for (index, sharer) in crowd.sharers.iter_mut().enumerate() {
            sharer.write(index, 0x400 + round)?;
            refused += usize::from(!mergeable(sharer)?);
        }
        bench.ksm.passes(2)?;
        crowd.group().reclaim(PAGES * PAGE)?;
        crowd.verify().context(format!("round {round}"))?;
        // The self-check wants memory, too.
        injection.calm()?;
        newcomer.finish()?;
        for sharer in &mut crowd.sharers {
            sharer.end_child()?;
        }
        in_order(bench)?;
    }
    ktap::tell(&format!("{refused} times was MADV_MERGEABLE refused"));
    let last: Vec<Sharer> = (0..2)
        .map(|_| Sharer::start(PAGES, same))
        .collect::<Outcome<_>>()?;
    frames_become(&last, PAGES).context("when allocations work again")?;
    sharer::finish(last)?;
    crowd.finish()
}

/// Opens all pages of a process to merging; false if there was no memory for that.
fn mergeable(sharer: &mut Sharer) -> Outcome<bool> {
    match sharer.try_advise(0, sharer.pages(), libc::MADV_MERGEABLE)? {
        0 => Ok(true),
        libc::EAGAIN | libc::ENOMEM => Ok(false),
        errno => fail(format!(
            "MADV_MERGEABLE: {}",
            std::io::Error::from_raw_os_error(errno)
        )),
    }
}

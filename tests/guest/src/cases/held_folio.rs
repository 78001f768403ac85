// SPDX-License-Identifier: GPL-2.0

//! A merged page whose folio somebody keeps locked: nobody but who is about this page waits for him.

use super::common::{frames_become, joins, merged_crowd, same, self_check};
use super::takeover::Helper;
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::check_eq;
use crate::ksm::Ksm;
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::wait;
use crate::worker::Worker;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "abuse/held_folio",
        "who keeps a merged page locked keeps nobody else from being merged, neither when a sharer writes nor when one exits",
        held_folio,
    )
    .room(Room::Plain)
    .seconds(180),
    Case::new(
        "abuse/held_folio_left",
        "a process that has left a merged page which somebody keeps locked hands none of its numbers on to its children",
        left,
    )
    .room(Room::Plain)
    .seconds(180),
];

const PAGES: usize = 16;
const HELD: usize = 3;

/// The driver, and the folio that it keeps locked until this is dropped.
struct Held(Helper);

impl Held {
    fn take(frame: u64) -> Outcome<Held> {
        let held = Held(Helper::load(c"heldfolio", c"")?);
        held.0.set("frame", frame)?;
        Ok(held)
    }

    fn let_go(&self) -> Outcome {
        self.0.set("frame", 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.let_go();
    }
}

fn held_folio(bench: &Bench) -> Outcome {
    bench.only_ours("a scanner that waits for nobody who has locked a page")?;
    let mut sharers = merged_crowd(bench, 4, PAGES)?;
    let held = Held::take(sharers[0].frames()?[HELD])?;
    // Before anybody has written: nothing is to be done about the page yet.
    others_are_merged(0x1_0000).context("while the page is locked")?;
    sharers[0].write(HELD, 0x900)?;
    others_are_merged(0x2_0000).context("after a sharer has written to it")?;
    sharers.pop().expect("four were started").finish()?;
    others_are_merged(0x3_0000).context("after a sharer has exited")?;
    sharer::verify(&mut sharers)?;
    held.let_go()?;
    // Three have all pages but one, which two have.
    wait::until("those who have left the page are counted out", || {
        let counts = (Ksm.number("pages_shared")?, Ksm.number("pages_sharing")?);
        let pages = PAGES as i64;
        Ok((counts == (pages, 2 * pages - 1), counts))
    })?;
    frames_become(&sharers, PAGES + 1)?;
    self_check(&bench.ksm)?;
    sharer::finish(sharers)
}

fn left(bench: &Bench) -> Outcome {
    bench.only_ours("a scanner that waits for nobody who has locked a page")?;
    let mut others = merged_crowd(bench, 2, PAGES)?;
    let mut leaver = Worker::start("process that leaves", |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        region.unmergeable()?;
        steps.step(0)?;
        let mut child = Worker::start("its child", |steps| {
            let merging = procfs::ksm_merging_pages(std::process::id() as i32)?;
            steps.step(merging as u64).map(drop)
        })?;
        let inherited = child.arrived()?;
        child.finish()?;
        region.verify(same)?;
        steps.step(inherited).map(drop)
    })?;
    let addr = leaver.arrived()? as usize;
    let pid = leaver.pid();
    joins("the process is merged with the others", &others[0], || {
        pagemap::of(pid, addr, PAGES)
    })?;
    let held = Held::take(others[0].frames()?[HELD])?;
    leaver.step(0)?;
    // In one of them it is found to have nothing mergeable.
    bench.ksm.passes(3)?;
    check_eq!(
        leaver.step(0)?,
        0,
        "ksm_merging_pages of a child whose parent had left all"
    );
    held.let_go()?;
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64)
        .context("when the page is not locked any more")?;
    self_check(&bench.ksm)?;
    leaver.finish()?;
    sharer::verify(&mut others)?;
    sharer::finish(others)
}

/// Two newcomers are merged, and go.
fn others_are_merged(seed: u64) -> Outcome {
    let sharers = Sharer::crowd(2, PAGES, |index| same(index) + seed)?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

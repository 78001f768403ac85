// SPDX-License-Identifier: GPL-2.0

//! A page with the bytes of somebody else's that cannot be merged as long as its owner likes: the other one is left as it
//! is, not merged and copied again and again at the expense of his control group.

use super::common::{frames_become, joins, same, self_check};
use super::pins::Ring;
use super::uffd::Protection;
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::pagemap::{self, FLAG_HUGE};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{HUGE, PAGE};
use crate::worker::{Steps, Worker};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "abuse/watched_partner",
        "pages that userfaultfd watches do not have others' of the same bytes copied, nor their owner killed at his limit",
        watched,
    )
    .room(Room::Plain)
    .seconds(180),
    Case::new(
        "abuse/watched_huge_partner",
        "the same of a huge page, which stays whole",
        watched_huge,
    )
    .room(Room::Plain)
    .seconds(180),
    Case::new(
        "abuse/pinned_partner",
        "the same of pages that somebody has pinned",
        pinned,
    )
    .room(Room::Plain)
    .seconds(180),
];

/// More than a CPU has charged to a control group beforehand (64), twice.
const PAGES: usize = 256;

fn watched(bench: &Bench) -> Outcome {
    with_partner(bench, PAGES, |steps| {
        let region = Region::map(PAGES)?;
        show_watched(steps, &region).map(drop)
    })
}

fn watched_huge(bench: &Bench) -> Outcome {
    with_partner(bench, HUGE / PAGE, |steps| {
        let region = Region::map_huge(1)?;
        region.write(0, same(0));
        let is_huge = pagemap::flags(pagemap::frames(&region.pagemap()?)[0])? & FLAG_HUGE != 0;
        check!(is_huge, "no huge page was to be had");
        let _protection = show_watched(steps, &region)?;
        check_eq!(
            pagemap::count_flag(&pagemap::frames(&region.pagemap()?), FLAG_HUGE)?,
            region.pages(),
            "pages that are part of a huge one"
        );
        Ok(())
    })
}

/// Fills the region, has it watched, and opens it to merging. As long as what is returned exists it is watched.
fn show_watched(steps: &mut Steps, region: &Region) -> Outcome<Protection> {
    region.fill(same);
    let protection = Protection::new(region)?;
    protection.protect()?;
    show(steps, region)?;
    Ok(protection)
}

fn pinned(bench: &Bench) -> Outcome {
    with_partner(bench, PAGES, |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        let ring = Ring::new()?;
        ring.register(&region)?;
        show(steps, &region)?;
        drop(ring);
        Ok(())
    })
}

/// Opens the region to merging, and waits until the case has looked.
fn show(steps: &mut Steps, region: &Region) -> Outcome {
    region.mergeable()?;
    steps.step(0)?;
    region.verify(same)
}

/// Pages of its own, first as they are and then open to merging.
fn victim(steps: &mut Steps, pages: usize) -> Outcome {
    let region = Region::map(pages)?;
    region.fill(same);
    steps.step(region.addr() as u64)?;
    region.mergeable()?;
    steps.step(0)?;
    region.verify(same)
}

/// What happens in a group that has no memory left.
fn squeezes(group: &Group) -> Outcome<[i64; 3]> {
    let [max, oom, killed] = ["max", "oom", "oom_kill"].map(|key| group.event(key));
    Ok([max?, oom?, killed?])
}

/// A process that can be merged meets one that `partner` shows, which cannot.
fn with_partner(
    bench: &Bench,
    pages: usize,
    partner: impl FnOnce(&mut Steps) -> Outcome,
) -> Outcome {
    bench.only_ours("a scanner that asks first whether the other page can be merged")?;
    let mut partner = Worker::start("partner", partner)?;
    partner.arrived()?;
    bench.ksm.start()?;
    // Where whoever has the same bytes finds them.
    bench
        .ksm
        .counter_becomes("pages_unshared", pages as i64)
        .context("pages of the partner that wait for others")?;

    let group = Group::enter("lost-partner")?;
    group.set("memory.swap.max", 0)?;
    let mut victim = Worker::start("victim", |steps| victim(steps, pages))?;
    group.leave()?;
    let addr = victim.arrived()? as usize;
    let pid = victim.pid();
    let frames = || pagemap::of(pid, addr, pages).map(|entries| pagemap::frames(&entries));
    let before = frames()?;
    check_eq!(before.len(), pages, "pages of the victim in memory");
    victim.step(0)?;
    // Until what is kept for it is charged. From then on nothing is to be had, and it does nothing that would want something.
    bench.ksm.passes(2)?;
    group.close(group.number("memory.current")? / 2)?;
    let at_limit = squeezes(&group)?;
    bench.ksm.passes(8)?;
    check_eq!(
        squeezes(&group)?,
        at_limit,
        "max, oom and oom_kill of the group"
    );
    let after = frames()?;
    let moved = after.iter().zip(&before).filter(|(now, then)| now != then);
    check_eq!(
        moved.count(),
        0,
        "pages that lie in another frame than before"
    );

    let others = Sharer::crowd(2, pages, same)?;
    frames_become(&others, pages).context("others who come")?;
    // To ask whether there is room for a sharer counts as having come to the limit, where no CPU has some left.
    let [_, oom, killed] = squeezes(&group)?;
    check_eq!(
        [oom, killed],
        [at_limit[1], at_limit[2]],
        "oom and oom_kill of the group when others are merged"
    );
    group.set("memory.max", "max")?;
    joins("the victim is merged with them", &others[0], || {
        pagemap::of(pid, addr, pages)
    })?;
    self_check(&bench.ksm)?;
    partner.finish()?;
    victim.finish()?;
    sharer::finish(others)
}

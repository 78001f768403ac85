// SPDX-License-Identifier: GPL-2.0

//! Sharers in different control groups: whose memory a merged page is, and what the groups' limits and ends do to it.

use super::common::{frames_become, same};
use super::swapping;
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::ktap;
use crate::lru;
use crate::pagemap::{self, FLAG_KSM};
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/groups_charged",
        "a page merged across groups is charged to one of them, in memory, in swap and after it",
        charged,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/groups_limit",
        "the group that is charged is at its memory.max, or above its memory.high, while others read",
        limit,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/groups_removed",
        "the group that is charged is removed while others share; the pages go out and come back",
        removed,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/groups_cow",
        "who writes merged pages at its group's memory.max is killed, the other group's sharers are not",
        copy_at_limit,
    )
    .room(Room::Swap)
    .seconds(240),
];

/// Pages of each process: far more than a process has besides.
const PAGES: usize = 1024;
/// The same in bytes.
const SIZE: i64 = (PAGES * PAGE) as i64;

/// Two groups below a third; what merged pages there are is charged to the first.
struct Groups {
    owner: Group,
    other: Group,
    // Removed after those below it.
    parent: Group,
}

impl Groups {
    fn new() -> Outcome<Groups> {
        swapping::device()?;
        let parent = Group::make("groups")?;
        Ok(Groups {
            owner: parent.below("owner")?,
            other: parent.below("other")?,
            parent,
        })
    }

    /// Two processes of the first group, merged, then one of the second, merged with them.
    fn crowd(&self, bench: &Bench) -> Outcome<Vec<Sharer>> {
        self.owner.join()?;
        let mut sharers = Sharer::crowd(2, PAGES, same)?;
        bench.ksm.start()?;
        frames_become(&sharers, PAGES).context("two processes of a group")?;
        self.other.join()?;
        sharers.push(Sharer::start(PAGES, same)?);
        self.other.leave()?;
        frames_become(&sharers, PAGES).context("with one of another group")?;
        bench.ksm.stop()?;
        check_eq!(
            charged_to(&self.owner, &sharers)?,
            PAGES,
            "merged pages that are charged to the group whose pages came first"
        );
        Ok(sharers)
    }

    /// Pushes all pages of all `sharers` out.
    fn push_out(&self, sharers: &[Sharer]) -> Outcome {
        let all = sharers.len() * PAGES;
        wait::until(&format!("{all} pages are swapped out"), || {
            self.parent.reclaim(PAGES * PAGE)?;
            let out = sharer::swapped(sharers)?;
            Ok((out == all, out))
        })
    }

    /// The groups' own numbers follow: the first has the pages, the second next to nothing.
    fn owner_has(&self, file: &str, number: impl Fn(&Group) -> Outcome<i64>) -> Outcome {
        wait::until(
            &format!("{file}: the pages are the first group's alone"),
            || {
                let (owner, other) = (number(&self.owner)?, number(&self.other)?);
                // The kernel counts by the batch.
                let right = (SIZE * 3 / 4..SIZE * 2).contains(&owner) && other < SIZE / 2;
                Ok((right, format!("{owner} and {other} bytes")))
            },
        )
    }

    /// Nobody has been killed for want of memory.
    fn nobody_killed(&self) -> Outcome {
        check_eq!(
            self.parent.event("oom_kill")?,
            0,
            "processes that the OOM killer took"
        );
        Ok(())
    }
}

/// How many different frames of `sharers` are charged to `group`.
fn charged_to(group: &Group, sharers: &[Sharer]) -> Outcome<usize> {
    let inode = group.inode()?;
    let mut count = 0;
    for &frame in pagemap::sharers(&sharer::frames(sharers)?).keys() {
        count += usize::from(pagemap::group(frame)? == inode);
    }
    Ok(count)
}

/// All is right and where it is in memory still shared.
fn all_is_right(bench: &Bench, sharers: &mut [Sharer]) -> Outcome {
    sharer::verify(sharers)?;
    if !bench.ours() {
        return Ok(());
    }
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    let sharing = (sharers.len() - 1) * PAGES;
    bench.ksm.counter_becomes("pages_sharing", sharing as i64)?;
    let frames = sharer::frames(sharers)?;
    check!(
        pagemap::distinct(&frames) <= PAGES,
        "{} pages lie in {} frames, at most {PAGES} when merged",
        frames.len(),
        pagemap::distinct(&frames)
    );
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        frames.len(),
        "pages that are merged ones"
    );
    Ok(())
}

fn charged(bench: &Bench) -> Outcome {
    let groups = Groups::new()?;
    let mut sharers = groups.crowd(bench)?;
    groups.owner_has("memory.stat", Group::anon)?;
    groups.owner_has("memory.current", |group| group.number("memory.current"))?;
    groups.push_out(&sharers)?;
    groups.owner_has("memory.swap.current", |group| {
        group.number("memory.swap.current")
    })?;
    // Who reads first is no member of the group that is charged.
    sharers.reverse();
    all_is_right(bench, &mut sharers)?;
    let (owner, other) = (
        charged_to(&groups.owner, &sharers)?,
        charged_to(&groups.other, &sharers)?,
    );
    ktap::tell(&format!(
        "after swap {owner} pages are charged to the first group, {other} to that of who read first"
    ));
    if bench.ours() {
        check_eq!((owner, other), (PAGES, 0), "pages charged to each group");
        groups.owner_has("memory.stat, after swap", Group::anon)?;
    }
    groups.nobody_killed()?;
    sharer::finish(sharers)
}

fn limit(bench: &Bench) -> Outcome {
    if lru::is_classic() {
        // They move pages from one list to the other by counts that may be two seconds old. So it is with the kernel's own
        // KSM, too: killed in three runs of four.
        return skip("the classic lists give up a group whose pages have all been used lately");
    }
    let groups = Groups::new()?;
    if swapping::zswap() {
        return skip("what zswap holds is charged to the group already");
    }
    let mut sharers = groups.crowd(bench)?;
    for (file, event) in [("memory.max", "max"), ("memory.high", "high")] {
        let limit = groups.owner.number("memory.current")? - SIZE / 2;
        // A limit below what there is may take effect by killing.
        wait::until("there is less than the limit", || {
            groups.owner.reclaim(PAGES * PAGE / 2)?;
            let now = groups.owner.number("memory.current")?;
            Ok((now < limit, now))
        })?;
        groups.owner.set(file, limit)?;
        let before = groups.owner.event(event)?;
        for round in 0..3 {
            // Each in turn is the first to read.
            sharers.rotate_left(1);
            all_is_right(bench, &mut sharers).context(format!("{file}, round {round}"))?;
            let now = groups.owner.number("memory.current")?;
            check!(
                file != "memory.max" || now <= limit,
                "{now} bytes are charged to a group that may have {limit}"
            );
        }
        let times = groups.owner.event(event)? - before;
        check!(times > 0, "{file} of {limit} was never reached");
        ktap::tell(&format!(
            "{file} was reached {times} times, {} of {} pages are out",
            sharer::swapped(&sharers)?,
            sharers.len() * PAGES
        ));
        groups.owner.set(file, "max")?;
        all_is_right(bench, &mut sharers).context(format!("{file} lifted"))?;
    }
    groups.nobody_killed()?;
    sharer::finish(sharers)
}

fn removed(bench: &Bench) -> Outcome {
    let groups = Groups::new()?;
    let mut members = groups.crowd(bench)?;
    let mut sharers = members.split_off(2);
    sharer::finish(members)?;
    let frames = sharer::frames(&sharers)?;
    groups.owner.remove()?;
    sharer::verify(&mut sharers)?;
    check_eq!(
        sharer::frames(&sharers)?,
        frames,
        "frames after the group is gone"
    );
    // A newcomer shares what was the group's.
    groups.other.join()?;
    sharers.push(Sharer::start(PAGES, same)?);
    groups.other.leave()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES).context("with one more process")?;
    bench.ksm.stop()?;
    for round in 0..2 {
        groups.push_out(&sharers)?;
        sharers.rotate_left(1);
        all_is_right(bench, &mut sharers).context(format!("round {round}"))?;
    }
    let below = charged_to(&groups.other, &sharers)?;
    let above = charged_to(&groups.parent, &sharers)?;
    ktap::tell(&format!(
        "{below} pages are charged to the group that is left, {above} to the one above"
    ));
    check_eq!(
        below + above,
        pagemap::distinct(&sharer::frames(&sharers)?),
        "pages that are charged to a group that is there"
    );
    groups.nobody_killed()?;
    sharer::finish(sharers)?;
    wait::until("nothing keeps the removed group", || {
        let dying = groups.parent.descendants("nr_dying_descendants")?;
        Ok((dying == 0, dying))
    })
}

fn copy_at_limit(bench: &Bench) -> Outcome {
    /// Room for some copies, in pages.
    const ROOM: i64 = 128;
    let groups = Groups::new()?;
    let mut sharers = groups.crowd(bench)?;
    let writer = sharers.pop().expect("three sharers");
    let frames = sharer::frames(&sharers)?;
    let limit = groups.other.number("memory.current")? + ROOM * PAGE as i64;
    groups.other.set("memory.swap.max", 0)?;
    groups.other.set("memory.max", limit)?;
    writer.dies_writing(0x6600_0000, libc::SIGKILL)?;
    check_eq!(
        (
            groups.other.event("oom_kill")?,
            groups.owner.event("oom_kill")?
        ),
        (1, 0),
        "processes that the OOM killer took, in the writer's group and in the other"
    );
    check_eq!(
        sharer::frames(&sharers)?,
        frames,
        "frames of the other group's processes"
    );
    all_is_right(bench, &mut sharers)?;
    sharer::finish(sharers)
}

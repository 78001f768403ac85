// SPDX-License-Identifier: GPL-2.0

//! Too little swap, and too little memory to come back from it.

use super::common::{merged_crowd, same};
use super::small_swap::{Area, SmallSwap};
use super::swapping::{self, Crowd};
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::check;
use crate::content::Random;
use crate::pagemap::{self, FLAG_KSM};
use crate::procfs;
use crate::sharer::{self, Sharer};
use crate::sys::{self, Ended, PAGE};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "swap/group_limit",
        "memory.swap.max lets only a part of the merged pages out",
        group_limit,
    )
    .room(Room::Swap),
    Case::new(
        "swap/device_full",
        "the swap device fills up while merged pages go out",
        device_full,
    )
    .room(Room::Swap),
    Case::new(
        "swap/slots_reused",
        "few slots go from hand to hand: merged, private, equal and other pages",
        slots_reused,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/swapoff_too_much",
        "swapoff of more than fits fails, and nothing is lost",
        swapoff_too_much,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "swap/proactive",
        "a reclaimer that never rests, while the processes read and write",
        proactive,
    )
    .room(Room::Swap)
    .seconds(240),
];

const PAGES: usize = 256;

/// Contents and numbers, wherever the pages are.
fn all_is_right(bench: &Bench, crowd: &mut Crowd) -> Outcome {
    crowd.verify()?;
    if !bench.ours() {
        return Ok(());
    }
    let count = crowd.sharers.len();
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", ((count - 1) * PAGES) as i64)?;
    let frames = sharer::frames(&crowd.sharers)?;
    check!(
        pagemap::distinct(&frames) == PAGES,
        "{} pages lie in {} frames, {PAGES} when merged",
        frames.len(),
        pagemap::distinct(&frames)
    );
    Ok(())
}

/// Asks for everything to be reclaimed, some times. The first time something must go: the kernel does not begin to swap
/// when there are less than 64 slots.
fn some_out(crowd: &Crowd, first: bool) -> Outcome<usize> {
    wait::until("some pages are out", || {
        crowd.group().reclaim(PAGES * PAGE)?;
        let out = sharer::swapped(&crowd.sharers)?;
        Ok((out > 0 || !first, out))
    })?;
    for _ in 0..5 {
        crowd.group().reclaim(PAGES * PAGE)?;
    }
    sharer::swapped(&crowd.sharers)
}

/// Slots that may be used, a part of what is needed.
const FEW: usize = 160;

fn group_limit(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    crowd.group().set("memory.swap.max", FEW * PAGE)?;
    for round in 0..3 {
        let out = some_out(&crowd, round == 0)?;
        check!(out <= FEW * 4, "{out} pages are out of {FEW} slots");
        let used = crowd.group().number("memory.swap.current")?;
        check!(
            used <= (FEW * PAGE) as i64,
            "{used} bytes in swap, {} allowed",
            FEW * PAGE
        );
        all_is_right(bench, &mut crowd).context(format!("round {round}"))?;
    }
    crowd.group().set("memory.swap.max", 0)?;
    some_out(&crowd, false)?;
    all_is_right(bench, &mut crowd).context("without any swap allowed")?;
    crowd.group().set("memory.swap.max", "max")?;
    crowd.push_out()?;
    all_is_right(bench, &mut crowd).context("with swap allowed again")?;
    crowd.finish()
}

fn device_full(bench: &Bench) -> Outcome {
    let mut small = SmallSwap::take(FEW)?;
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    for round in 0..4 {
        let out = some_out(&crowd, round == 0)?;
        check!(out <= FEW * 4, "{out} pages are out in {FEW} slots");
        all_is_right(bench, &mut crowd).context(format!("round {round}"))?;
    }
    some_out(&crowd, false)?;
    small.area().off()?;
    all_is_right(bench, &mut crowd).context("after swapoff")?;
    crowd.finish()
}

/// What the slots hold changes hands all the time: by discarding, writing, forking, reading, and by pages of a process
/// that has nothing to do with merging but has equal content.
fn slots_reused(bench: &Bench) -> Outcome {
    const SLOTS: usize = 160;
    let _small = SmallSwap::take(SLOTS)?;
    let group = Group::enter("slots")?;
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    sharers.push(Sharer::start_in(
        || crate::region::Region::map(PAGES),
        false,
        same,
    )?);
    bench.ksm.set("sleep_millisecs", 1)?;
    let mut random = Random::new(bench.seed);
    let before = procfs::pages_out()?;
    for step in 0..400 {
        let who = random.below(sharers.len() as u64) as usize;
        let at = random.below(PAGES as u64) as usize;
        let count = (1 + random.below(24) as usize).min(PAGES - at);
        let sharer = &mut sharers[who];
        let done = match random.below(10) {
            0 | 1 => group.reclaim((1 + random.below(64) as usize) * PAGE),
            2 | 3 => sharer.advise(at, count, libc::MADV_PAGEOUT),
            4 => sharer.discard(at, count),
            // Equal to what the others have, or to nobody's.
            5 | 6 => (at..at + count).try_for_each(|index| sharer.write(index, same(index))),
            7 => sharer.write(at, 0x9000 + random.below(4)),
            8 => sharer.verify(),
            _ => sharer
                .fork()
                .and_then(|_| sharer.write(at, same(at)))
                .and_then(|()| group.reclaim(32 * PAGE))
                .and_then(|()| sharer.end_child()),
        };
        done.context(format!("step {step} of seed {}", bench.seed))?;
    }
    let out = procfs::pages_out()? - before;
    check!(
        out > SLOTS as i64,
        "{out} pages went out to {SLOTS} slots: none need have been reused"
    );
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

fn swapoff_too_much(bench: &Bench) -> Outcome {
    const MANY: usize = 4096;
    let mut area = Area::new(&swapping::device()?, true);
    if swapping::zswap() {
        return skip("what zswap holds is charged to the group already");
    }
    let group = Group::enter("too-much")?;
    let mut sharers = merged_crowd(bench, 3, 512)?;
    let private = 0x4000_0000;
    sharers.push(Sharer::start_in(
        || crate::region::Region::map(MANY),
        false,
        |index| private + index as u64,
    )?);
    bench.ksm.stop()?;
    wait::until("most is out", || {
        group.reclaim(MANY * PAGE)?;
        let out = sharer::swapped(&sharers)?;
        Ok((out > MANY, out))
    })?;
    // Room for the merged pages, and for a part of the others.
    let limit = group.number("memory.current")? as usize + MANY / 3 * PAGE;
    group.set("memory.max", limit)?;
    // Whoever asks for too much memory in the group may be killed for it: this is not to be us.
    let child = sys::fork().context("fork")?.unwrap_or_else(|| {
        let _ = fs_write_oom_score();
        let failed = area.try_off().is_err();
        sys::exit(i32::from(failed))
    });
    let ended = sys::waitpid(child, false).context("waitpid")?;
    group.set("memory.max", "max")?;
    match ended {
        Some((_, Ended::Code(1) | Ended::Signal(libc::SIGKILL))) => (),
        Some((_, Ended::Code(0))) => {
            area.on()?;
            return fail("swapoff went well although there was no memory for what was in swap");
        }
        other => return fail(format!("swapoff ended with {other:?}")),
    }
    let (slots, _) = area
        .slots()
        .context("swap is no longer on after swapoff failed")?;
    check!(slots > 0, "the swap device has no slots");
    sharer::verify(&mut sharers).context("after swapoff failed")?;
    group.reclaim(MANY * PAGE)?;
    area.off().context("with memory enough")?;
    let out = sharer::swapped(&sharers);
    area.on()?;
    check!(out? == 0, "pages are out after swapoff");
    for index in 0..512 {
        sharers[index % 3].write(index, 0x4400 + index as u64)?;
    }
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

/// Makes the calling process the first to be killed when its group runs out of memory.
fn fs_write_oom_score() -> std::io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "1000")
}

fn proactive(bench: &Bench) -> Outcome {
    let mut crowd = Crowd::merged(bench, 4, PAGES)?;
    let mut random = Random::new(bench.seed);
    let copies = crate::procfs::vmstat("ksm_swpin_copy")?;
    for round in 0..40u64 {
        crowd.group().reclaim(48 * PAGE)?;
        let reader = &mut crowd.sharers[round as usize % 4];
        if round % 8 == 5 {
            let at = random.below(PAGES as u64 - 16) as usize;
            reader.advise(at, 16, libc::MADV_COLD)?;
        }
        reader.touch_every(random.below(8) as usize, 8)?;
        if round % 10 == 9 {
            all_is_right(bench, &mut crowd).context(format!("round {round}"))?;
        }
    }
    if bench.ours() {
        let copied = crate::procfs::vmstat("ksm_swpin_copy")? - copies;
        check!(copied == 0, "ksm_swpin_copy moved by {copied}");
        let frames = sharer::frames(&crowd.sharers)?;
        let merged = pagemap::count_flag(&frames, FLAG_KSM)?;
        check!(
            merged == frames.len(),
            "{merged} of {} pages are merged",
            frames.len()
        );
    }
    crowd.finish()
}

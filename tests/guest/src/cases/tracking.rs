// SPDX-License-Identifier: GPL-2.0

//! What others learn of merged pages: locked, dirty, idle.

use std::fs;
use std::os::unix::fs::FileExt;

use super::common::{joins, merged_crowd, same};
use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::cgroup::Group;
use crate::pagemap::{self, FLAG_KSM, FLAG_MLOCKED};
use crate::region::Region;
use crate::sharer;
use crate::sys;
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "tracking/mlock",
        "locked pages are merged, stay in memory and unlock",
        mlock,
    )
    .room(crate::case::Room::Swap),
    Case::new(
        "tracking/soft_dirty",
        "a write to a merged page makes it soft-dirty, merging does not",
        soft_dirty,
    ),
    Case::new(
        "tracking/idle",
        "page idle tracking sees accesses through any mapping of a merged page",
        idle,
    ),
];

const PAGES: usize = 64;

fn mlock(bench: &Bench) -> Outcome {
    super::swapping::device()?;
    let group = Group::enter("mlock")?;
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    // SAFETY: our own region.
    sys::check(unsafe { libc::mlock(region.addr() as *const _, region.len()) }.into())
        .context("mlock")?;
    region.mergeable()?;
    joins("the locked region is merged", &sharers[0], || {
        region.pagemap()
    })?;
    let frames = pagemap::frames(&region.pagemap()?);
    bench.ksm.stop()?;
    for _ in 0..3 {
        group.reclaim(4 * PAGES * sys::PAGE)?;
    }
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        frames,
        "frames of the locked region after reclaim"
    );
    region.write(1, 0x77);
    region.verify(|index| if index == 1 { 0x77 } else { same(index) })?;
    // SAFETY: our own region.
    sys::check(unsafe { libc::munlock(region.addr() as *const _, region.len()) }.into())
        .context("munlock")?;
    wait::until("the kernel has unlocked every page", || {
        let locked = pagemap::count_flag(&pagemap::frames(&region.pagemap()?), FLAG_MLOCKED)?;
        Ok((locked == 0, locked))
    })?;
    wait::until("the unlocked pages go to swap", || {
        group.reclaim(4 * PAGES * sys::PAGE)?;
        let out = region
            .pagemap()?
            .iter()
            .filter(|entry| entry.swapped())
            .count();
        Ok((out == PAGES, out))
    })?;
    region.verify(|index| if index == 1 { 0x77 } else { same(index) })?;
    sharer::finish(sharers)
}

fn soft_dirty(bench: &Bench) -> Outcome {
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    if !region.pagemap()?[0].soft_dirty() {
        return skip("this kernel does not track soft-dirty pages");
    }
    let dirty = || {
        Ok::<_, crate::case::Stop>(
            region
                .pagemap()?
                .iter()
                .map(|entry| entry.soft_dirty())
                .collect::<Vec<_>>(),
        )
    };
    region.mergeable()?;
    // A change of the mapping's flags counts as soft-dirty; begin anew.
    fs::write("/proc/self/clear_refs", "4").context("clear_refs")?;
    joins("the region is merged", &sharers[0], || region.pagemap())?;
    for index in (0..PAGES).step_by(2) {
        region.poke(index, 9, 9);
    }
    let now = dirty()?;
    for (index, dirty) in now.iter().enumerate() {
        check!(
            index % 2 == 1 || *dirty,
            "page {index} was written and is not soft-dirty"
        );
    }
    sharer::finish(sharers)
}

fn idle(bench: &Bench) -> Outcome {
    let path = "/sys/kernel/mm/page_idle/bitmap";
    let Ok(bitmap) = fs::OpenOptions::new().read(true).write(true).open(path) else {
        return skip("this kernel has no idle page tracking");
    };
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    bench.ksm.stop()?;
    let frames = sharers[0].frames()?;
    let is_idle = |frame: u64| -> Outcome<bool> {
        let mut word = [0; 8];
        bitmap
            .read_exact_at(&mut word, frame / 64 * 8)
            .context(path)?;
        Ok(u64::from_ne_bytes(word) >> (frame % 64) & 1 == 1)
    };
    for &frame in &frames {
        bitmap
            .write_all_at(&(1u64 << (frame % 64)).to_ne_bytes(), frame / 64 * 8)
            .context(path)?;
    }
    for &frame in &frames {
        check!(
            is_idle(frame)?,
            "frame {frame} is not idle right after it was marked"
        );
    }
    for index in 0..PAGES / 2 {
        sharers[2].touch(index)?;
    }
    for (index, &frame) in frames.iter().enumerate() {
        check_eq!(is_idle(frame)?, index >= PAGES / 2, "page {index} is idle");
    }
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        PAGES,
        "pages that are merged"
    );
    sharer::finish(sharers)
}

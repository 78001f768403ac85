// SPDX-License-Identifier: GPL-2.0

//! `prctl(PR_SET_MEMORY_MERGE)`.

use super::common::same;
use crate::case::{Bench, Case, Context, Outcome};
use crate::pagemap;
use crate::region::Region;
use crate::sharer;
use crate::sys;
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "prctl/get_set",
        "PR_SET_MEMORY_MERGE is read back and bad arguments are refused",
        get_set,
    ),
    Case::new(
        "prctl/merges",
        "a process that asked is merged without madvise, old and new mappings",
        merges,
    ),
    Case::new(
        "prctl/off_unmerges",
        "switching it off gives the process its own pages",
        off,
    ),
    Case::new(
        "prctl/fork_inherits",
        "a forked child is merged in what it maps",
        fork_inherits,
    ),
];

/// `PR_SET_MEMORY_MERGE`
const SET: i32 = 67;
/// `PR_GET_MEMORY_MERGE`
const GET: i32 = 68;

/// Switches merging of the calling process on or off.
pub fn merge_any(on: bool) -> Outcome {
    sys::prctl(SET, [on.into(), 0, 0, 0])
        .context("PR_SET_MEMORY_MERGE")
        .map(drop)
}

/// Whether merging of the calling process is on.
pub fn is_on() -> Outcome<bool> {
    Ok(sys::prctl(GET, [0; 4]).context("PR_GET_MEMORY_MERGE")? == 1)
}

/// Waits until the calling process's `region` lies in one frame for each of `contents` contents.
fn merged_within(region: &Region, contents: usize) -> Outcome {
    wait::until("the region is merged", || {
        let distinct = pagemap::distinct(&pagemap::frames(&region.pagemap()?));
        Ok((distinct == contents, distinct))
    })
}

fn get_set(_: &Bench) -> Outcome {
    check_eq!(is_on()?, false, "at first");
    merge_any(true)?;
    check_eq!(is_on()?, true, "after setting 1");
    merge_any(true)?;
    merge_any(false)?;
    check_eq!(is_on()?, false, "after setting 0");
    merge_any(false)?;
    for (option, arguments) in [
        (SET, [1, 1, 0, 0]),
        (SET, [1, 0, 0, 1]),
        (GET, [1, 0, 0, 0]),
        (GET, [0, 1, 0, 0]),
    ] {
        let refused = sys::prctl(option, arguments)
            .err()
            .and_then(|error| error.raw_os_error());
        check_eq!(
            refused,
            Some(libc::EINVAL),
            "prctl({option}, {arguments:?})"
        );
    }
    Ok(())
}

fn merges(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let old = Region::map(PAGES)?;
    old.fill(|index| 1 + index as u64 % 2);
    merge_any(true)?;
    let new = Region::map(PAGES)?;
    new.fill(|index| 3 + index as u64 % 2);
    bench.ksm.start()?;
    merged_within(&old, 2)?;
    merged_within(&new, 2)?;
    old.verify(|index| 1 + index as u64 % 2)?;
    new.verify(|index| 3 + index as u64 % 2)
}

fn off(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    // Somebody else keeps the scanner going.
    let others = super::common::merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(|_| 5);
    merge_any(true)?;
    bench.ksm.start()?;
    merged_within(&region, 1)?;
    merge_any(false)?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(
        pagemap::distinct(&frames),
        PAGES,
        "frames right after switching off"
    );
    bench.ksm.passes(2)?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        frames,
        "frames two passes later"
    );
    region.verify(|_| 5)?;
    sharer::finish(others)
}

fn fork_inherits(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let sharers = super::common::merged_crowd(bench, 2, PAGES)?;
    merge_any(true)?;
    let mut child = Worker::start("child", |steps| {
        check!(is_on()?, "PR_GET_MEMORY_MERGE is 0 in the child");
        let region = Region::map(PAGES)?;
        region.fill(same);
        steps.step(region.addr() as u64)?;
        region.verify(same)?;
        merge_any(false)
    })?;
    let addr = child.arrived()? as usize;
    let pid = child.pid();
    let goal = sharers[0].frames()?;
    wait::until("the child's pages are merged with the others'", || {
        Ok((pagemap::frames(&pagemap::of(pid, addr, PAGES)?) == goal, ()))
    })?;
    child.finish()?;
    check!(is_on()?, "the child switched it off for its parent");
    sharer::finish(sharers)
}

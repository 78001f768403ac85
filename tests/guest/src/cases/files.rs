// SPDX-License-Identifier: GPL-2.0

//! Private mappings of files: what was written to them is merged like anonymous memory, though the kernel counts its pages
//! from the file's start, and the file can take it away.

use std::fs::File;

use super::common::{frames_become, same};
use super::swapping::Crowd;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check_eq;
use crate::memfd;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "files/private",
        "what was written to private mappings of a file is merged; what was not, and the file, stay",
        private,
    ),
    Case::new(
        "files/truncated",
        "a file that is cut off takes merged pages with it, from those who map it alone",
        truncated,
    ),
    Case::new(
        "files/swapped",
        "merged pages of private mappings of files go to swap and come back merged",
        swapped,
    )
    .room(Room::Swap),
];

const PAGES: usize = 128;

/// Pages of the file before those that are mapped, by each in turn; one maps no file.
const FIRST: [Option<usize>; 3] = [Some(3), None, Some(70)];

/// Longest that any maps.
const WHOLE: usize = 70 + PAGES;

/// What the file has.
fn of_file(index: usize) -> u64 {
    0x6600 + index as u64
}

fn file() -> Outcome<File> {
    memfd::filled("swapksm", WHOLE, of_file)
}

/// Processes of the same content, merged: each maps as [`FIRST`] says.
fn merged(bench: &Bench, file: &File) -> Outcome<Vec<Sharer>> {
    let map = |first| match first {
        Some(first) => Region::map_file(file, first, PAGES),
        None => Region::map(PAGES),
    };
    let sharers = FIRST
        .iter()
        .map(|first| Sharer::start_in(|| map(*first), true, same))
        .collect::<Outcome<Vec<_>>>()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    Ok(sharers)
}

/// The file has what it had.
fn unchanged(file: &File) -> Outcome {
    Region::map_file(file, 0, WHOLE)?.verify(of_file)
}

fn private(bench: &Bench) -> Outcome {
    let file = file()?;
    let mut sharers = merged(bench, &file)?;
    unchanged(&file)?;
    // Pages of the file's own, which one has written a part of, and another one maps, too.
    let region = Region::map_file(&file, 0, PAGES)?;
    region.mergeable()?;
    let half = |index| {
        if index < PAGES / 2 {
            same(index)
        } else {
            of_file(index)
        }
    };
    for index in 0..PAGES / 2 {
        region.write(index, same(index));
    }
    region.verify(half)?;
    let frames = sharers[0].frames()?;
    wait::until("what was written is merged", || {
        let own = pagemap::frames(&region.pagemap()?);
        Ok((own[..PAGES / 2] == frames[..PAGES / 2], ()))
    })?;
    bench.ksm.passes(2)?;
    let own = pagemap::frames(&region.pagemap()?);
    check_eq!(
        pagemap::count_flag(&own[PAGES / 2..], FLAG_KSM)?,
        0,
        "merged pages of the file"
    );
    region.verify(half)?;
    // What is discarded is the file's again, what is written one's own.
    region
        .advise(libc::MADV_DONTNEED)
        .context("MADV_DONTNEED")?;
    region.verify(of_file)?;
    sharers[0].write(0, 0x7700)?;
    sharer::verify(&mut sharers)?;
    sharers[2].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    let entries = sharers[2].frames()?;
    check_eq!(
        pagemap::count_flag(&entries, FLAG_KSM)?,
        0,
        "merged pages after MADV_UNMERGEABLE"
    );
    sharer::verify(&mut sharers)?;
    unchanged(&file)?;
    sharer::finish(sharers)
}

fn truncated(bench: &Bench) -> Outcome {
    let file = file()?;
    let mut sharers = merged(bench, &file)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    // The last half of what the third maps goes; the first has all of its own below that.
    let left = 70 + PAGES / 2;
    let truncate = |pages: usize| file.set_len((pages * PAGE) as u64).context("ftruncate");
    truncate(left)?;
    let frames = sharers[2].frames()?;
    check_eq!(frames.len(), PAGES / 2, "pages that are left");
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64 / 2)?;
    let cut_off = sharers.pop();
    sharer::verify(&mut sharers)?;
    // Reading where the file ends: SIGBUS.
    match cut_off {
        Some(sharer) => sharer.dies_touching(PAGES - 1, libc::SIGBUS)?,
        None => return fail("no process"),
    }
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    // All that is left of the first, and what a longer file has at the same place.
    truncate(3)?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    truncate(WHOLE)?;
    let region = Region::map_file(&file, 3, PAGES)?;
    region.verify(|_| 0)?;
    sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    sharers[1].verify()?;
    drop(sharers.remove(0));
    sharer::finish(sharers)
}

fn swapped(bench: &Bench) -> Outcome {
    let file = file()?;
    let mut crowd = Crowd::around(bench, PAGES, || merged(bench, &file))?;
    crowd.push_out()?;
    crowd.verify()?;
    if bench.ours() {
        frames_become(&crowd.sharers, PAGES)?;
    }
    crowd.push_out()?;
    // What is cut off leaves the others what they have in swap.
    let left = 3 + PAGES;
    file.set_len((left * PAGE) as u64).context("ftruncate")?;
    check_eq!(
        sharer::swapped(&crowd.sharers[2..])?,
        left - 70,
        "swap entries of the one who has lost some"
    );
    sharer::verify(&mut crowd.sharers[..2])?;
    if bench.ours() {
        frames_become(&crowd.sharers[..2], PAGES)?;
    }
    drop(crowd.sharers.pop());
    crowd.finish()
}

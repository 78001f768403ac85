// SPDX-License-Identifier: GPL-2.0

//! Unmapping, moving and discarding merged pages.

use super::common::same;
use crate::case::{Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::{self, Region};
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "mapping/munmap",
        "munmap of merged pages returns them and the counters",
        munmap,
    ),
    Case::new(
        "mapping/munmap_part",
        "munmap of every other merged page",
        munmap_part,
    ),
    Case::new(
        "mapping/mremap",
        "mremap keeps merged pages and their content",
        mremap,
    ),
    Case::new(
        "mapping/mremap_grow",
        "mremap to a larger range keeps the content",
        mremap_grow,
    ),
    Case::new(
        "mapping/dontneed",
        "MADV_DONTNEED on merged pages gives zeroes, others keep theirs",
        dontneed,
    ),
    Case::new(
        "mapping/free",
        "MADV_FREE on merged pages never takes others' content",
        free,
    ),
    Case::new("mapping/map_over", "mmap over merged pages", map_over),
    Case::new(
        "mapping/mprotect",
        "read-only and forbidden merged pages keep their content",
        mprotect,
    ),
    Case::new(
        "mapping/process_ends",
        "the counters return when processes exit or are killed",
        process_ends,
    ),
];

const PAGES: usize = 128;

/// A process of others and a region of ours, merged with each other.
fn merged_with_other(bench: &Bench) -> Outcome<(Sharer, Region)> {
    let sharer = Sharer::start(PAGES, same)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    bench.ksm.start()?;
    wait::until("our region is merged with the other process's", || {
        Ok((pagemap::frames(&region.pagemap()?) == sharer.frames()?, ()))
    })?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    Ok((sharer, region))
}

fn munmap(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    drop(region);
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    sharer.finish()?;
    bench.ksm.counter_becomes("pages_shared", 0)
}

fn munmap_part(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    let addr = region.release();
    for index in (0..PAGES).step_by(2) {
        region::unmap(addr + index * PAGE, PAGE)?;
    }
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64 / 2)?;
    for index in (1..PAGES).step_by(2) {
        Region::adopt(addr + index * PAGE, 1).verify_page(0, same(index))?;
    }
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    sharer.finish()
}

fn mremap(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    bench.ksm.stop()?;
    let moved = region.move_away(PAGES)?;
    moved.verify(same)?;
    moved.write(3, 0x6600);
    moved.verify(|index| if index == 3 { 0x6600 } else { same(index) })?;
    // The move may have undone the merge, but the mapping is as mergeable as it was.
    bench.ksm.start()?;
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64 - 1)?;
    wait::until("all other pages are merged at the new place", || {
        let (ours, theirs) = (pagemap::frames(&moved.pagemap()?), sharer.frames()?);
        let equal = ours
            .iter()
            .zip(&theirs)
            .filter(|(ours, theirs)| ours == theirs)
            .count();
        Ok((equal == PAGES - 1, equal))
    })?;
    moved.verify(|index| if index == 3 { 0x6600 } else { same(index) })?;
    drop(moved);
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    sharer.finish()
}

fn mremap_grow(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    let moved = region.move_away(2 * PAGES)?;
    for index in PAGES..2 * PAGES {
        moved.write(index, same(index - PAGES));
    }
    wait::until("the grown part is merged as well", || {
        let distinct = pagemap::distinct(&pagemap::frames(&moved.pagemap()?));
        Ok((distinct == PAGES, distinct))
    })?;
    moved.verify(|index| same(index % PAGES))?;
    sharer.finish()
}

fn dontneed(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    region
        .advise_pages(0..PAGES / 2, libc::MADV_DONTNEED)
        .context("MADV_DONTNEED")?;
    check_eq!(
        pagemap::frames(&region.pagemap()?).len(),
        PAGES / 2,
        "pages that are left"
    );
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64 / 2)?;
    region.verify(|index| if index < PAGES / 2 { 0 } else { same(index) })?;
    for index in 0..PAGES / 2 {
        region.write(index, same(index));
    }
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64)
        .context("written anew")?;
    region.verify(same)?;
    sharer.finish()
}

fn free(bench: &Bench) -> Outcome {
    let (mut sharer, region) = merged_with_other(bench)?;
    region.advise(libc::MADV_FREE).context("MADV_FREE")?;
    // Ours may now read as before or as zero; the other process never lost anything.
    sharer.verify()?;
    for index in 0..PAGES {
        let zero =
            region.peek(index, 0) == 0 && region.peek(index, 1) == 0 && region.peek(index, 2) == 0;
        region.verify_page(index, if zero { 0 } else { same(index) })?;
    }
    for index in 0..PAGES {
        region.write(index, 0x2200 + index as u64);
    }
    bench.ksm.passes(2)?;
    region.verify(|index| 0x2200 + index as u64)?;
    sharer.finish()
}

fn map_over(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    let pages = PAGES / 2;
    // SAFETY: replaces the first half of our own region.
    let addr = unsafe {
        libc::mmap(
            region.addr() as *mut _,
            pages * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    check_eq!(addr as usize, region.addr(), "address of the new mapping");
    bench
        .ksm
        .counter_becomes("pages_sharing", (PAGES - pages) as i64)?;
    region.verify(|index| if index < pages { 0 } else { same(index) })?;
    sharer.finish()
}

fn mprotect(bench: &Bench) -> Outcome {
    let (sharer, region) = merged_with_other(bench)?;
    let protect = |protection| {
        crate::sys::check(
            // SAFETY: our own region; nothing reads it while it is forbidden.
            unsafe { libc::mprotect(region.addr() as *mut _, region.len(), protection) }.into(),
        )
        .context("mprotect")
    };
    protect(libc::PROT_NONE)?;
    bench.ksm.passes(2)?;
    protect(libc::PROT_READ)?;
    region.verify(same)?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        sharer.frames()?,
        "frames after PROT_NONE"
    );
    protect(libc::PROT_READ | libc::PROT_WRITE)?;
    region.write(0, 0x1234);
    region.verify(|index| if index == 0 { 0x1234 } else { same(index) })?;
    let frame = pagemap::frames(&region.pagemap()?)[0];
    check_eq!(
        pagemap::flags(frame)? & FLAG_KSM,
        0,
        "KSM flag of the written page"
    );
    sharer.finish()
}

fn process_ends(bench: &Bench) -> Outcome {
    let mut sharers = super::common::merged_crowd(bench, 4, PAGES)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 3 * PAGES as i64)?;
    drop(sharers.pop());
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)
        .context("one was killed")?;
    sharers.pop().expect("three are left").finish()?;
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64)
        .context("one exited")?;
    sharer::finish(sharers)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 0)
        .context("all exited")?;
    bench.ksm.counter_becomes("pages_shared", 0)?;
    bench.ksm.counter_becomes("pages_unshared", 0)
}

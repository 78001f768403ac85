// SPDX-License-Identifier: GPL-2.0

//! Memory in pieces, so that compaction finds pages worth moving.
//!
//! Compaction moves pages to higher frames where others are already, not to empty blocks. Single free frames are given
//! out first: who asks for pages now has them from the lower half of a filler's, and later there is room between what
//! stays of the upper half.

use std::fs;

use crate::case::{skip, Context, Outcome};
use crate::pagemap;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sys::PAGE;

const COMPACT: &str = "/proc/sys/vm/compact_memory";
/// Bytes that are taken and partly given back.
const FILLER: usize = 48 << 20;
/// Of the upper half one page in so many stays.
const KEPT: u64 = 16;

/// What takes every other frame; all of it is free again when dropped.
pub struct Fragments {
    filler: Region,
    frames: Vec<u64>,
    middle: u64,
}

impl Fragments {
    /// Takes memory and gives single low frames back.
    pub fn make() -> Outcome<Fragments> {
        let filler = Region::map(FILLER / PAGE)?;
        (0..filler.pages()).for_each(|index| filler.poke(index, 0, 1));
        let frames = pagemap::frames(&filler.pagemap()?);
        let mut sorted = frames.clone();
        sorted.sort_unstable();
        let fragments = Fragments {
            middle: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            filler,
            frames,
        };
        fragments
            .free(|frame, middle| frame < middle && frame % 2 == 0)
            .context("making single free frames")?;
        Ok(fragments)
    }

    /// Makes holes above.
    pub fn open(&self) -> Outcome {
        self.free(|frame, middle| frame >= middle && frame % KEPT != 0)
            .context("making holes")
    }

    fn free(&self, which: impl Fn(u64, u64) -> bool) -> Outcome {
        for (index, &frame) in self.frames.iter().enumerate() {
            if which(frame, self.middle) {
                self.filler
                    .advise_pages(index..index + 1, libc::MADV_DONTNEED)
                    .context("MADV_DONTNEED")?;
            }
        }
        Ok(())
    }
}

/// Skips where the kernel cannot compact memory.
pub fn available() -> Outcome {
    match std::path::Path::new(COMPACT).exists() {
        true => Ok(()),
        false => skip("no memory compaction in this kernel"),
    }
}

/// Compacts all memory.
pub fn compact() -> Outcome {
    match sabotage::is(Sabotage::NoMove) {
        true => Ok(()),
        false => fs::write(COMPACT, "1").context(COMPACT),
    }
}

/// How many pages have another frame than before.
pub fn moved(before: &[u64], now: &[u64]) -> usize {
    before
        .iter()
        .zip(now)
        .filter(|(old, new)| old != new)
        .count()
}

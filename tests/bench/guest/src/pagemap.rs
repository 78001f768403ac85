// SPDX-License-Identifier: GPL-2.0

//! Which page frames and swap slots the workers' pages lie in.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

use crate::sys::PAGE;
use crate::worker::Worker;

const KPF_KSM: u64 = 1 << 21;

/// The pages of all workers, counted.
#[derive(Default)]
pub struct Places {
    /// Mappings of pages in memory.
    pub present: usize,
    /// Page frames behind them.
    pub frames: usize,
    /// Those of the frames that are merged pages.
    pub merged_frames: usize,
    /// Mappings that name swap.
    pub swapped: usize,
    /// Swap slots behind them.
    pub slots: usize,
}

/// Looks at all pages of `workers`.
pub fn places(workers: &[Worker]) -> Result<Places> {
    let mut places = Places::default();
    let (mut frames, mut slots) = (HashSet::new(), HashSet::new());
    for worker in workers {
        let path = format!("/proc/{}/pagemap", worker.pid);
        for entry in words(&path, worker.start / PAGE, worker.pages)? {
            if entry >> 63 == 1 {
                places.present += 1;
                frames.insert(entry & ((1 << 55) - 1));
            } else if (entry >> 62) & 1 == 1 {
                places.swapped += 1;
                slots.insert(entry & ((1 << 55) - 1));
            }
        }
    }
    let flags = File::open("/proc/kpageflags").context("/proc/kpageflags")?;
    for &frame in &frames {
        let mut word = [0; 8];
        flags
            .read_exact_at(&mut word, frame * 8)
            .context("/proc/kpageflags")?;
        places.merged_frames += usize::from(u64::from_ne_bytes(word) & KPF_KSM != 0);
    }
    places.frames = frames.len();
    places.slots = slots.len();
    Ok(places)
}

fn words(path: &str, index: usize, count: usize) -> Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    let file = File::open(path).with_context(|| path.to_owned())?;
    file.read_exact_at(&mut bytes, index as u64 * 8)
        .with_context(|| path.to_owned())?;
    Ok(bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("chunks of eight")))
        .collect())
}

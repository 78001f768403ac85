// SPDX-License-Identifier: GPL-2.0

//! What the page tables and the page frames say: `/proc/PID/pagemap`, `/proc/kpageflags`, `/proc/kpagecgroup`.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::case::{Context, Outcome};
use crate::sys::PAGE;

/// `KPF_HWPOISON`
pub const FLAG_HWPOISON: u64 = 1 << 19;
/// `KPF_KSM`
pub const FLAG_KSM: u64 = 1 << 21;
/// `KPF_THP`
pub const FLAG_HUGE: u64 = 1 << 22;
/// `KPF_ZERO_PAGE`
pub const FLAG_ZERO: u64 = 1 << 24;
/// `KPF_MLOCKED`
pub const FLAG_MLOCKED: u64 = 1 << 33;

/// One page-table entry as pagemap shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u64);

impl Entry {
    /// The frame, if the page is present.
    pub fn frame(self) -> Option<u64> {
        (self.0 >> 63 == 1).then_some(self.0 & ((1 << 55) - 1))
    }

    /// Whether the entry names a swap slot (or a page under migration).
    pub fn swapped(self) -> bool {
        self.0 >> 62 & 1 == 1
    }

    /// Where in swap the page is, if it is: the area's number in the lowest five bits, the slot above.
    pub fn slot(self) -> Option<u64> {
        self.swapped().then_some(self.0 & ((1 << 55) - 1))
    }

    /// Whether the page is being moved: the kernel gives such entries the highest of the swap areas' numbers.
    pub fn moving(self) -> bool {
        self.slot().is_some_and(|slot| slot & 0x1f >= 16)
    }

    /// Whether userfaultfd is to be told of writes to the page.
    pub fn watched(self) -> bool {
        self.0 >> 57 & 1 == 1
    }

    /// Whether the entry is soft-dirty.
    pub fn soft_dirty(self) -> bool {
        self.0 >> 55 & 1 == 1
    }
}

/// Entries of `pages` pages from `addr` on.
pub fn of(pid: i32, addr: usize, pages: usize) -> Outcome<Vec<Entry>> {
    let path = format!("/proc/{pid}/pagemap");
    let words = read_words(&path, (addr / PAGE) as u64, pages)?;
    Ok(words.into_iter().map(Entry).collect())
}

/// Frames of the present pages among `entries`.
pub fn frames(entries: &[Entry]) -> Vec<u64> {
    entries.iter().filter_map(|entry| entry.frame()).collect()
}

/// How many different frames there are.
pub fn distinct(frames: &[u64]) -> usize {
    sharers(frames).len()
}

/// How often each frame occurs.
pub fn sharers(frames: &[u64]) -> HashMap<u64, usize> {
    let mut count = HashMap::new();
    for &frame in frames {
        *count.entry(frame).or_insert(0) += 1;
    }
    count
}

/// Flags of a frame (`KPF_*` bits).
pub fn flags(frame: u64) -> Outcome<u64> {
    Ok(read_words("/proc/kpageflags", frame, 1)?[0])
}

/// Inode of the control group that a frame is charged to.
pub fn group(frame: u64) -> Outcome<u64> {
    Ok(read_words("/proc/kpagecgroup", frame, 1)?[0])
}

/// How many of `frames` carry all bits of `wanted`.
pub fn count_flag(frames: &[u64], wanted: u64) -> Outcome<usize> {
    let mut count = 0;
    for &frame in frames {
        count += usize::from(flags(frame)? & wanted == wanted);
    }
    Ok(count)
}

/// Reads `count` words of 64 bits, the first at position `index`.
fn read_words(path: &str, index: u64, count: usize) -> Outcome<Vec<u64>> {
    let file = File::open(path).context(path)?;
    let mut bytes = vec![0; count * 8];
    file.read_exact_at(&mut bytes, index * 8).context(path)?;
    let word = |chunk: &[u8]| u64::from_ne_bytes(chunk.try_into().expect("chunks of eight"));
    Ok(bytes.chunks_exact(8).map(word).collect())
}

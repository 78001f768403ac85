// SPDX-License-Identifier: GPL-2.0

//! What the guest writes on its standard output, one JSON object a line. Memory is in KiB throughout.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum Record {
    /// First of all.
    Start(Start),
    /// A step of the story begins.
    Step(Step),
    /// Numbers of one moment, several times a second.
    Sample(Sample),
    /// A step has ended; the numbers of that moment.
    Done(Done),
    /// The last line of a story that went well.
    End,
}

/// The scene.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// `uname -r`
    pub kernel: String,
    /// Memory of the machine, `MemTotal`.
    pub memory: u64,
    /// `SwapTotal`
    pub swap: u64,
    pub processes: usize,
    /// Of each process: what all have the same of, and what only it has.
    pub common: u64,
    pub own: u64,
    /// How many steps there will be.
    pub steps: usize,
}

/// Who merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merger {
    Nobody,
    Swapksm,
    Stock,
}

/// A step's beginning.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub time_ms: u64,
    /// A word or two.
    pub name: String,
    /// A sentence.
    pub text: String,
    /// Who merges during the step.
    pub merger: Merger,
}

/// Numbers as the kernel gives them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub time_ms: u64,
    /// `AnonPages` of /proc/meminfo, without the other program's.
    pub anonymous: u64,
    /// In swap and not in memory too: `SwapTotal` - `SwapFree` - `SwapCached`, without the other program's.
    pub swapped: u64,
    /// What the processes see as theirs: the sum of their `VmRSS` and `VmSwap`.
    pub held: u64,
    /// What the program that pushes them out holds in memory, its `VmRSS`.
    pub other: u64,
    /// `pages_shared` of /sys/kernel/mm/ksm.
    pub pages_shared: u64,
    /// `pages_sharing` of the same.
    pub pages_sharing: u64,
    /// Pages written to swap since boot, `pswpout` of /proc/vmstat.
    pub swap_outs: u64,
    /// Pages read from swap since boot, `pswpin`.
    pub swap_ins: u64,
    /// Merged pages that were copied when read from swap, `ksm_swpin_copy`.
    pub swap_in_copies: u64,
    /// Merged pages that were copied because they were written to, `cow_ksm`.
    pub write_copies: u64,
}

/// A step's end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub name: String,
    pub sample: Sample,
    /// Sum of the processes' proportional shares of memory, `Pss` of smaps_rollup.
    pub pss: u64,
    /// The same of swap, `SwapPss`.
    pub swap_pss: u64,
    /// How much of their memory is merged, `KSM` of smaps_rollup.
    pub merged: u64,
    /// Bytes the processes compared with what they must be, during the step.
    pub verified_bytes: u64,
}

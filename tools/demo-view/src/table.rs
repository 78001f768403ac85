// SPDX-License-Identifier: GPL-2.0

//! The numbers at the end of every step.

use std::fmt::Write as _;

use crate::Story;

/// A line for each step, memory in MiB.
pub fn of(story: &Story) -> String {
    let mut out = format!(
        "{:<14}{:>10}{:>9}{:>9}{:>9}{:>9}{:>10}{:>12}\n",
        "after", "seen MiB", "memory", "Pss", "swap", "merged", "copies", "verified"
    );
    for done in &story.done {
        let sample = done.sample;
        let _ = writeln!(
            out,
            "{:<14}{:>10}{:>9}{:>9}{:>9}{:>9}{:>10}{:>12}",
            done.name,
            sample.held >> 10,
            sample.anonymous >> 10,
            done.pss >> 10,
            sample.swapped >> 10,
            done.merged >> 10,
            sample.swap_in_copies,
            done.verified_bytes,
        );
    }
    out + "seen: VmRSS + VmSwap of the processes; memory: AnonPages; merged: KSM of smaps_rollup; copies: pages copied at swap-in\n"
}

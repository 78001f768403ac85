// SPDX-License-Identifier: GPL-2.0

//! The file /proc/PID/ksm_stat: the stock kernel's lines, letter by letter, and then ours.
//!
//! Ours all begin with `swapksm_`: who reads the file by its keys is not disturbed, and sees who wrote it. A process that
//! has nothing to do with merging has the same lines.

use kernel::{seq_file::SeqFile, seq_print};

use crate::engine::process::{self, Process};

/// Writes the text.
pub(crate) fn show(out: &SeqFile, process: &Process) {
    let counts = &process.counts;
    seq_print!(out, "ksm_rmap_items {}\n", counts.items);
    seq_print!(out, "ksm_zero_pages {}\n", counts.zero_pages);
    seq_print!(out, "ksm_merging_pages {}\n", counts.merging);
    seq_print!(out, "ksm_process_profit {}\n", process::profit(counts));
    seq_print!(out, "ksm_merge_any: {}\n", yes_or_no(counts.merge_any));
    seq_print!(out, "ksm_mergeable: {}\n", yes_or_no(process.mergeable));
    let (swapped, swapins) = (&process.swapped, &process.swapins);
    for (key, value) in [
        ("sharers_swapped", swapped.sharers as i64),
        ("nodes_swapped", swapped.nodes as i64),
        ("swapin_shared", swapins.shared.get()),
        ("swapin_copied", swapins.copied.get()),
        ("swapin_miss_unknown", swapins.miss_unknown.get()),
        ("swapin_miss_large", swapins.miss_large.get()),
        ("swapin_miss_exclusive", swapins.miss_exclusive.get()),
        ("swapin_miss_stale", swapins.miss_stale.get()),
        ("swapin_miss_hash", swapins.miss_hash.get()),
    ] {
        seq_print!(out, "swapksm_{key} {value}\n");
    }
}

fn yes_or_no(is: bool) -> &'static str {
    if is {
        "yes"
    } else {
        "no"
    }
}

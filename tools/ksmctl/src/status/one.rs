// SPDX-License-Identifier: GPL-2.0

//! One process, for people.

use super::format::{bytes, grouped, listed};
use super::process::{Process, Swap};

/// One line for each subject.
pub fn text(process: &Process) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        if !text.is_empty() {
            out += &format!("{label:<14}{text}\n");
        }
    };
    line("process", format!("{} ({})", process.name, process.pid));
    line("mergeable", mergeable(process).to_owned());
    line("pages", pages(process));
    line(
        "saved",
        format!("{} after bookkeeping", bytes(process.profit)),
    );
    if let Some(swap) = &process.swap {
        line("swap", swapped(swap));
        line("swapped in", swapped_in(swap));
        line("not shared", misses(swap));
    }
    out
}

fn mergeable(process: &Process) -> &'static str {
    match (process.merge_any, process.mergeable) {
        (true, _) => "all of its memory",
        (false, true) => "what it has asked for",
        (false, false) => "nothing",
    }
}

fn pages(process: &Process) -> String {
    format!(
        "{} merged, {} empty, {} watched",
        grouped(process.merging_pages),
        grouped(process.zero_pages),
        grouped(process.items)
    )
}

fn swapped(swap: &Swap) -> String {
    listed(
        &[
            ("sharers_swapped", "merged pages swapped out"),
            ("nodes_swapped", "of them in nobody's memory"),
        ],
        |name| swap.number(name),
    )
}

fn swapped_in(swap: &Swap) -> String {
    listed(
        &[("swapin_shared", "shared"), ("swapin_copied", "as copies")],
        |name| swap.number(name),
    )
}

/// The reasons there were.
fn misses(swap: &Swap) -> String {
    listed(
        &[
            ("swapin_miss_unknown", "not known as a sharer there"),
            ("swapin_miss_large", "read in as a large page"),
            ("swapin_miss_exclusive", "private pages in slots used again"),
            ("swapin_miss_stale", "in memory elsewhere"),
            ("swapin_miss_hash", "other content in slots used again"),
        ],
        |name| swap.number(name).filter(|&count| count != 0),
    )
}

// SPDX-License-Identifier: GPL-2.0

//! The report for people.

use std::fmt::Write as _;

use super::format::{self, bytes, grouped};
use super::process::Process;
use super::report::{Merger, Report};
use crate::run;

/// How many processes are listed.
const LISTED: usize = 10;

/// One line for each subject, then the processes.
pub fn of(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        if !text.is_empty() {
            out += &format!("{label:<14}{text}\n");
        }
    };
    line("merging by", merger(report));
    line("scanner", scanner(report));
    line("pages", pages(report));
    line("saved", saved(report));
    line("swap", swap(report));
    line("left to do", left_to_do(report));
    line("processes", processes(report));
    if let Some(list) = report.processes.as_ref().filter(|list| !list.is_empty()) {
        out += &table(list);
    }
    out
}

fn merger(report: &Report) -> String {
    let waiting = || match report.waiting_for.as_slice() {
        [] => String::new(),
        tasks => format!("; waiting for {}", tasks.join(", ")),
    };
    match report.merger {
        Merger::Kernel if report.module_loaded => {
            "the kernel (swapksm is loaded, but not in charge)".to_owned()
        }
        Merger::Kernel => "the kernel".to_owned(),
        Merger::Swapksm => "swapksm".to_owned(),
        Merger::Loading => format!("nobody: changing over to swapksm{}", waiting()),
        Merger::Unloading => format!("nobody: changing back to the kernel{}", waiting()),
        Merger::None => "nobody".to_owned(),
    }
}

fn scanner(report: &Report) -> String {
    let mut text = match report.number("run") {
        Some(run) => format!("{} (run {run})", run::meaning(&run.to_string())),
        None => "unknown".to_owned(),
    };
    if let (Some(pages), Some(pause)) = (
        report.number("pages_to_scan"),
        report.number("sleep_millisecs"),
    ) {
        text += &format!(", {} pages every {pause} ms", grouped(pages));
    }
    if let Some(mode) = report.advisor_mode.as_ref().filter(|mode| *mode != "none") {
        text += &format!(", advisor {mode}");
    }
    if let Some(scans) = report.number("full_scans") {
        text += &format!(", {} full scans", grouped(scans));
    }
    text
}

fn pages(report: &Report) -> String {
    listed(
        report,
        &[
            ("pages_shared", "shared"),
            ("pages_sharing", "more sharing them"),
            ("pages_unshared", "unshared"),
            ("pages_volatile", "changing"),
            ("ksm_zero_pages", "empty"),
            ("nodeless_pages", "merged for good"),
        ],
    )
}

fn saved(report: &Report) -> String {
    let mut text = bytes(report.saved_bytes);
    if let Some(profit) = report.number("general_profit") {
        text += &format!(", {} after bookkeeping", bytes(profit));
    }
    text
}

fn swap(report: &Report) -> String {
    listed(
        report,
        &[
            ("nodes_swapped", "shared pages swapped out"),
            ("sharers_swapped", "mappings in swap"),
            ("swapin_shared", "swapped in shared"),
            ("swapin_copied", "swapped in as copies"),
        ],
    )
}

fn left_to_do(report: &Report) -> String {
    match report.number("pages_pending") {
        None | Some(0) => String::new(),
        Some(pending) => format!("{} invalidated pages to forget", grouped(pending)),
    }
}

fn processes(report: &Report) -> String {
    match &report.processes {
        Some(list) => format!("{} with mergeable memory", list.len()),
        None => "only root may see which".to_owned(),
    }
}

/// What went to swap has a column where the merger tells of it.
fn table(list: &[Process]) -> String {
    let swap = list.iter().any(|process| process.swap.is_some());
    let column = |text: &str| {
        if swap {
            format!("{text:>12}")
        } else {
            String::new()
        }
    };
    let mut out = format!(
        "{:>9}  {:<16}{:>12}{}{:>14}\n",
        "PID",
        "NAME",
        "MERGED",
        column("IN SWAP"),
        "SAVED"
    );
    for process in list.iter().take(LISTED) {
        let swapped = process.swap.as_ref().map(|swap| grouped(swap.swapped()));
        let _ = writeln!(
            out,
            "{:>9}  {:<16}{:>12}{}{:>14}",
            process.pid,
            process.name,
            grouped(process.merging_pages),
            column(&swapped.unwrap_or_default()),
            bytes(process.profit)
        );
    }
    if let more @ 1.. = list.len().saturating_sub(LISTED) {
        let _ = writeln!(out, "{:>9}  and {more} more", "");
    }
    out
}

/// The numbers there are, each with what it counts.
fn listed(report: &Report, numbers: &[(&str, &str)]) -> String {
    format::listed(numbers, |file| report.number(file))
}

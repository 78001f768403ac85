// SPDX-License-Identifier: GPL-2.0

//! The report for people.

use std::fmt::Write as _;

use super::report::{Merger, Process, Report};
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
            ("sharers_swapped", "mappings of such"),
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

fn table(list: &[Process]) -> String {
    let mut out = format!(
        "{:>9}  {:<16}{:>12}{:>14}\n",
        "PID", "NAME", "MERGED", "SAVED"
    );
    for process in list.iter().take(LISTED) {
        let (merged, profit) = (grouped(process.merging_pages), bytes(process.profit));
        let _ = writeln!(
            out,
            "{:>9}  {:<16}{merged:>12}{profit:>14}",
            process.pid, process.name
        );
    }
    if let more @ 1.. = list.len().saturating_sub(LISTED) {
        let _ = writeln!(out, "{:>9}  and {more} more", "");
    }
    out
}

/// The numbers there are, each with what it counts.
fn listed(report: &Report, numbers: &[(&str, &str)]) -> String {
    let there = numbers
        .iter()
        .filter_map(|(file, meaning)| Some((report.number(file)?, meaning)));
    there
        .map(|(number, meaning)| format!("{} {meaning}", grouped(number)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// 1,234,567
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In the unit that leaves one to three digits before the point.
fn bytes(count: i64) -> String {
    let mut amount = count as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = None;
    while amount.abs() >= 1024.0 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = Some(next);
    }
    unit.map_or_else(
        || format!("{count} bytes"),
        |unit| format!("{amount:.1} {unit}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(-1000), grouped(1_234_567)],
            ["0", "999", "-1,000", "1,234,567"]
        );
        assert_eq!(
            [bytes(0), bytes(-2048), bytes(117_440_512)],
            ["0 bytes", "-2.0 KiB", "112.0 MiB"]
        );
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Tables in Markdown, aligned so that they can be read as they are.

use std::fmt::Write as _;

use crate::results::{Pair, Run};
use crate::summary;

/// One pair of columns: heading, part, names whose numbers are added up, and what the sum is divided by.
struct Column {
    heading: &'static str,
    part: &'static str,
    names: &'static [&'static str],
    unit: i64,
}

const fn column(
    heading: &'static str,
    part: &'static str,
    names: &'static [&'static str],
    unit: i64,
) -> Column {
    Column {
        heading,
        part,
        names,
        unit,
    }
}

/// Pages of 4 KiB in a MiB.
const PAGES: i64 = 256;

const MEMORY: &[Column] = &[
    column("group MiB", "state", &["frames"], PAGES),
    column("swap MiB", "state", &["swap_used_kib"], 1 << 10),
    column("pages in", "took", &["pswpin", "zswpin"], 1),
    column("pages out", "took", &["pswpout", "zswpout"], 1),
    column("copies", "took", &["ksm_swpin_copy"], 1),
    column("M instr.", "took", &["busy_ns"], 1_000_000),
];
const COST: &[Column] = &[
    column("KSM, M instr.", "took", &["ksm_ns"], 1_000_000),
    column("all, M instr.", "took", &["busy_ns"], 1_000_000),
    column("pages scanned", "took", &["pages_scanned"], 1),
    column("sharing", "state", &["pages_sharing"], 1),
];

/// The tables of one benchmark.
pub fn of(name: &str, pair: &Pair) -> String {
    let mut out = heading(name, pair);
    let columns = if name.starts_with("cost") {
        COST
    } else {
        MEMORY
    };
    let mut rows = vec![vec!["step".to_owned()]];
    for column in columns {
        rows[0].push(format!("{}, stock", column.heading));
        rows[0].push("swapksm".to_owned());
    }
    for step in pair.steps() {
        let mut row = vec![step.to_owned()];
        for column in columns {
            row.push(cell(&pair.stock, step, column));
            row.push(cell(&pair.ours, step, column));
        }
        rows.push(row);
    }
    out.push_str(&aligned(&rows));
    out.push_str(&per_page(pair));
    out.push_str(&summary::of(name, pair));
    out
}

fn heading(name: &str, pair: &Pair) -> String {
    let about = |what| {
        pair.stock
            .about(what)
            .or(pair.ours.about(what))
            .unwrap_or(0)
    };
    let mut out = format!(
        "\n### {name}: {} processes of {} pages",
        about("processes"),
        grouped(about("pages"))
    );
    if about("ram_mib") > 0 {
        let _ = write!(out, ", {} MiB of memory left", about("ram_mib"));
    }
    out.push_str("\n\n");
    for (side, run) in [("stock KSM", &pair.stock), ("swapksm", &pair.ours)] {
        if run.code != 0 {
            let _ = writeln!(
                out,
                "The run on {side} did not come to its end (code {}); what it had measured by then is shown.\n",
                run.code
            );
        }
    }
    out
}

fn cell(run: &Run, step: &str, column: &Column) -> String {
    let numbers = column
        .names
        .iter()
        .filter_map(|name| run.number(step, column.part, name));
    match numbers.reduce(|sum, number| sum + number) {
        None => "–".into(),
        Some(value) if column.unit == 1 => grouped(value),
        Some(value) => {
            let tenths = (value * 10 + column.unit / 2) / column.unit;
            format!("{}.{}", grouped(tenths / 10), tenths % 10)
        }
    }
}

/// A Markdown table of rows of equal length: the first is the heading, the first column is text.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).max(4)
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (index, (text, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match index {
                0 => write!(out, "| {text:<width$} |"),
                _ => write!(out, " {text:>width$} |"),
            };
        }
        out.push('\n');
        if number == 0 {
            for (index, width) in widths.iter().enumerate() {
                let line = "-".repeat(*width - 1);
                let _ = match index {
                    0 => write!(out, "| -{line} |"),
                    _ => write!(out, " {line}: |"),
                };
            }
            out.push('\n');
        }
    }
    out
}

/// The ratio the cost benchmark is about.
fn per_page(pair: &Pair) -> String {
    let passes = pair.steps().filter(|step| step.starts_with("pass "));
    let mut rows = vec![["pass", "instr. of KSM per page, stock", "swapksm"]
        .map(str::to_owned)
        .to_vec()];
    for pass in passes {
        let ratio = |run| per_page_of(run, pass).map_or("–".into(), grouped);
        rows.push(vec![
            pass[5..].to_owned(),
            ratio(&pair.stock),
            ratio(&pair.ours),
        ]);
    }
    if rows.len() == 1 {
        return String::new();
    }
    format!("\n{}", aligned(&rows))
}

/// Instructions of KSM's threads in a pass per page there is to scan (skipped ones included).
pub fn per_page_of(run: &Run, pass: &str) -> Option<i64> {
    let pages = run.about("processes")? * run.about("pages")?;
    Some(run.number(pass, "took", "ksm_ns")? / pages.max(1))
}

/// A number with commas between thousands.
pub fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 {
        text.insert(0, '-');
    }
    text
}

// SPDX-License-Identifier: GPL-2.0

//! Tables in Markdown, so that they can go into the README as they are.

use crate::results::{Pair, Run};

/// One column pair: heading, part, name, and what the number is divided by to get the unit of the heading.
type Column = (&'static str, &'static str, &'static str, i64);

const MEMORY: &[Column] = &[
    ("anon MiB", "state", "anon_kib", 1 << 10),
    ("frames", "state", "frames", 1),
    ("mapped", "state", "present", 1),
    ("pages in", "took", "pswpin", 1),
    ("pages out", "took", "pswpout", 1),
    ("copies", "took", "ksm_swpin_copy", 1),
    ("million instr.", "took", "busy_ns", 1_000_000),
];
const COST: &[Column] = &[
    ("million instr. of KSM", "took", "ksm_ns", 1_000_000),
    ("million instr. in all", "took", "busy_ns", 1_000_000),
    ("pages scanned", "took", "pages_scanned", 1),
    ("pages_sharing", "state", "pages_sharing", 1),
];

/// Prints the table of one benchmark.
pub fn print(name: &str, pair: &Pair) {
    let about = |what| pair.stock.about(what).unwrap_or(0);
    println!(
        "\n### {name}: {} processes of {} pages\n",
        about("processes"),
        about("pages")
    );
    for (side, run) in [("stock", &pair.stock), ("swapksm", &pair.ours)] {
        if run.code != 0 {
            println!(
                "The run on {side} was cut off (code {}); what it had measured by then is shown.\n",
                run.code
            );
        }
    }
    let columns = if name.starts_with("cost") {
        COST
    } else {
        MEMORY
    };
    print!("| step |");
    columns
        .iter()
        .for_each(|column| print!(" {}, stock | swapksm |", column.0));
    print!("\n| --- |");
    columns.iter().for_each(|_| print!(" ---: | ---: |"));
    println!();
    let steps: Vec<&str> = match pair.stock.steps().count() >= pair.ours.steps().count() {
        true => pair.stock.steps().collect(),
        false => pair.ours.steps().collect(),
    };
    for step in steps {
        print!("| {step} |");
        for column in columns {
            print!(
                " {} | {} |",
                cell(&pair.stock, step, column),
                cell(&pair.ours, step, column)
            );
        }
        println!();
    }
    per_page(pair);
}

fn cell(run: &Run, step: &str, &(_, part, name, unit): &Column) -> String {
    match run.number(step, part, name) {
        None => "–".into(),
        Some(value) if unit == 1 => grouped(value),
        Some(value) => format!("{:.1}", value as f64 / unit as f64),
    }
}

/// The ratio the cost benchmark is about.
fn per_page(pair: &Pair) {
    let passes: Vec<&str> = pair
        .stock
        .steps()
        .filter(|step| step.starts_with("pass "))
        .collect();
    if passes.is_empty() {
        return;
    }
    println!("\n| pass | instructions of KSM per page, stock | swapksm |\n| --- | ---: | ---: |");
    for pass in passes {
        let ratio = |run| per_page_of(run, pass).map_or("–".into(), grouped);
        println!(
            "| {} | {} | {} |",
            &pass[5..],
            ratio(&pair.stock),
            ratio(&pair.ours)
        );
    }
}

/// Instructions of KSM's threads in a pass per page there is to scan (skipped ones included).
pub fn per_page_of(run: &Run, pass: &str) -> Option<i64> {
    let pages = run.about("processes")? * run.about("pages")?;
    Some(run.number(pass, "took", "ksm_ns")? / pages.max(1))
}

/// A number with commas between thousands.
fn grouped(value: i64) -> String {
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

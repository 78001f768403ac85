// SPDX-License-Identifier: GPL-2.0

//! What a benchmark shows, in a sentence or two.

use crate::results::{Pair, Run};
use crate::table::grouped;

/// The sentences; none where a side lacks the step they speak of.
pub fn of(name: &str, pair: &Pair) -> String {
    let text = match name.split_once('-').map_or(name, |(kind, _)| kind) {
        "readback" => readback(pair),
        "rounds" => Some(rounds(pair)),
        _ => None,
    };
    text.map_or(String::new(), |text| format!("\n{text}\n"))
}

fn readback(pair: &Pair) -> Option<String> {
    let group = |run: &Run, step| Some(run.number(step, "state", "frames")? as f64 / 256.0);
    let copies = |run: &Run| -> Option<i64> {
        let steps = run.steps().filter(|step| step.starts_with("back "));
        steps
            .map(|step| run.number(step, "took", "ksm_swpin_copy"))
            .sum()
    };
    let of = |run: &Run| -> Option<String> {
        let (merged, back) = (group(run, "merged")?, group(run, "back 1")?);
        Some(format!(
            "{merged:.1} MiB merged, {back:.1} MiB after everyone has read everything back ({:.2} times), {} copies",
            back / merged,
            grouped(copies(run)?)
        ))
    };
    Some(format!(
        "Stock KSM: {}.  \nswapksm: {}.",
        of(&pair.stock)?,
        of(&pair.ours)?
    ))
}

fn rounds(pair: &Pair) -> String {
    let of = |run: &Run| {
        let rounds: Vec<&str> = run
            .steps()
            .filter(|step| step.starts_with("round "))
            .collect();
        let sum = |names: &[&str]| -> i64 {
            let numbers = rounds
                .iter()
                .flat_map(|step| names.iter().map(move |name| run.number(step, "took", name)));
            numbers.flatten().sum()
        };
        format!(
            "{} rounds, {} pages read from swap, {} copies, {} million instructions",
            rounds.len(),
            grouped(sum(&["pswpin", "zswpin"])),
            grouped(sum(&["ksm_swpin_copy"])),
            grouped(sum(&["busy_ns"]) / 1_000_000)
        )
    };
    format!(
        "Stock KSM: {}.  \nswapksm: {}.",
        of(&pair.stock),
        of(&pair.ours)
    )
}

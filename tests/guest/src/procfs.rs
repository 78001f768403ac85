// SPDX-License-Identifier: GPL-2.0

//! Numbers from `/proc`.

use std::fs;

use crate::case::{fail, Context, Outcome};

/// The number after `key` in a file of `key value` lines.
pub fn field(path: &str, key: &str) -> Outcome<i64> {
    let text = fs::read_to_string(path).context(path)?;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next().map(|word| word.trim_end_matches(':')) == Some(key) {
            let word = words.next().unwrap_or("");
            return word
                .parse()
                .or_else(|_| fail(format!("{path}: '{line}' holds no number")));
        }
    }
    fail(format!("{path} has no field {key}"))
}

/// The number that a file holds.
pub fn number(path: &str) -> Outcome<i64> {
    let text = fs::read_to_string(path).context(path)?;
    let text = text.trim();
    text.parse()
        .or_else(|_| fail(format!("{path} holds '{text}'")))
}

/// Event counter of `/proc/vmstat`.
pub fn vmstat(key: &str) -> Outcome<i64> {
    field("/proc/vmstat", key)
}

/// Pages that have gone to swap, wherever that is.
pub fn pages_out() -> Outcome<i64> {
    // A kernel without zswap has no such line.
    Ok(vmstat("pswpout")? + vmstat("zswpout").unwrap_or(0))
}

/// Free pages that are on CPUs' own lists.
pub fn pages_on_cpus() -> Outcome<i64> {
    let path = "/proc/zoneinfo";
    let text = fs::read_to_string(path).context(path)?;
    match sum_of(&text, "count:") {
        Some(pages) => Ok(pages),
        None => fail(format!("{path} tells nothing of CPUs' own pages")),
    }
}

/// The sum of all numbers that stand after `key`; `None`: there is none.
fn sum_of(text: &str, key: &str) -> Option<i64> {
    let numbers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == key).then(|| words.next()?.parse::<i64>().ok())?
    });
    numbers.reduce(|sum, number| sum + number)
}

/// What the kernel's lines of `/proc/PID/ksm_stat` begin with, in its order.
pub const KERNELS_KEYS: [&str; 6] = [
    "ksm_rmap_items ",
    "ksm_zero_pages ",
    "ksm_merging_pages ",
    "ksm_process_profit ",
    "ksm_merge_any: ",
    "ksm_mergeable: ",
];

/// Number of `/proc/PID/ksm_stat`.
pub fn ksm_stat(pid: i32, key: &str) -> Outcome<i64> {
    field(&format!("/proc/{pid}/ksm_stat"), key)
}

/// The lines of `/proc/PID/ksm_stat` that only swapksm has.
pub fn swapksm_numbers(pid: i32) -> Outcome<Vec<(String, i64)>> {
    let path = format!("/proc/{pid}/ksm_stat");
    let text = fs::read_to_string(&path).context(&path)?;
    let mut numbers = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("swapksm_")) {
        let number = line
            .split_once(' ')
            .and_then(|(key, count)| Some((key.to_owned(), count.parse().ok()?)));
        match number {
            Some(number) => numbers.push(number),
            None => return fail(format!("{path}: '{line}' holds no number")),
        }
    }
    match numbers.is_empty() {
        true => fail(format!("{path} has no line of swapksm's")),
        false => Ok(numbers),
    }
}

/// Yes or no of `/proc/PID/ksm_stat`.
pub fn ksm_stat_flag(pid: i32, key: &str) -> Outcome<bool> {
    let path = format!("/proc/{pid}/ksm_stat");
    let text = fs::read_to_string(&path).context(&path)?;
    let line = text.lines().find(|line| line.starts_with(key));
    match line.and_then(|line| line.split_whitespace().nth(1)) {
        Some("yes") => Ok(true),
        Some("no") => Ok(false),
        _ => fail(format!("{path}: {key} is neither yes nor no: {line:?}")),
    }
}

/// `/proc/PID/ksm_merging_pages`.
pub fn ksm_merging_pages(pid: i32) -> Outcome<i64> {
    let path = format!("/proc/{pid}/ksm_merging_pages");
    let text = fs::read_to_string(&path).context(&path)?;
    text.trim()
        .parse()
        .or_else(|_| fail(format!("{path} holds '{}'", text.trim())))
}

/// Sum in kilobytes of `key` over the mappings of `pid` that start within the range.
pub fn smaps(pid: i32, addr: usize, len: usize, key: &str) -> Outcome<i64> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).context(&path)?;
    let (mut inside, mut sum) = (false, 0);
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or("");
        if let Some((start, _)) = first.split_once('-') {
            let start = usize::from_str_radix(start, 16).unwrap_or(0);
            inside = (addr..addr + len).contains(&start);
        } else if inside && first.strip_suffix(':') == Some(key) {
            let word = line.split_whitespace().nth(1).unwrap_or("");
            sum += word
                .parse::<i64>()
                .or_else(|_| fail(format!("{path}: '{line}'")))?;
        }
    }
    Ok(sum)
}

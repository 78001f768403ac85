// SPDX-License-Identifier: GPL-2.0

//! Numbers from `/proc`.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

/// All `key value` lines of a file.
pub fn fields(path: &str) -> Result<HashMap<String, i64>> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let field = |line: &str| {
        let mut words = line.split_whitespace();
        let key = words.next()?.trim_end_matches(':').to_owned();
        Some((key, words.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(field).collect())
}

/// Nanoseconds that tasks have run, on all CPUs. Under `--icount` one instruction takes one nanosecond.
pub fn busy_ns() -> Result<i64> {
    let text = fs::read_to_string("/proc/schedstat").context("/proc/schedstat")?;
    let cpus = text.lines().filter(|line| line.starts_with("cpu"));
    Ok(cpus
        .filter_map(|line| line.split_whitespace().nth(7)?.parse::<i64>().ok())
        .sum())
}

/// Nanoseconds that the tasks have run whose names begin with one of `names`.
pub fn task_ns(names: &[&str]) -> Result<i64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").context("/proc")? {
        let directory = entry.context("/proc")?.path();
        // Whatever is no process, or has ended meanwhile, has no name.
        let Ok(name) = fs::read_to_string(directory.join("comm")) else {
            continue;
        };
        if names.iter().any(|prefix| name.starts_with(prefix)) {
            let text = fs::read_to_string(directory.join("schedstat")).unwrap_or_default();
            sum += text
                .split_whitespace()
                .next()
                .and_then(|word| word.parse::<i64>().ok())
                .unwrap_or(0);
        }
    }
    Ok(sum)
}

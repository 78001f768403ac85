// SPDX-License-Identifier: GPL-2.0

//! The knobs and counters of the running KSM, whoever provides it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

fn path(file: &str) -> PathBuf {
    PathBuf::from("/sys/kernel/mm/ksm").join(file)
}

/// Writes a knob.
pub fn set(file: &str, value: u64) -> Result<()> {
    fs::write(path(file), value.to_string())
        .with_context(|| format!("writing {value} to {}", path(file).display()))
}

/// Number in `file`, `None` where this KSM has no such file.
pub fn find(file: &str) -> Option<i64> {
    fs::read_to_string(path(file)).ok()?.trim().parse().ok()
}

/// Number in `file`.
pub fn get(file: &str) -> Result<i64> {
    find(file).with_context(|| format!("{} holds no number", path(file).display()))
}

/// Waits for deferred work, where this KSM has a file for it.
pub fn sync() -> Result<()> {
    match path("sync").exists() {
        true => set("sync", 1),
        false => Ok(()),
    }
}

/// Scans everything at each waking and sleeps `sleep` ms in between, so that one batch is one pass.
pub fn scan_in_whole_passes(sleep: u64) -> Result<()> {
    fs::write(path("advisor_mode"), "none").context("turning the advisor off")?;
    set("pages_to_scan", 10_000_000)?;
    set("sleep_millisecs", sleep)
}

/// The pace the kernel boots with.
pub fn scan_at_default_pace() -> Result<()> {
    set("pages_to_scan", 100)?;
    set("sleep_millisecs", 20)
}

// SPDX-License-Identifier: GPL-2.0

//! Results as JSON lines on standard output, each written out at once: what a run that is cut off has measured stays.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{json, Map, Value};

/// A step: its name, what it took, and the state after it.
pub fn step(name: &str, took: Map<String, Value>, state: Map<String, Value>) -> Result<()> {
    line(&json!({ "step": name, "took": took, "state": state }))
}

/// Numbers that describe the run.
pub fn about(numbers: Value) -> Result<()> {
    line(&json!({ "about": numbers }))
}

fn line(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .context("writing a result")
}

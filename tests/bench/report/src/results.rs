// SPDX-License-Identifier: GPL-2.0

//! Reads the JSON lines of one benchmark, both sides.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The same benchmark on both.
pub struct Pair {
    /// On the kernel's own KSM.
    pub stock: Run,
    /// On swapksm.
    pub ours: Run,
}

impl Pair {
    /// Names of the steps, in order, of the side that came further.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        let is_stock = self.stock.steps.len() >= self.ours.steps.len();
        if is_stock { &self.stock } else { &self.ours }.steps()
    }
}

/// One run.
pub struct Run {
    steps: Vec<Value>,
    /// The runner's exit code; other than 0, the run was cut off.
    pub code: i32,
}

impl Run {
    /// Names of the steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| step["step"].as_str())
    }

    /// A number of a step: what it `took`, or the `state` after it.
    pub fn number(&self, step: &str, part: &str, name: &str) -> Option<i64> {
        self.steps.iter().find(|line| line["step"] == step)?[part][name].as_i64()
    }

    /// One of the numbers that describe the run, such as the number of its processes.
    pub fn about(&self, name: &str) -> Option<i64> {
        self.steps
            .iter()
            .find_map(|line| line["about"][name].as_i64())
    }
}

/// Loads both sides; `None` when this benchmark has not been run.
pub fn load(directory: &Path, name: &str) -> Result<Option<Pair>> {
    let stock = side(directory, name, "stock")?;
    let ours = side(directory, name, "ours")?;
    Ok(stock.zip(ours).map(|(stock, ours)| Pair { stock, ours }))
}

fn side(directory: &Path, name: &str, side: &str) -> Result<Option<Run>> {
    let path = directory.join(format!("{name}.{side}.jsonl"));
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    // A run that was cut off may end in the middle of a line.
    let steps = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let end = directory.join(format!("{name}.{side}.end"));
    let code = fs::read_to_string(&end).with_context(|| end.display().to_string())?;
    Ok(Some(Run {
        steps,
        code: code
            .trim()
            .parse()
            .with_context(|| end.display().to_string())?,
    }))
}

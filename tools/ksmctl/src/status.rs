// SPDX-License-Identifier: GPL-2.0

//! `ksmctl status`

mod gather;
mod report;
mod text;

use crate::failure::{Failure, Outcome};
use crate::machine::Machine;

/// Tells who merges, what has been merged and what it saves.
#[derive(clap::Args)]
pub struct Options {
    /// For programs: everything as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(machine: &Machine, options: &Options) -> Outcome<String> {
    let report = gather::report(machine)?;
    if !options.json {
        return Ok(text::of(&report));
    }
    let mut json = serde_json::to_string_pretty(&report)
        .map_err(|error| Failure::new(format!("cannot write the report as JSON: {error}")))?;
    json.push('\n');
    Ok(json)
}

// SPDX-License-Identifier: GPL-2.0

//! `ksmctl status`

mod format;
mod gather;
mod one;
mod process;
mod report;
mod text;

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::machine::Machine;

/// Tells who merges, what has been merged and what it saves.
#[derive(clap::Args)]
pub struct Options {
    /// For programs: everything as JSON
    #[arg(long)]
    pub json: bool,
    /// Of one process only
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// Runs the command.
pub fn run(machine: &Machine, options: &Options) -> Outcome<String> {
    if let Some(pid) = options.pid {
        let process = process::one(machine, pid)?;
        return if options.json {
            json(&process)
        } else {
            Ok(one::text(&process))
        };
    }
    let report = gather::report(machine)?;
    if options.json {
        json(&report)
    } else {
        Ok(text::of(&report))
    }
}

fn json(report: &impl Serialize) -> Outcome<String> {
    let mut json = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::new(format!("cannot write the report as JSON: {error}")))?;
    json.push('\n');
    Ok(json)
}

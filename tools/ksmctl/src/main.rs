// SPDX-License-Identifier: GPL-2.0

//! `ksmctl` gives samepage merging to the module swapksm, gives it back to the kernel, and tells how it is doing.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod failure;
mod files;
mod kmsg;
mod knobs;
mod load;
mod lock;
mod machine;
mod module_file;
mod openers;
mod output;
mod processes;
mod refusal;
mod run;
mod signals;
mod status;
mod system;
#[cfg(test)]
mod tests;
mod transition;
mod unload;
mod unmerge;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Outcome;
use machine::Machine;

/// Loads and unloads swapksm, samepage merging that takes over from the kernel's own.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A directory that holds another machine's /sys, /proc and /dev (for tests)
    #[arg(long, hide = true, default_value = "/", global = true)]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take samepage merging over from the kernel, with its settings
    Load(load::Options),
    /// Give samepage merging back to the kernel, with its settings
    Unload(unload::Options),
    /// Tell who merges, what has been merged and what it saves
    Status(status::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let machine = Machine::new(cli.root, Box::new(system::Linux));
    if !matches!(cli.command, Command::Status(_)) {
        signals::note_requests_to_end();
    }
    let text = match perform(&machine, &cli.command) {
        Ok(text) => text,
        Err(failure) => {
            output::tell(&failure.to_string());
            return ExitCode::FAILURE;
        }
    };
    let Err(error) = output::answer(&text) else {
        return ExitCode::SUCCESS;
    };
    output::tell(&format!("ksmctl: cannot write to standard output: {error}"));
    match cli.command {
        Command::Status(_) => ExitCode::FAILURE,
        // What was asked for has been done all the same.
        Command::Load(_) | Command::Unload(_) => ExitCode::SUCCESS,
    }
}

/// What the command prints.
fn perform(machine: &Machine, command: &Command) -> Outcome<String> {
    match command {
        Command::Load(options) => load::run(machine, options),
        Command::Unload(options) => unload::run(machine, options),
        Command::Status(options) => status::run(machine, options),
    }
}

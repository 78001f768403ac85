// SPDX-License-Identifier: GPL-2.0

//! The demo's guest part: tells a story with real processes and writes down what the kernel says of them.

mod crowd;
mod kernel;
mod memory;
mod peer;
mod pressure;
mod story;
mod witness;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Anything that keeps the story from going on, for people.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Runs the demo's story; it is started by tools/demo inside a virtual machine.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// One of the processes with mostly the same data
    #[command(hide = true)]
    Worker { index: usize },
    /// The program that needs their memory
    #[command(hide = true)]
    Pressure,
}

fn main() -> ExitCode {
    let result = match Cli::parse().role {
        None => story::tell(),
        Some(Role::Worker { index }) => worker::serve(index),
        Some(Role::Pressure) => pressure::serve(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("demo: {text}");
            ExitCode::FAILURE
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The runner on the host.

mod accel;
mod args;
mod cache;
mod cpio;
mod files;
mod guest_log;
mod initramfs;
mod kernel;
mod memory_file;
mod outcome;
mod qemu;
mod received;
mod run;
mod session;
mod signals;
mod size;

use std::process::ExitCode;

use args::{Cli, Request, RunArgs};
use outcome::{Outcome, RUNNER_FAILED};

/// Entry point on the host.
pub fn main() -> ExitCode {
    let Cli {
        request: Request::Run(args),
    } = Cli::parse_checked();
    match start(&args) {
        Ok(outcome) => outcome.exit_code(),
        Err(text) => {
            eprintln!("vm: {text}");
            ExitCode::from(RUNNER_FAILED)
        }
    }
}

fn start(args: &RunArgs) -> Result<Outcome, String> {
    signals::end_on_interrupt();
    let cache = cache::Cache::find()?;
    let kernel = kernel::Kernel::choose(&cache, args.kernel.as_deref())?;
    let qemu = qemu::Qemu::find()?;
    let accel = accel::choose(args, &cache, &kernel, &qemu)?;
    run::run(args, &cache, &kernel, accel)
}

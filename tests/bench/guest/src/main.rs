// SPDX-License-Identifier: GPL-2.0

//! The benchmarks' guest program: the same steps on the kernel's own KSM and on swapksm, measured by the guest's own
//! counters and printed as JSON lines. Root only, meant for a virtual machine.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]

mod cases;
mod cgroup;
mod crowd;
mod hog;
mod ksm;
mod meter;
mod output;
mod pagemap;
mod procfs;
mod region;
mod sys;
mod worker;

use std::process::ExitCode;

use clap::Parser;

/// Which benchmark.
#[derive(Parser)]
enum Case {
    /// Instructions per page scanned, and of writing to, forking and unmapping merged memory.
    Cost(cases::cost::Options),
    /// Merged pages pushed to swap and read back by everyone.
    Readback(cases::readback::Options),
    /// A working set that fits into memory only while it is merged, read round and round.
    Rounds(cases::rounds::Options),
}

fn main() -> ExitCode {
    let result = match Case::parse() {
        Case::Cost(options) => cases::cost::run(&options),
        Case::Readback(options) => cases::readback::run(&options),
        Case::Rounds(options) => cases::rounds::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

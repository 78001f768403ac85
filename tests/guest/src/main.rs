// SPDX-License-Identifier: GPL-2.0

//! Tests of samepage merging, one case per behaviour, run inside a virtual machine.
//!
//! They hold for the kernel's own KSM as well as for swapksm, except where a case says otherwise,
//! and look at effects (page frames, contents, memory) before counters.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs, clippy::undocumented_unsafe_blocks)]

mod case;
mod cases;
mod cgroup;
mod content;
mod count;
mod coverage;
mod inject;
mod kernel_log;
mod knobs;
mod ksm;
mod ktap;
mod kvm;
mod lru;
mod memfd;
mod pagemap;
mod part;
mod pipe;
mod pipe_pages;
mod probe;
mod procfs;
mod region;
mod runner;
mod sabotage;
mod setting;
mod sharer;
mod slow;
mod sys;
mod userfault;
mod wait;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use case::{Bench, Case};
use ksm::Ksm;
use sabotage::Sabotage;

/// Enough to see that a race runs.
const RACE_SECONDS: u64 = 3;

#[derive(Parser)]
#[command(about = "Behaviour tests of samepage merging; root only, meant for a virtual machine")]
struct Arguments {
    /// Have the kernel reclaim by its two old lists of pages, not by generations.
    #[arg(long, global = true)]
    classic_lru: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print every case: name, room and what it is about, separated by tabs.
    List,
    /// Run the named cases (all of them when none is named).
    Run {
        /// Names of cases, or of subjects (the part before the slash).
        names: Vec<String>,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds a stress case goes on.
        #[arg(long, default_value_t = 30)]
        stress_seconds: u64,
        /// Seconds a race goes on.
        #[arg(long, default_value_t = RACE_SECONDS)]
        race_seconds: u64,
        /// Do a step wrong that the cases rely on: they must fail.
        #[arg(long, value_enum, default_value = "none", hide = true)]
        sabotage: Sabotage,
    },
    /// Go on with random operations on several processes for a long time.
    Soak {
        /// Seconds.
        #[arg(long, default_value_t = 180)]
        duration: u64,
        /// Seed of everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print what every file of /sys/kernel/mm/ksm does with a fixed list of values.
    SysfsCompare,
    /// Save which of the module's code has run, as running cases does at its end (tests/coverage).
    #[command(hide = true)]
    SaveCoverage,
    /// Parts of cases that need a new program image.
    #[command(hide = true)]
    Image {
        /// Which part.
        part: String,
        /// Descriptor to receive on.
        from: i32,
        /// Descriptor to send on.
        to: i32,
    },
}

fn main() -> ExitCode {
    // The handler that Rust installs would survive a SIGBUS that is no stack overflow.
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    let arguments = Arguments::parse();
    if arguments.classic_lru {
        if let Err(stop) = lru::classic() {
            return finish(Err(stop));
        }
    }
    match arguments.command {
        Command::List => list(),
        Command::Run {
            names,
            seed,
            stress_seconds,
            race_seconds,
            sabotage,
        } => {
            sabotage::choose(sabotage);
            run(
                &names,
                &Bench {
                    ksm: Ksm,
                    seed,
                    stress_seconds,
                    race_seconds,
                },
            )
        }
        Command::Soak { duration, seed } => {
            let bench = Bench {
                ksm: Ksm,
                seed,
                stress_seconds: duration,
                race_seconds: RACE_SECONDS,
            };
            finish(runner::run(&bench, &[&cases::soak::case(duration)]))
        }
        Command::SysfsCompare => finish(knobs::print().map(|()| true)),
        Command::SaveCoverage => finish(coverage::save().map(|()| true)),
        Command::Image { part, from, to } => cases::exec::image(&part, from, to),
    }
}

fn list() -> ExitCode {
    for case in cases::all() {
        println!("{}\t{}\t{}", case.name, case.room.name(), case.about);
    }
    ExitCode::SUCCESS
}

fn run(names: &[String], bench: &Bench) -> ExitCode {
    let all = cases::all();
    let wanted =
        |case: &&&Case| names.is_empty() || names.iter().any(|name| names_case(name, case));
    let chosen: Vec<&Case> = all.iter().filter(wanted).copied().collect();
    for name in names {
        if !all.iter().any(|case| names_case(name, case)) {
            eprintln!(
                "guest-tests: there is no case or subject '{name}'; 'guest-tests list' prints all"
            );
            return ExitCode::from(2);
        }
    }
    finish(runner::run(bench, &chosen))
}

/// Whether `name` names `case` or its subject.
fn names_case(name: &str, case: &Case) -> bool {
    case.name == name || case.name.split('/').next() == Some(name)
}

fn finish(result: case::Outcome<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(stop) => {
            eprintln!("guest-tests: {stop}");
            ExitCode::FAILURE
        }
    }
}

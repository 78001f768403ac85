// SPDX-License-Identifier: GPL-2.0

//! Prints what the benchmarks measured on the kernel's own KSM and on swapksm side by side, and draws it.
#![warn(missing_docs)]

mod plot;
mod results;
mod summary;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

/// What stands above the tables in their file.
const HEAD: &str = "# Benchmarks: the kernel's own KSM beside swapksm

Written by `make bench`, which runs the same guest program with the same parameters on both, one right after the other, in a
virtual machine that counts instructions (QEMU's `-icount`): *instr.* are guest instructions, in which every iteration of a
string instruction counts as one, and do not depend on what else the machine does. *group*: page frames that the processes
of the benchmark map; *pages in*, *pages out*: read from and written to swap; *copies*: merged pages copied at swap-in
(`ksm_swpin_copy`). All numbers are read in the guest, and the content of every page is compared at the end. Each
case stands as it was last run (`tests/bench/run --only` runs some).
";

#[derive(Parser)]
#[command(about = "Tables and plots of what tests/bench/run measured")]
struct Arguments {
    /// Directory with NAME.stock.jsonl and NAME.ours.jsonl.
    results: PathBuf,
    /// Directory the plots go to.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// File the tables go to as well.
    #[arg(long)]
    tables: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut page = HEAD.to_owned();
    for name in [
        "cost",
        "cost-smart",
        "readback-disk",
        "readback-zram",
        "readback-zswap",
        "rounds",
    ] {
        let Some(pair) = results::load(&arguments.results, name)? else {
            continue;
        };
        let tables = table::of(name, &pair);
        print!("{tables}");
        page.push_str(&tables);
        if let Some(directory) = &arguments.plots {
            plot::draw(name, &pair, directory)?;
            page.push_str(&format!("\n![{name}](bench-{name}.svg)\n"));
        }
    }
    if let Some(path) = &arguments.tables {
        fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

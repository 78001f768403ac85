// SPDX-License-Identifier: GPL-2.0

//! Prints what the benchmarks measured on the kernel's own KSM and on swapksm side by side, and draws it.
#![warn(missing_docs)]

mod plot;
mod results;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(about = "Tables and plots of what tests/bench/run measured")]
struct Arguments {
    /// Directory with NAME.stock.jsonl and NAME.ours.jsonl.
    results: PathBuf,
    /// Directory the plots go to.
    #[arg(long)]
    plots: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
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
        table::print(name, &pair);
        if let Some(directory) = &arguments.plots {
            plot::draw(name, &pair, directory)?;
        }
    }
    Ok(())
}

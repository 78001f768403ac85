// SPDX-License-Identifier: GPL-2.0

//! Equal pages of several processes are merged, pushed to swap, and read back by everyone.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::crowd::Crowd;
use crate::region::Content;
use crate::{ksm, output};

/// Size of the case.
#[derive(Args)]
pub struct Options {
    /// Processes.
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// Pages of each.
    #[arg(long, default_value_t = 4096)]
    pages: usize,
    /// How often all is pushed out and read back.
    #[arg(long, default_value_t = 2)]
    times: usize,
    /// Put zswap before the swap device.
    #[arg(long)]
    zswap: bool,
}

/// Runs the case.
pub fn run(options: &Options) -> Result<()> {
    super::prepare(false)?;
    if options.zswap {
        std::fs::write("/sys/module/zswap/parameters/enabled", "Y").context("turning zswap on")?;
    }
    ksm::scan_in_whole_passes(20)?;
    output::about(json!({ "processes": options.processes, "pages": options.pages }))?;
    let mut crowd = Crowd::start(options.processes, options.pages, |_| Content::Same)?;
    let mut step = |name: &str, run: &dyn Fn(&mut Crowd) -> Result<()>| {
        super::step(name, &mut crowd, run, |crowd| &crowd.workers)
    };
    step("filled", &|_| Ok(()))?;
    step("merged", &|crowd| crowd.merge(options.pages))?;
    for time in 1..=options.times {
        step(&format!("out {time}"), &|crowd| crowd.push_out())?;
        step(&format!("back {time}"), &Crowd::read)?;
    }
    step("verified", &Crowd::verify)
}

// SPDX-License-Identifier: GPL-2.0

//! The case that hurts: merged, the working set of a group of processes fits into memory; unmerged it is several times
//! as large. It is pushed out once and then read round and round.

use anyhow::{ensure, Context, Result};
use clap::Args;
use serde_json::json;

use crate::crowd::Crowd;
use crate::hog::Hog;
use crate::region::Content;
use crate::sys::PAGE;
use crate::{ksm, output, procfs};

/// Size of the case.
#[derive(Args)]
pub struct Options {
    /// Processes.
    #[arg(long, default_value_t = 8)]
    processes: usize,
    /// MiB of memory there shall be once everything has been merged.
    #[arg(long, default_value_t = 64)]
    ram: usize,
    /// Merged size of the working set in percent of that.
    #[arg(long, default_value_t = 75)]
    percent: usize,
    /// How often every process reads all its pages.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// Runs the case.
pub fn run(options: &Options) -> Result<()> {
    super::prepare(false)?;
    ksm::scan_in_whole_passes(20)?;
    let ram = options.ram << 20;
    let pages = ram * options.percent / 100 / PAGE;
    let memory = procfs::fields("/proc/meminfo")?;
    let available = (*memory.get("MemAvailable").context("MemAvailable")? as usize) << 10;
    let needed = options.processes * pages * PAGE;
    ensure!(
        available > needed + ram / 4,
        "the guest has too little memory: {} MiB are needed",
        (needed + ram / 4) >> 20
    );
    output::about(
        json!({ "processes": options.processes, "pages": pages, "ram_mib": options.ram }),
    )?;

    let crowd = Crowd::start(options.processes, pages, |_| Content::Same)?;
    let mut run = Run { crowd, hog: None };
    run.step("filled", |_| Ok(()))?;
    run.step("merged", |run| run.crowd.merge(pages))?;
    run.step("squeezed", |run| {
        run.hog = Some(Hog::new(available - ram)?);
        Ok(())
    })?;
    run.step("out", |run| run.crowd.push_out())?;
    ksm::scan_at_default_pace()?;
    ksm::set("run", 1)?;
    for round in 1..=options.rounds {
        run.step(&format!("round {round}"), |run| run.crowd.read())?;
    }
    run.step("verified", |run| run.crowd.verify())
}

/// What there is to clean up.
struct Run {
    crowd: Crowd,
    hog: Option<Hog>,
}

impl Run {
    fn step(&mut self, name: &str, what: impl FnOnce(&mut Run) -> Result<()>) -> Result<()> {
        super::step(name, self, what, |run| &run.crowd.workers)
    }
}

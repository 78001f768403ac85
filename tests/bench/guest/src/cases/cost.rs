// SPDX-License-Identifier: GPL-2.0

//! What scanning costs, pass by pass, and what merged pages cost the processes that have them.

use anyhow::{bail, Result};
use clap::Args;
use serde_json::json;

use crate::crowd::Crowd;
use crate::region::Content;
use crate::worker::Order;
use crate::{ksm, output, sys};

/// Size of the case.
#[derive(Args)]
pub struct Options {
    /// Processes.
    #[arg(long, default_value_t = 4)]
    processes: usize,
    /// Pages of each, half of them the same in every process.
    #[arg(long, default_value_t = 4096)]
    pages: usize,
    /// Passes.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Let the scanner skip pages that did not merge for a while.
    #[arg(long)]
    smart_scan: bool,
}

/// Milliseconds between passes: long enough to read all counters while the scanner sleeps.
const SLEEP: u64 = 2000;
/// Pages written to, and pages unmapped.
const SOME: u32 = 1024;

/// Runs the case.
pub fn run(options: &Options) -> Result<()> {
    super::prepare(options.smart_scan)?;
    ksm::scan_in_whole_passes(SLEEP)?;
    output::about(json!({ "processes": options.processes, "pages": options.pages, "some": SOME }))?;
    let mut crowd = Crowd::start(options.processes, options.pages, |process| {
        Content::HalfSame { process }
    })?;
    let mut step = |name: &str, run: &dyn Fn(&mut Crowd) -> Result<()>| {
        super::step(name, &mut crowd, run, |crowd| &crowd.workers)
    };
    for pass in 1..=options.passes {
        step(&format!("pass {pass}"), &|_| one_pass(pass == 1))?;
    }
    ksm::set("run", 0)?;
    let order = |order: Order| move |crowd: &mut Crowd| crowd.workers[0].order(order).map(drop);
    step("write", &order(Order::Write(SOME)))?;
    step("fork", &order(Order::Fork))?;
    step("unmap", &order(Order::Unmap(SOME)))?;
    step("verified", &Crowd::verify)?;
    step("unmerge", &|_| ksm::set("run", 2))
}

/// Waits for the end of the next pass. The scanner sleeps when this returns.
fn one_pass(first: bool) -> Result<()> {
    let before = ksm::get("full_scans")?;
    if first {
        ksm::set("run", 1)?;
    }
    for _ in 0..600 {
        sys::pause(50);
        match ksm::get("full_scans")? - before {
            0 => {}
            1 => return Ok(()),
            count => bail!("{count} passes went by in 50 ms"),
        }
    }
    bail!("no pass ended within 30 s")
}

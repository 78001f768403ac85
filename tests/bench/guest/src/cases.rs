// SPDX-License-Identifier: GPL-2.0

//! The benchmarks.

pub mod cost;
pub mod readback;
pub mod rounds;

use std::fs;

use anyhow::{Context, Result};

use crate::meter::{self, Meter};
use crate::{ksm, output, sys, worker};

/// Milliseconds.
const SETTLE: u64 = 5000;

/// Knobs that every case sets alike on both.
fn prepare(smart_scan: bool) -> Result<()> {
    // The kernel has things to do after its start that no step shall pay for.
    sys::pause(SETTLE);
    // One page per swap-in: what others did not ask for must not come along.
    fs::write("/proc/sys/vm/page-cluster", "0").context("page-cluster")?;
    ksm::set("run", 2)?;
    ksm::set("run", 0)?;
    ksm::set("smart_scan", smart_scan.into())?;
    ksm::set("max_page_sharing", 100_000)
}

/// Runs one step and reports it. `workers` tells where the workers are after it.
fn step<T>(
    name: &str,
    on: &mut T,
    run: impl FnOnce(&mut T) -> Result<()>,
    workers: impl Fn(&T) -> &[worker::Worker],
) -> Result<()> {
    let meter = Meter::start()?;
    run(on).with_context(|| name.to_owned())?;
    let took = meter.stop()?;
    output::step(name, took, meter::state(workers(on))?)
}

// SPDX-License-Identifier: GPL-2.0

//! What the cases of ordered failures have in common.

use crate::case::{fail, Bench, Outcome};
use crate::inject::{Injection, Scope};

/// Fault injection, ready; skips where it is missing, or swapksm that is to suffer from it.
pub fn prepare(bench: &Bench, scope: Scope) -> Outcome<Injection> {
    bench.only_ours("the threads and functions that are made to fail")?;
    Injection::prepare(scope)
}

/// Fails if the self-check (of a debug build) finds a difference.
pub fn in_order(bench: &Bench) -> Outcome {
    if !bench.ksm.has("selfcheck") {
        return Ok(());
    }
    match bench.ksm.text("selfcheck")?.as_str() {
        "ok" => Ok(()),
        differences => fail(format!("the self-check found differences:\n{differences}")),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Bounded waiting.

use std::time::{Duration, Instant};

use crate::case::{fail, Outcome};
use crate::sabotage;
use crate::slow;

/// Longest wait for anything the scanner has to do, on a stock kernel.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same when it is not to be done: see [`crate::sabotage`].
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Longest wait for anything the scanner has to do.
pub fn patience() -> Duration {
    slow::limit(PATIENCE)
}

/// Polls `done` until it holds or [`patience`] ends. `done` returns the state for the failure text.
pub fn until<S: std::fmt::Debug>(
    what: &str,
    mut done: impl FnMut() -> Outcome<(bool, S)>,
) -> Outcome {
    let patience = if sabotage::active() {
        slow::limit(LITTLE_PATIENCE)
    } else {
        patience()
    };
    let deadline = Instant::now() + patience;
    loop {
        let (reached, state) = done()?;
        if reached {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return fail(format!(
                "{what}: not reached in {patience:?}, last seen {state:?}"
            ));
        }
        std::thread::sleep(INTERVAL);
    }
}

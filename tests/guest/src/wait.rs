//! Bounded waiting.

use std::time::{Duration, Instant};

use crate::case::{fail, Outcome};

/// Longest wait for anything the scanner has to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls `done` until it holds or [`PATIENCE`] ends. `done` returns the state for the failure text.
pub fn until<S: std::fmt::Debug>(
    what: &str,
    mut done: impl FnMut() -> Outcome<(bool, S)>,
) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (reached, state) = done()?;
        if reached {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return fail(format!("{what}: not reached in {PATIENCE:?}, last seen {state:?}"));
        }
        std::thread::sleep(INTERVAL);
    }
}

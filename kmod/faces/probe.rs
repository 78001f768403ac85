// SPDX-License-Identifier: GPL-2.0

//! The file `probe` of debug builds: "PID HEXADDR" is written, what the engine knows of that page is read.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use kernel::prelude::*;

use super::text::Text;
use crate::engine;

/// Whose page was asked for; 0, which is nobody's, at first.
static PID: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// Takes the question. `EINVAL` if it is none, `ESRCH` if there is no such process.
pub(super) fn store(text: &CStr) -> Result {
    let (pid, address) = parse(text.to_bytes()).ok_or(EINVAL)?;
    engine::probe(pid, address)?;
    PID.store(pid, Relaxed);
    ADDRESS.store(address, Relaxed);
    Ok(())
}

/// Answers as of now. If nothing was asked, or the process is gone, only tells what exit hooks have found.
pub(super) fn show(out: &mut Text<'_>) -> Result {
    if let Ok(probe) = engine::probe(PID.load(Relaxed), ADDRESS.load(Relaxed)) {
        write!(out, "{probe} ")?;
    }
    Ok(writeln!(out, "{}", engine::EXITS)?)
}

fn parse(text: &[u8]) -> Option<(i32, usize)> {
    let mut words = core::str::from_utf8(text).ok()?.split_ascii_whitespace();
    let pid = words.next()?.parse().ok().filter(|&pid| pid > 0)?;
    let address = words.next()?;
    let address = address.strip_prefix("0x").unwrap_or(address);
    let address = usize::from_str_radix(address, 16).ok()?;
    words.next().is_none().then_some((pid, address))
}

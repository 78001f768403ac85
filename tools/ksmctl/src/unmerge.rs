// SPDX-License-Identifier: GPL-2.0

//! Unmerging everything before samepage merging changes hands.

use std::io;

use crate::failure::Failure;
use crate::files::KSM;
use crate::machine::Machine;
use crate::run;

/// Calls of `waiting` between two messages: five seconds.
const TELL_EVERY: u32 = 50;

/// Why not everything could be unmerged. The scanner rests in any case.
#[derive(Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// No memory for so many pages.
    Memory(String),
    /// The user asked for an end.
    Interrupted,
    /// Something else.
    Other(String),
}

/// Stops the scanner and gives every process pages of its own.
///
/// The kernel takes the process that asks for this as the first to kill for want of memory, so another one asks.
pub fn unmerge(machine: &Machine) -> Result<(), Obstacle> {
    let file = format!("{KSM}/run");
    let sharing = format!("{KSM}/pages_sharing");
    if machine.read(&file).is_ok_and(|run| run == run::UNMERGE) {
        // The kernel does nothing when it is told what is set already.
        let _ = machine.try_write(&file, run::STOP);
    }
    let mut calls = 0;
    let mut waiting = || {
        calls += 1;
        if calls % TELL_EVERY == 0 {
            let left = machine.number(&sharing).unwrap_or(0);
            machine
                .system
                .tell(&format!("unmerging: {} s, {left} pages to go", calls / 10));
        }
    };
    let result = machine
        .system
        .write_apart(&machine.path(&file), run::UNMERGE, &mut waiting);
    let Err(error) = result else { return Ok(()) };
    // The kernel has stopped the scanner itself unless the writer was ended before.
    if machine.read(&file).is_ok_and(|run| run == run::MERGE) {
        let _ = machine.try_write(&file, run::STOP);
    }
    Err(obstacle(&error, machine.system.take_interruption()))
}

fn obstacle(error: &io::Error, interrupted: bool) -> Obstacle {
    match error.raw_os_error() {
        _ if interrupted => Obstacle::Interrupted,
        Some(libc::EINTR) => Obstacle::Interrupted,
        Some(libc::ENOMEM) => {
            Obstacle::Memory("there is not enough memory to unmerge everything".to_owned())
        }
        // ERESTARTSYS is told to nobody but a debugger: the writer had a signal that ended it.
        None => Obstacle::Memory(format!("unmerging was {error}")),
        Some(_) => Obstacle::Other(format!("cannot write 2 to {KSM}/run: {error}")),
    }
}

impl Obstacle {
    /// For a command that cannot go on.
    pub fn into_failure(self) -> Failure {
        match self {
            Obstacle::Memory(text) => Failure::new(text)
                .remedy("free some memory or add swap (pages_sharing in /sys/kernel/mm/ksm tells how many pages), then try again"),
            Obstacle::Interrupted => Failure::new("interrupted while unmerging"),
            Obstacle::Other(text) => Failure::new(text),
        }
    }
}

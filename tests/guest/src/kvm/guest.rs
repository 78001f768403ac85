// SPDX-License-Identifier: GPL-2.0

//! Processes that run one KVM guest each and take commands.

use super::machine::{Machine, Setup};
use crate::case::{fail, Outcome};
use crate::pagemap::{self, Entry};
use crate::region::Region;
use crate::worker::Worker;

/// A process with a KVM guest.
pub struct Guest {
    worker: Worker,
    addr: usize,
    pages: usize,
}

/// What it can be asked to do. A command travels as three words, the operation first.
mod operation {
    pub const VERIFY: u64 = 1;
    pub const GUEST_VERIFIES: u64 = 2;
    pub const WRITE: u64 = 3;
    pub const TOUCH: u64 = 4;
    pub const VERIFY_LOG: u64 = 5;
    pub const HAMMER: u64 = 6;
    pub const MIGRATE: u64 = 7;
    pub const UNMERGEABLE: u64 = 8;
    pub const CLEAR_LOG: u64 = 9;
    pub const QUIT: u64 = 10;
}

impl Guest {
    /// Starts a process with a guest whose memory, page `i` named by `seed(i)`, is mergeable.
    pub fn start(setup: Setup, seed: impl Fn(usize) -> u64) -> Outcome<Guest> {
        let mut worker = Worker::start("process with a KVM guest", |steps| {
            let mut machine = Machine::new(setup, seed)?;
            machine.ram().mergeable()?;
            let mut operation = steps.step(machine.ram().addr() as u64)?;
            while operation != operation::QUIT {
                let words = [steps.step(0)?, steps.step(0)?];
                obey(&mut machine, operation, words)?;
                operation = steps.step(0)?;
            }
            Ok(())
        })?;
        let addr = worker.arrived()? as usize;
        Ok(Guest {
            worker,
            addr,
            pages: setup.pages,
        })
    }

    /// What the page tables of the process say of the guest's memory.
    pub fn pagemap(&self) -> Outcome<Vec<Entry>> {
        pagemap::of(self.worker.pid(), self.addr, self.pages)
    }

    /// Frames of the pages that are present.
    pub fn frames(&self) -> Outcome<Vec<u64>> {
        Ok(pagemap::frames(&self.pagemap()?))
    }

    /// The guest reads all of its memory and finds what was written there; nobody else touches it.
    pub fn guest_verifies(&mut self) -> Outcome {
        self.command(operation::GUEST_VERIFIES, [0; 2])
    }

    /// The guest reads all of its memory, and so does its process.
    pub fn verify(&mut self) -> Outcome {
        self.guest_verifies()?;
        self.command(operation::VERIFY, [0; 2])
    }

    /// The guest writes page `index`.
    pub fn write(&mut self, index: usize, seed: u64) -> Outcome {
        self.command(operation::WRITE, [index as u64, seed])
    }

    /// The guest reads a byte of every page.
    pub fn touch(&mut self) -> Outcome {
        self.command(operation::TOUCH, [0; 2])
    }

    /// Empties the log of written pages.
    pub fn clear_log(&mut self) -> Outcome {
        self.command(operation::CLEAR_LOG, [0; 2])
    }

    /// Compares the log of written pages with what the guest has written since it was emptied or compared last.
    pub fn verify_log(&mut self) -> Outcome {
        self.command(operation::VERIFY_LOG, [0; 2])
    }

    /// Lets the guest begin to write random pages; [`Guest::rested`] waits for its end.
    pub fn hammer(&mut self, rounds: u64, random: u64) -> Outcome {
        self.begin(operation::HAMMER, [rounds, random])
    }

    /// Begins a live migration in which the guest goes on for `slices` times 500 writes.
    pub fn migrate(&mut self, slices: u64, random: u64) -> Outcome {
        self.begin(operation::MIGRATE, [slices, random])
    }

    /// Waits for the end of what was begun.
    pub fn rested(&mut self) -> Outcome {
        self.worker.arrived().map(drop)
    }

    /// The process takes its guest's memory out of merging.
    pub fn unmergeable(&mut self) -> Outcome {
        self.command(operation::UNMERGEABLE, [0; 2])
    }

    /// Verifies a last time and ends the process.
    pub fn finish(mut self) -> Outcome {
        self.verify()?;
        self.worker.go(operation::QUIT)?;
        self.worker.ended()
    }

    fn begin(&mut self, operation: u64, words: [u64; 2]) -> Outcome {
        self.worker.step(operation)?;
        self.worker.step(words[0])?;
        self.worker.go(words[1])
    }

    fn command(&mut self, operation: u64, words: [u64; 2]) -> Outcome {
        self.begin(operation, words)?;
        self.rested()
    }
}

/// The process's side of a command.
fn obey(machine: &mut Machine, operation: u64, words: [u64; 2]) -> Outcome {
    match operation {
        operation::VERIFY => machine.verify(),
        operation::GUEST_VERIFIES => machine.guest_verifies(),
        operation::WRITE => machine.guest_writes(words[0] as usize, words[1]),
        operation::TOUCH => machine.guest_touches(),
        operation::VERIFY_LOG => machine.verify_log(),
        operation::CLEAR_LOG => machine.clear_log(),
        operation::HAMMER => {
            machine.guest_hammers(words[0], words[1])?;
            machine.verify()
        }
        operation::MIGRATE => {
            let target = Region::map(machine.ram().pages())?;
            machine.migrate(&target, words[0], 500, words[1])
        }
        operation::UNMERGEABLE => machine.ram().unmergeable(),
        other => fail(format!("unknown operation {other}")),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! One of the processes that hold mostly the same data.

use std::io::BufRead;

use crate::memory::{Memory, PAGE};
use crate::Result;

/// Pages that every process has the same of.
pub const COMMON: usize = (56 << 20) / PAGE;
/// Pages that only it has.
pub const OWN: usize = (16 << 20) / PAGE;
/// Every so many common pages one is written to.
pub const WRITTEN: usize = 4;

/// A process and its memory.
struct Worker {
    index: u64,
    memory: Memory,
    written: bool,
}

/// Does what is asked for on standard input, a word a line, and answers each with `ok NUMBER` or `error TEXT`.
pub fn serve(index: usize) -> Result {
    let memory = Memory::map(COMMON + OWN)?;
    memory.make_mergeable()?;
    let mut worker = Worker {
        index: index as u64 + 1,
        memory,
        written: false,
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("cannot read what to do: {error}"))?;
        match worker.obey(&line) {
            Ok(number) => println!("ok {number}"),
            Err(text) => println!("error process {index}: {text}"),
        }
    }
    Ok(())
}

impl Worker {
    fn obey(&mut self, order: &str) -> Result<u64> {
        match order {
            "fill" => self
                .pages()
                .for_each(|page| self.memory.fill(page, self.seed(page))),
            "read" => self.pages().for_each(|page| {
                self.memory.get(page, 0);
            }),
            "write" => {
                let changed = self.pages().filter(|page| is_written(*page));
                changed.for_each(|page| self.memory.put(page, place(page), self.mark(page)));
                self.written = true;
            }
            "verify" => self.pages().try_for_each(|page| self.verify(page))?,
            other => return Err(format!("nobody knows how to '{other}'")),
        }
        Ok(((COMMON + OWN) * PAGE) as u64)
    }

    fn verify(&self, page: usize) -> Result {
        let changed = (self.written && is_written(page)).then(|| (place(page), self.mark(page)));
        self.memory.verify(page, self.seed(page), changed)
    }

    fn pages(&self) -> std::ops::Range<usize> {
        0..COMMON + OWN
    }

    /// Names the content of a page.
    fn seed(&self, page: usize) -> u64 {
        let owner = if page < COMMON { 0 } else { self.index };
        owner << 32 | (page as u64 + 1)
    }

    /// What this process writes into a common page.
    fn mark(&self, page: usize) -> u64 {
        self.index << 48 | page as u64
    }
}

fn is_written(page: usize) -> bool {
    page < COMMON && page % WRITTEN == 0
}

/// Which word of the page is written: not always the same.
fn place(page: usize) -> usize {
    page / WRITTEN % (PAGE / 8)
}

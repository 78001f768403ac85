// SPDX-License-Identifier: GPL-2.0

//! A program that needs memory, so that others are pushed out to swap.

use std::io::BufRead;

use crate::memory::{Memory, PAGE};
use crate::Result;

/// Pages taken at a time.
pub const STEP: usize = (4 << 20) / PAGE;

/// Takes more memory for every `more` on standard input; anything else gives all of it back.
pub fn serve() -> Result {
    // Should memory really run out, this is what can be missed.
    std::fs::write("/proc/self/oom_score_adj", "1000")
        .map_err(|error| format!("cannot offer itself to the kernel: {error}"))?;
    let mut taken = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| format!("cannot read what to do: {error}"))?;
        if line != "more" {
            taken.clear();
            println!("ok 0");
            continue;
        }
        let memory = Memory::map(STEP)?;
        for page in 0..STEP {
            let number = taken.len() * STEP + page;
            memory.fill(page, u64::from(u32::MAX) << 20 | number as u64);
        }
        taken.push(memory);
        println!("ok {}", taken.len() * STEP * PAGE);
    }
    Ok(())
}

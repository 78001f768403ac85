// SPDX-License-Identifier: GPL-2.0

//! The view while it happens: one line that changes on a terminal, else a line every few seconds.

use std::io::{stderr, IsTerminal, Write};

use demo_guest::record::{Record, Sample};

const LINE_EVERY_MS: u64 = 5000;
const BAR: u64 = 24;

/// What is on the screen.
pub struct Live {
    terminal: bool,
    memory: u64,
    told_ms: u64,
}

impl Live {
    pub fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            memory: 1,
            told_ms: 0,
        }
    }

    /// Shows a record that has just come.
    pub fn show(&mut self, record: &Record) {
        match record {
            Record::Start(start) => {
                self.memory = start.memory.max(1);
                let (mib, swap) = (start.memory >> 10, start.swap >> 10);
                self.line(&format!(
                    "Linux {}, {mib} MiB of memory, {swap} MiB of swap",
                    start.kernel
                ));
            }
            Record::Step(step) => self.line(&format!("[{}] {}", step.name, step.text)),
            Record::Sample(sample) => self.sample(sample),
            Record::Done(done) if done.verified_bytes > 0 => {
                self.line(&format!(
                    "  {} MiB compared, all as it must be",
                    done.verified_bytes >> 20
                ));
            }
            _ => {}
        }
    }

    /// Leaves the changing line.
    pub fn end(&self) {
        self.line("");
    }

    fn sample(&mut self, sample: &Sample) {
        let filled = (sample.anonymous * BAR / self.memory).min(BAR) as usize;
        let bar = format!(
            "{}{}",
            "#".repeat(filled),
            ".".repeat(BAR as usize - filled)
        );
        let text = format!(
            "{:5.1} s  memory [{bar}] {:3} MiB  swap {:3} MiB  merged {} x {}",
            sample.time_ms as f64 / 1000.0,
            sample.anonymous >> 10,
            sample.swapped >> 10,
            sample.pages_shared,
            if sample.pages_shared == 0 {
                0
            } else {
                1 + sample.pages_sharing / sample.pages_shared
            },
        );
        if self.terminal {
            eprint!("\r\x1b[K  {text}");
            let _ = stderr().flush();
        } else if sample.time_ms >= self.told_ms + LINE_EVERY_MS {
            self.told_ms = sample.time_ms;
            eprintln!("  {text}");
        }
    }

    fn line(&self, text: &str) {
        if self.terminal {
            eprintln!("\r\x1b[K{text}");
        } else if !text.is_empty() {
            eprintln!("{text}");
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Output in the kernel's test anything protocol, version 1.

use std::io::Write;
use std::time::Duration;

use crate::case::{Outcome, Stop};

/// The report under way.
pub struct Report {
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    /// Announces `count` cases.
    pub fn start(count: usize) -> Report {
        line("KTAP version 1");
        line(&format!("1..{count}"));
        Report {
            number: 0,
            passed: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Tells how a case ended.
    pub fn result(&mut self, name: &str, outcome: &Outcome, took: Duration) {
        self.number += 1;
        for text in remarks(outcome) {
            line(&format!("# {name}: {text}"));
        }
        line(&format!("# {name}: took {:.1} s", took.as_secs_f32()));
        match outcome {
            Ok(()) => self.passed += 1,
            Err(Stop::Fail(_)) => self.failed += 1,
            Err(Stop::Skip(_)) => self.skipped += 1,
        }
        line(&verdict(self.number, name, outcome));
    }

    /// Prints the totals; true when nothing failed.
    pub fn finish(self) -> bool {
        line(&format!(
            "# Totals: pass:{} fail:{} skip:{}",
            self.passed, self.failed, self.skipped
        ));
        self.failed == 0
    }
}

/// The result line.
fn verdict(number: usize, name: &str, outcome: &Outcome) -> String {
    match outcome {
        Ok(()) => format!("ok {number} {name}"),
        Err(Stop::Fail(_)) => format!("not ok {number} {name}"),
        Err(Stop::Skip(why)) => format!("ok {number} {name} # SKIP {}", why.replace('\n', " ")),
    }
}

/// Lines that explain a failure.
fn remarks(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Err(Stop::Fail(text)) => text.lines().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Tells something of the case under way that is worth reading even if it passes.
pub fn tell(text: &str) {
    line(&format!("# tells {text}"));
}

/// Prints a line at once, so that nothing is lost when the machine dies.
fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // There is nowhere to complain when standard output is gone.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines() {
        assert_eq!(verdict(1, "a/b", &Ok(())), "ok 1 a/b");
        assert_eq!(
            verdict(2, "a/b", &Err(Stop::Fail("x".into()))),
            "not ok 2 a/b"
        );
        assert_eq!(
            verdict(3, "a/b", &Err(Stop::Skip("no\nx".into()))),
            "ok 3 a/b # SKIP no x"
        );
    }
}

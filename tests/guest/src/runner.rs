// SPDX-License-Identifier: GPL-2.0

//! Runs cases, each in a process of its own, with the knobs put back afterwards.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::case::{fail, Bench, Case, Context, Outcome};
use crate::coverage;
use crate::ktap::Report;
use crate::pipe::{self, Message};
use crate::sabotage::{self, Sabotage};
use crate::slow;
use crate::sys;

/// Runs `cases` and reports; true when none failed.
pub fn run(bench: &Bench, cases: &[&Case]) -> Outcome<bool> {
    // Processes whose parent dies come to us, so that none is left behind.
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0, 0, 0]).context("PR_SET_CHILD_SUBREAPER")?;
    let mut report = Report::start(cases.len());
    for case in cases {
        log(&format!("case {} starts", case.name));
        let start = Instant::now();
        let outcome = guarded(bench, case);
        report.result(case.name, &outcome, start.elapsed());
    }
    coverage::save()?;
    Ok(report.finish())
}

/// Runs one case between saving and restoring the knobs.
fn guarded(bench: &Bench, case: &Case) -> Outcome {
    if !bench.ksm.has("run") {
        return isolated(bench, case);
    }
    let saved = bench.ksm.save()?;
    let outcome = bench
        .ksm
        .reset()
        .context("preparing the knobs")
        .and_then(|()| isolated(bench, case));
    // A case may have unloaded the module, or loaded it, and so replaced the files.
    let restored = bench.ksm.restore(&saved).context("putting the knobs back");
    outcome.and(restored)
}

/// Runs one case in a child, kills all that is left of it.
fn isolated(bench: &Bench, case: &Case) -> Outcome {
    let (mut from, mut to) = pipe::pair()?;
    let pid = match sys::fork().context("fork")? {
        Some(pid) => pid,
        None => {
            drop(from);
            // SAFETY: a new process group for the case and all it starts.
            unsafe { libc::setpgid(0, 0) };
            let outcome = caught(bench, case);
            // If this fails the parent sees a closed pipe.
            let _ = to.done(&outcome);
            sys::exit(0)
        }
    };
    drop(to);
    let limit = slow::limit(Duration::from_secs(case.seconds + bench.race_seconds));
    let outcome = match from.ready(limit)? {
        true => match from.receive(slow::limit(Duration::from_secs(1)))? {
            Message::Done(outcome) => outcome,
            _ => fail("the test process died"),
        },
        false => fail(format!("hung: no end after {limit:?}; {}", stacks(pid))),
    };
    sys::kill(-pid, libc::SIGKILL);
    reap()?;
    outcome
}

/// Runs the case, a panic is a failure.
fn caught(bench: &Bench, case: &Case) -> Outcome {
    if sabotage::is(Sabotage::MergeAny) {
        crate::cases::merge_any()?;
    }
    match panic::catch_unwind(AssertUnwindSafe(|| (case.run)(bench))) {
        Ok(outcome) => outcome,
        Err(_) => fail("the test panicked, its message is on stderr"),
    }
}

/// Waits for every child to be gone.
fn reap() -> Outcome {
    let deadline = Instant::now() + slow::limit(Duration::from_secs(60));
    loop {
        match sys::waitpid(-1, true) {
            Err(error) if sys::is_errno(&error, libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error).context("waitpid"),
            Ok(Some(_)) => (),
            Ok(None) if Instant::now() > deadline => {
                return fail("killed processes do not go away: something hangs in the kernel")
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Kernel stacks of the processes of group `pgid`.
fn stacks(pgid: i32) -> String {
    let mut text = String::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let group = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(2));
        if group == Some(&pgid.to_string()) {
            let stack = fs::read_to_string(entry.path().join("stack")).unwrap_or_default();
            text += &format!("process {}:\n{stack}", entry.file_name().to_string_lossy());
        }
    }
    text
}

/// Puts a line in the kernel log, so that it tells which case a warning belongs to.
pub fn log(line: &str) {
    // Only a help for readers.
    let _ = fs::write("/dev/kmsg", format!("guest-tests: {line}\n"));
}

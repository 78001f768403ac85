// SPDX-License-Identifier: GPL-2.0

//! How a run ends, and with which exit code.

use std::process::ExitCode;

/// The command did not end in time.
pub const TIMED_OUT: u8 = 124;
/// The runner could not do its work.
pub const RUNNER_FAILED: u8 = 125;
/// The guest's kernel complained, or a check after the command failed.
pub const KERNEL_COMPLAINED: u8 = 126;
/// The guest ended without a result.
pub const GUEST_DIED: u8 = 127;

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code.
    pub code: u8,
    /// What went wrong, for people; empty when nothing did.
    pub reasons: Vec<String>,
}

/// What is known when the guest is gone.
#[derive(Debug, Default)]
pub struct Facts {
    /// The command's exit code, if it ended.
    pub exited: Option<u8>,
    /// The guest sent its last message.
    pub done: bool,
    /// Why the guest could not be set up, or the command not run.
    pub setup_failed: Option<String>,
    /// A limit that ran out, in words.
    pub timed_out: Option<String>,
    /// The kernel stood still or died before anything of swapksm's had run: the host was busy, or the translator ran a jump that the
    /// kernel was just patching ("Oops: int3", once in some thousand boots with two CPUs).
    pub failed_at_boot: bool,
    /// Something failed on the host while the guest ran.
    pub host_failed: Option<String>,
    /// Files that the guest could not send.
    pub files_failed: Vec<String>,
    /// Checks after the command that failed.
    pub checks_failed: Vec<String>,
    /// Lines of the guest's log that are a complaint.
    pub complaints: Vec<String>,
}

impl Facts {
    /// Did the guest end by itself, and too early?
    pub fn died(&self) -> bool {
        !self.done && self.timed_out.is_none() && self.host_failed.is_none()
    }

    /// Weighs the facts: what says most about the cause decides the code.
    pub fn outcome(self) -> Outcome {
        let mut reasons = Vec::new();
        if let Some(code) = self.exited.filter(|&code| code != 0) {
            reasons.push(format!("the command ended with exit code {code}"));
        }
        let complained = !self.complaints.is_empty() || !self.checks_failed.is_empty();
        let few = self.complaints.iter().take(10);
        reasons.extend(few.map(|line| format!("the guest's kernel complained: {line}")));
        if self.complaints.len() > 10 {
            reasons.push(format!(
                "… and {} more such lines",
                self.complaints.len() - 10
            ));
        }
        let died = self.died();
        let files_failed = !self.files_failed.is_empty();
        reasons.extend(self.checks_failed);
        reasons.extend(self.files_failed);
        reasons.extend(self.setup_failed.clone());
        reasons.extend(self.timed_out.clone());
        reasons.extend(self.host_failed.clone());
        if died {
            let what = if self.exited.is_some() {
                "after the command"
            } else {
                "before the command ended"
            };
            reasons.push(format!("the guest ended by itself {what}"));
        }
        let code = match self.exited {
            _ if self.host_failed.is_some() => RUNNER_FAILED,
            _ if complained => KERNEL_COMPLAINED,
            _ if self.timed_out.is_some() => TIMED_OUT,
            _ if self.setup_failed.is_some() => RUNNER_FAILED,
            _ if died => GUEST_DIED,
            // A command that failed may well have left no file.
            Some(0) if files_failed => RUNNER_FAILED,
            Some(code) => code,
            // A guest that only boots has no command and no exit code.
            None => 0,
        };
        Outcome { code, reasons }
    }
}

impl Outcome {
    /// The code for the shell.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_decides_when_all_is_well() {
        for code in [0, 1, 137] {
            let facts = Facts {
                exited: Some(code),
                done: true,
                ..Facts::default()
            };
            assert_eq!(facts.outcome().code, code);
        }
    }

    #[test]
    fn a_complaint_outweighs_success_failure_time_and_death() {
        for (exited, done, timed_out) in [
            (Some(0), true, None),
            (Some(1), true, None),
            (None, false, Some("t".to_owned())),
            (None, false, None),
        ] {
            let facts = Facts {
                exited,
                done,
                timed_out,
                complaints: vec!["BUG: x".into()],
                ..Facts::default()
            };
            let outcome = facts.outcome();
            assert_eq!(outcome.code, KERNEL_COMPLAINED);
            assert!(outcome
                .reasons
                .iter()
                .any(|reason| reason.contains("BUG: x")));
        }
    }

    #[test]
    fn every_other_end_has_its_code() {
        let timed_out = Facts {
            timed_out: Some("60 s".into()),
            ..Facts::default()
        };
        assert_eq!(timed_out.outcome().code, TIMED_OUT);
        let setup = Facts {
            setup_failed: Some("no zram".into()),
            done: true,
            ..Facts::default()
        };
        assert_eq!(setup.outcome().code, RUNNER_FAILED);
        assert_eq!(Facts::default().outcome().code, GUEST_DIED);
        // Powered off by the command's own hand after its exit was reported: no result of the checks.
        let half = Facts {
            exited: Some(0),
            ..Facts::default()
        };
        assert_eq!(half.outcome().code, GUEST_DIED);
        let file = Facts {
            exited: Some(0),
            done: true,
            files_failed: vec!["x".into()],
            ..Facts::default()
        };
        assert_eq!(file.outcome().code, RUNNER_FAILED);
        let checks = Facts {
            exited: Some(0),
            done: true,
            checks_failed: vec!["x".into()],
            ..Facts::default()
        };
        assert_eq!(checks.outcome().code, KERNEL_COMPLAINED);
    }
}

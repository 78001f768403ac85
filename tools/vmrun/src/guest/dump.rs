// SPDX-License-Identifier: GPL-2.0

//! What a guest that hangs can still tell.

use std::fs;
use std::path::{Path, PathBuf};

use super::{kmsg, processes};
use crate::common::frame::LOG_END;

/// The blocked tasks and the CPUs' stacks go to the kernel log; returned are the stacks of the
/// command's processes. The log ends with the same line as that of a whole run.
pub fn everything() -> String {
    // Tasks that are blocked, then what every CPU does.
    for key in ["w", "l"] {
        let _ = fs::write("/proc/sysrq-trigger", key);
    }
    let stacks = stacks(&processes::others());
    kmsg::write(LOG_END);
    stacks
}

/// Where these processes stand in the kernel.
pub fn stacks(processes: &[PathBuf]) -> String {
    let stacks: Vec<String> = processes
        .iter()
        .flat_map(|process| threads(process))
        .collect();
    format!(
        "where the guest's processes are:\n{}",
        stacks.concat().trim_end()
    )
}

fn threads(process: &Path) -> Vec<String> {
    let Ok(threads) = fs::read_dir(process.join("task")) else {
        return Vec::new();
    };
    threads
        .flatten()
        .map(|thread| describe(&thread.path()))
        .collect()
}

fn describe(thread: &Path) -> String {
    let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
    let status = read("status");
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or("")
            .trim()
            .to_owned()
    };
    let mut text = format!(
        "  {} {} {}\n",
        field("Pid:"),
        field("Name:"),
        field("State:")
    );
    for line in read("stack").lines() {
        text.push_str("    ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

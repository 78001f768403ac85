// SPDX-License-Identifier: GPL-2.0

//! Who has /dev/ksm or one of its areas open: an open file keeps the module.

use std::fs;

use crate::files;
use crate::machine::Machine;
use crate::processes;

/// `name (PID)` of every process that has one open. Files in flight between processes, or mapped ones, are not seen.
pub fn find(machine: &Machine) -> Vec<String> {
    let processes = processes::all(machine);
    processes
        .filter(|pid| has_open(machine, *pid))
        .map(|pid| processes::describe(machine, pid))
        .collect()
}

fn has_open(machine: &Machine, pid: u32) -> bool {
    let files = machine.list(&format!("{}/{pid}/fd", files::PROC));
    files
        .iter()
        .filter_map(|fd| fs::read_link(fd).ok())
        .any(|file| is_ours(&file.to_string_lossy()))
}

/// By what a link in /proc/PID/fd says. The device's file may have been removed since.
fn is_ours(link: &str) -> bool {
    link.trim_end_matches(" (deleted)") == "/dev/ksm" || link == "anon_inode:[ksm-area]"
}

// SPDX-License-Identifier: GPL-2.0

//! The processes of the guest other than the first one.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::sys;

/// Their directories in /proc; threads of the kernel are left out.
pub fn others() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_other = |pid: &str| pid.parse::<u32>().is_ok_and(|pid| pid != 1);
    let entries = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_other));
    entries
        .map(|entry| entry.path())
        .filter(|path| has_memory(path))
        .collect()
}

/// Ends all of them, and waits a while for it. Those that do not end are returned.
pub fn end_others() -> Vec<PathBuf> {
    sys::signal_all(libc::SIGKILL);
    // Half a minute: a kernel with checkers takes its time to free a million mappings.
    for _ in 0..1500 {
        while sys::reap().is_some() {}
        if others().is_empty() {
            return Vec::new();
        }
        sleep(Duration::from_millis(20));
    }
    others()
}

/// The kernel's threads, and processes that have ended, have no memory map.
fn has_memory(process: &Path) -> bool {
    fs::read_to_string(process.join("maps")).is_ok_and(|maps| !maps.is_empty())
}

// SPDX-License-Identifier: GPL-2.0

//! What is done after the command: files back to the host, then is the kernel still in order?

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::dump;
use super::modules;
use super::port::Port;
use super::processes;
use crate::common::frame::Frame;
use crate::common::job::{Job, Load, WORK_DIR};

/// Where a debug build of swapksm offers its self-check: writing runs it, reading tells the result.
const SELF_CHECKS: &[&str] = &[
    "/sys/kernel/mm/ksm/selfcheck",
    "/sys/kernel/debug/swapksm/selfcheck",
];

const CHUNK: usize = 256 * 1024;

/// Sends the files that were asked for; one that cannot be read fails the run.
pub fn send_files(job: &Job, port: &mut Port) {
    for name in &job.gets {
        let path = Path::new(WORK_DIR).join(name);
        if let Err(error) = send_file(&path, name.as_encoded_bytes(), port) {
            port.send(&Frame::FileFailed(format!(
                "--get: cannot read {} in the guest: {error}",
                path.display()
            )));
        }
    }
}

fn send_file(path: &PathBuf, name: &[u8], port: &mut Port) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK];
    // The first read comes before the frame, so that a directory is refused before a file is made.
    let mut length = file.read(&mut buffer)?;
    port.send(&Frame::FileStart(name.to_vec()));
    while length > 0 {
        port.send(&Frame::FileData(buffer[..length].to_vec()));
        length = file.read(&mut buffer)?;
    }
    port.send(&Frame::FileEnd);
    Ok(())
}

/// Runs every check that this kernel offers and reports each that fails.
pub fn check(job: &Job, port: &mut Port) {
    let mut report = |result: Result<(), String>| {
        if let Err(text) = result {
            port.send(&Frame::CheckFailed(text));
        }
    };
    report(self_check());
    report(all_ended());
    if job.load != Load::No {
        report(modules::unload_swapksm(job.load));
    }
    report(lockdep_still_on());
    if job.kmemleak {
        report(kmemleak());
    }
}

fn self_check() -> Result<(), String> {
    let Some(path) = SELF_CHECKS.iter().find(|path| Path::new(path).exists()) else {
        return Ok(());
    };
    // Whether it could run shows when the result is read.
    let _ = fs::write(path, "1");
    let result =
        fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    match result.trim_end() {
        "ok" => Ok(()),
        differences => Err(format!(
            "swapksm's self-check found differences:\n{differences}"
        )),
    }
}

/// What SIGKILL does not end hangs in the kernel.
fn all_ended() -> Result<(), String> {
    match processes::end_others() {
        left if left.is_empty() => Ok(()),
        left => Err(format!(
            "processes do not end by SIGKILL; {}",
            dump::stacks(&left)
        )),
    }
}

/// Lockdep turns itself off at its first report: off means that there was one.
fn lockdep_still_on() -> Result<(), String> {
    let Ok(stats) = fs::read_to_string("/proc/lockdep_stats") else {
        return Ok(());
    };
    match stats.lines().find_map(|line| line.trim().strip_prefix("debug_locks:")) {
        Some(value) if value.trim() == "0" => {
            Err("lockdep is off at the end (debug_locks 0 in /proc/lockdep_stats): something was reported".into())
        }
        _ => Ok(()),
    }
}

/// Two scans, because the first may still see a pointer to what has just been lost.
fn kmemleak() -> Result<(), String> {
    const FILE: &str = "/sys/kernel/debug/kmemleak";
    let scan = || {
        fs::write(FILE, "scan").map_err(|error| format!("cannot scan for leaks ({FILE}): {error}"))
    };
    scan()?;
    sleep(Duration::from_secs(5));
    scan()?;
    let leaks = fs::read_to_string(FILE).map_err(|error| format!("cannot read {FILE}: {error}"))?;
    match leaks.trim_end() {
        "" => Ok(()),
        leaks => Err(format!(
            "kmemleak found memory that nothing points to:\n{leaks}"
        )),
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Kernel modules: those of the kernel's own that the job needs, and swapksm.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::sys;
use crate::common::job::{Load, WORK_DIR};

/// How long the change over to the module's functions may take.
const TRANSITION_SECONDS: u64 = 60;

/// Loads the kernel's own modules in the order given.
pub fn load_all(paths: &[OsString]) -> Result<(), String> {
    paths
        .iter()
        .try_for_each(|path| load(&path.to_string_lossy()))
}

/// Takes samepage merging over.
pub fn load_swapksm(how: Load) -> Result<(), String> {
    match how {
        Load::No => return Ok(()),
        Load::Insmod => {
            load(&format!("{WORK_DIR}/swapksm.ko"))?;
            wait_for_transition()?;
        }
        Load::Ksmctl => ksmctl(&["load", "swapksm.ko"])?,
    }
    if is_loaded() {
        Ok(())
    } else {
        Err("swapksm was loaded without an error, but it is not there".into())
    }
}

/// Gives samepage merging back.
pub fn unload_swapksm(how: Load) -> Result<(), String> {
    match how {
        // Without ksmctl there is nothing that can unload safely; the machine goes off anyway.
        Load::No | Load::Insmod => Ok(()),
        // The command may have unloaded it already.
        Load::Ksmctl if !is_loaded() => Ok(()),
        Load::Ksmctl => ksmctl(&["unload"]),
    }
}

fn is_loaded() -> bool {
    Path::new("/sys/module/swapksm").exists()
}

fn load(path: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
    let compressed = [".xz", ".zst", ".gz"].iter().any(|end| path.ends_with(end));
    match sys::load_module(&file, compressed) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
            Err(format!("cannot load the kernel module {path}: {error}; the guest's log has the kernel's reason"))
        }
        _ => Ok(()),
    }
}

fn wait_for_transition() -> Result<(), String> {
    const FLAG: &str = "/sys/kernel/livepatch/swapksm/transition";
    for _ in 0..TRANSITION_SECONDS * 20 {
        match fs::read_to_string(FLAG) {
            Ok(text) if text.trim_end() == "1" => sleep(Duration::from_millis(50)),
            _ => return Ok(()),
        }
    }
    Err(format!("swapksm is loaded, but {FLAG} is still 1 after {TRANSITION_SECONDS} s: a task does not change over"))
}

fn ksmctl(arguments: &[&str]) -> Result<(), String> {
    let program = format!("{WORK_DIR}/ksmctl");
    let output = Command::new(&program)
        .args(arguments)
        .current_dir(WORK_DIR)
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(format!(
        "`ksmctl {}` failed ({}): {}",
        arguments.join(" "),
        output.status,
        said.trim_end()
    ))
}

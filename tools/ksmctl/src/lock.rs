// SPDX-License-Identifier: GPL-2.0

//! One `ksmctl` at a time changes the machine: a second one would take for the user's settings what the first has just set.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use crate::failure::{Failure, Outcome};
use crate::files::{LOCK, LOCK_DIRECTORY, PROC};
use crate::machine::Machine;

/// Keeps others away while it lives. The kernel lets go of it when the process has died, and with it the one that unmerges
/// for it.
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "closing it is what ends the lock")] File);

/// Keeps others away, or says who is at work.
pub fn take(machine: &Machine, command: &str) -> Outcome<Lock> {
    let cannot = |error: io::Error| {
        Failure::new(format!("cannot lock {LOCK}: {error}"))
            .remedy("ksmctl keeps a second one away by this file: see that root can write to it")
    };
    let mut file = open(machine).map_err(cannot)?;
    // SAFETY: The descriptor is open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let error = io::Error::last_os_error();
        return Err(if error.kind() == io::ErrorKind::WouldBlock {
            taken(machine, file)
        } else {
            cannot(error)
        });
    }
    // Only for the message of a second one.
    let _ = file
        .set_len(0)
        .and_then(|()| write!(file, "{} {command}", std::process::id()));
    Ok(Lock(file))
}

/// Only root may open it: whoever could read it could hold it.
fn open(machine: &Machine) -> io::Result<File> {
    let directory = machine.path(LOCK_DIRECTORY);
    if !fs::exists(&directory)? {
        DirBuilder::new().mode(0o755).create(&directory)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(machine.path(LOCK))
}

/// Who has it, from what it wrote there.
fn taken(machine: &Machine, mut file: File) -> Failure {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let what = match text.split_once(' ') {
        Some((pid, command)) if machine.has(&format!("{PROC}/{pid}")) => {
            format!("`ksmctl {command}` is at work (process {pid})")
        }
        Some((pid, command)) => format!(
            "`ksmctl {command}` (process {pid}) was ended by force, and its helper is still unmerging"
        ),
        None => "another ksmctl is at work".to_owned(),
    };
    Failure::new(what).remedy("try again when it has ended")
}

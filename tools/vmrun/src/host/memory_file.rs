// SPDX-License-Identifier: GPL-2.0

//! Files without a name that live in memory: nothing is left behind, however the runner ends.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

/// An empty one. `name` only shows in lists of open files.
pub fn new(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: the name is zero-terminated and lives until the call returns.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor has just been made and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// All that has been written to it, wherever its position is.
pub fn contents(file: &File) -> String {
    let mut bytes = vec![0; 64 * 1024];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

// SPDX-License-Identifier: GPL-2.0

//! Files in memory, without a name in any directory.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::FromRawFd;

use crate::case::{fail, Context, Outcome};
use crate::sys;

/// A file of `bytes` zero bytes; `name` is what /proc/PID/maps shows.
pub fn create(name: &str, bytes: usize) -> Outcome<File> {
    let name = CString::new(name).or_else(|_| fail("a name with a zero byte"))?;
    // SAFETY: a string that outlives the call.
    let fd = sys::check(unsafe { libc::memfd_create(name.as_ptr(), 0) }.into())
        .context("memfd_create")?;
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd as i32) };
    file.set_len(bytes as u64).context("ftruncate")?;
    Ok(file)
}

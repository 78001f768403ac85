// SPDX-License-Identifier: GPL-2.0

//! What the kernel says while something is done.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::case::{Context, Outcome};
use crate::sys;

const FILE: &str = "/dev/kmsg";
/// Longer than any line that the kernel gives out.
const LINE: usize = 8192;

/// The kernel's log from a moment on.
pub struct KernelLog(File);

impl KernelLog {
    /// What comes from now on.
    pub fn from_now() -> Outcome<KernelLog> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(FILE)
            .context(FILE)?;
        file.seek(SeekFrom::End(0)).context(FILE)?;
        Ok(KernelLog(file))
    }

    /// How many lines with `text` have come since the last look.
    pub fn count(&mut self, text: &str) -> Outcome<usize> {
        let (mut count, mut line) = (0, [0; LINE]);
        loop {
            match self.0.read(&mut line) {
                Ok(length) => {
                    let line = String::from_utf8_lossy(&line[..length]);
                    count += usize::from(line.contains(text));
                }
                Err(error) if sys::is_errno(&error, libc::EAGAIN) => return Ok(count),
                // Lines were overwritten before they were read.
                Err(error) if sys::is_errno(&error, libc::EPIPE) => (),
                Err(error) => return Err(error).context(FILE),
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A process that locks memory away, so that a machine large enough to fill the workers' memory becomes a small one.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use anyhow::{bail, Context, Result};

use crate::sys;

/// Locked memory; free again when dropped.
pub struct Hog(i32);

impl Hog {
    /// Locks `bytes` of memory.
    pub fn new(bytes: usize) -> Result<Hog> {
        let [out, into] = sys::pipe().context("pipe")?;
        // SAFETY: each end is wrapped once per process.
        let wrap = |fd| unsafe { fs::File::from_raw_fd(fd) };
        let Some(pid) = sys::fork().context("fork")? else {
            // Shared, so that it does not count as anonymous memory.
            let ready = sys::map(bytes, libc::MAP_SHARED).and_then(|start| sys::lock(start, bytes));
            let _ = wrap(into).write_all(&[u8::from(ready.is_ok())]);
            loop {
                sys::pause(1_000_000);
            }
        };
        let hog = Hog(pid);
        drop(wrap(into));
        let mut answer = [0];
        match wrap(out).read(&mut answer) {
            Ok(1) if answer[0] == 1 => Ok(hog),
            _ => bail!("{} MiB of memory could not be locked", bytes >> 20),
        }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        sys::kill(self.0);
        let _ = sys::wait(self.0);
    }
}

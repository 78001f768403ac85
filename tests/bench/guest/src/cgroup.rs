// SPDX-License-Identifier: GPL-2.0

//! The control group the workers live in, through which their memory is pushed out.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A group; removed when dropped, its processes must have ended by then.
pub struct Group(PathBuf);

impl Group {
    /// Makes the group.
    pub fn new() -> Result<Group> {
        let root = PathBuf::from("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+memory")
            .context("turning memory control on")?;
        let path = root.join("bench");
        fs::create_dir_all(&path).context("making a control group")?;
        Ok(Group(path))
    }

    /// Moves a process into it.
    pub fn add(&self, pid: i32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
            .context("moving a worker into the control group")
    }

    /// Asks for `bytes` to be reclaimed; that less came free is no error.
    pub fn reclaim(&self, bytes: usize) -> Result<()> {
        match fs::write(self.0.join("memory.reclaim"), bytes.to_string()) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
            other => other.context("memory.reclaim"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

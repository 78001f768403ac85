// SPDX-License-Identifier: GPL-2.0

//! A memory control group of the test's own, to push its pages out.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::case::{skip, Context, Outcome};
use crate::procfs;
use crate::sabotage::{self, Sabotage};

const ROOT: &str = "/sys/fs/cgroup";

/// A group; removed when dropped (it must be empty then).
pub struct Group(PathBuf);

impl Group {
    /// Makes a group and moves the calling process into it; processes it starts follow.
    pub fn enter(name: &str) -> Outcome<Group> {
        let group = Group::make(name)?;
        group.join()?;
        Ok(group)
    }

    /// Makes a group.
    pub fn make(name: &str) -> Outcome<Group> {
        let root = PathBuf::from(ROOT);
        if !root.join("cgroup.subtree_control").exists() {
            return skip("no version 2 control groups on /sys/fs/cgroup");
        }
        Group::make_in(root, &format!("guest-tests-{name}"))
    }

    /// Makes a group below this one, which must have no processes of its own.
    pub fn below(&self, name: &str) -> Outcome<Group> {
        Group::make_in(self.0.clone(), name)
    }

    fn make_in(above: PathBuf, name: &str) -> Outcome<Group> {
        fs::write(above.join("cgroup.subtree_control"), "+memory")
            .context("turning memory control on")?;
        let path = above.join(name);
        fs::create_dir_all(&path).context("making a control group")?;
        Ok(Group(path))
    }

    /// Removes the group, which must be empty of processes.
    pub fn remove(&self) -> Outcome {
        fs::remove_dir(&self.0).context("removing the control group")
    }

    /// The group's inode, by which the kernel names it elsewhere.
    pub fn inode(&self) -> Outcome<u64> {
        let metadata = fs::metadata(&self.0).context("the control group's folder")?;
        Ok(metadata.ino())
    }

    /// Writes `value` to one of the group's files.
    pub fn set(&self, file: &str, value: impl ToString) -> Outcome {
        if sabotage::is(Sabotage::NoLimit) {
            return Ok(());
        }
        fs::write(self.0.join(file), value.to_string()).context(file)
    }

    /// Lets the group have no more than `bytes`, even if it has more already: nothing is reclaimed and nobody killed for it
    /// before somebody wants more.
    pub fn close(&self, bytes: i64) -> Outcome {
        if sabotage::is(Sabotage::NoLimit) {
            return Ok(());
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.0.join("memory.max"))
            .context("memory.max")?;
        file.write_all(bytes.to_string().as_bytes())
            .context("memory.max")
    }

    /// Has CPUs give back what they keep for the group, so that what it is charged next is charged at once.
    pub fn drain(&self) -> Outcome {
        // Reclaims what it can, and kills nobody.
        self.set("memory.high", 0)?;
        // Each CPU comes to it by itself.
        std::thread::sleep(Duration::from_millis(200));
        self.set("memory.high", "max")
    }

    /// The number in one of the group's files.
    pub fn number(&self, file: &str) -> Outcome<i64> {
        procfs::number(&self.0.join(file).to_string_lossy())
    }

    /// Moves the calling process into the group.
    pub fn join(&self) -> Outcome {
        fs::write(self.0.join("cgroup.procs"), "0").context("entering the control group")
    }

    /// Takes the calling process out of the group; those it has started stay.
    pub fn leave(&self) -> Outcome {
        fs::write(format!("{ROOT}/cgroup.procs"), "0").context("leaving the control group")
    }

    /// Number of the group's `memory.events`.
    pub fn event(&self, key: &str) -> Outcome<i64> {
        self.field("memory.events", key)
    }

    /// Number of the group's `memory.stat`.
    pub fn stat(&self, key: &str) -> Outcome<i64> {
        self.field("memory.stat", key)
    }

    /// Whether all processes of the group are frozen.
    pub fn frozen(&self) -> Outcome<bool> {
        Ok(self.field("cgroup.events", "frozen")? == 1)
    }

    fn field(&self, file: &str, key: &str) -> Outcome<i64> {
        procfs::field(&self.0.join(file).display().to_string(), key)
    }

    /// Number of the group's `cgroup.stat`.
    pub fn descendants(&self, key: &str) -> Outcome<i64> {
        procfs::field(&self.0.join("cgroup.stat").display().to_string(), key)
    }

    /// Bytes of anonymous memory that are charged to the group.
    pub fn anon(&self) -> Outcome<i64> {
        self.stat("anon")
    }

    /// Asks for `bytes` to be reclaimed; that less came free is no error.
    pub fn reclaim(&self, bytes: usize) -> Outcome {
        if sabotage::is(Sabotage::NoReclaim) {
            return Ok(());
        }
        match fs::write(self.0.join("memory.reclaim"), bytes.to_string()) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
            other => other.context("memory.reclaim"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The next use makes it anew or takes it as it is.
        let _ = fs::write(format!("{ROOT}/cgroup.procs"), "0");
        let _ = fs::remove_dir(&self.0);
    }
}

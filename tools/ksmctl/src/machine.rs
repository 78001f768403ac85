// SPDX-License-Identifier: GPL-2.0

//! The machine this program works on: its files and its kernel.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::system::System;

/// A directory that looks like `/`, and the kernel behind it.
pub struct Machine {
    root: PathBuf,
    pub system: Box<dyn System>,
}

impl Machine {
    /// The machine whose files lie under `root`.
    pub fn new(root: PathBuf, system: Box<dyn System>) -> Self {
        Self { root, system }
    }

    /// Where `path` of that machine is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Is it there?
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Text of a file without the newline at its end.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path)).map(|text| text.trim_end().to_owned())
    }

    /// Number in a file; `None` when there is no such file or no number in it.
    pub fn number(&self, path: &str) -> Option<i64> {
        self.read(path).ok()?.parse().ok()
    }

    /// Entries of a directory; none when there is no such directory.
    pub fn list(&self, path: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .flatten();
        let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        entries
    }

    /// Writes a setting, the error as the kernel gave it.
    pub fn try_write(&self, path: &str, value: &str) -> io::Result<()> {
        self.system.write(&self.path(path), value)
    }

    /// Only root may do what `action` says.
    pub fn need_root(&self, action: &str) -> Outcome {
        if self.system.is_root() {
            return Ok(());
        }
        Err(Failure::new(format!("only root may {action}"))
            .remedy("run it again as root, for instance with sudo"))
    }

    /// Is the module there, in charge or not?
    pub fn is_loaded(&self) -> bool {
        self.has(files::MODULE)
    }
}

/// The last part of a path as text.
pub fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

// SPDX-License-Identifier: GPL-2.0

//! A setting of the kernel's, put back when dropped.

use std::fs;

use crate::case::{Context, Outcome};

/// A file of /proc/sys or /sys with another value than it had.
pub struct Setting {
    path: String,
    old: String,
}

impl Setting {
    /// Writes `value`.
    pub fn set(path: &str, value: &str) -> Outcome<Setting> {
        let old = fs::read_to_string(path).context(path)?;
        fs::write(path, value).context(format!("writing '{value}' to {path}"))?;
        Ok(Setting {
            path: path.to_owned(),
            old: old.trim().to_owned(),
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // Whoever needs another value sets it.
        let _ = fs::write(&self.path, &self.old);
    }
}

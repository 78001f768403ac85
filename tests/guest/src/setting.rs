// SPDX-License-Identifier: GPL-2.0

//! A setting of the kernel's, put back when dropped.

use std::fmt::Display;
use std::fs;

use crate::case::{Context, Outcome};

/// A file of /proc/sys or /sys with another value than it had.
pub struct Setting {
    path: String,
    old: String,
}

impl Setting {
    /// Writes `value`.
    pub fn set(path: &str, value: impl Display) -> Outcome<Setting> {
        let old = fs::read_to_string(path).context(path)?;
        Setting::set_for_now(path, value, old.trim())
    }

    /// Writes `value` to a file that shows more than what one writes to it; `old` is what it is put back to.
    pub fn set_for_now(path: &str, value: impl Display, old: &str) -> Outcome<Setting> {
        fs::write(path, value.to_string()).context(format!("writing '{value}' to {path}"))?;
        Ok(Setting {
            path: path.to_owned(),
            old: old.to_owned(),
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // Whoever needs another value sets it.
        let _ = fs::write(&self.path, &self.old);
    }
}

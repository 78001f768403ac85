// SPDX-License-Identifier: GPL-2.0

//! What the kernel tells and takes: /proc and /sys/kernel/mm/ksm.

use std::fs;

use crate::Result;

const KSM: &str = "/sys/kernel/mm/ksm";

/// A file of lines `key number …` or `key: number …`, read at one moment.
pub struct Table(String);

impl Table {
    pub fn read(path: &str) -> Result<Self> {
        fs::read_to_string(path)
            .map(Self)
            .map_err(|error| format!("cannot read {path}: {error}"))
    }

    /// The number after `key`; 0 when there is none.
    pub fn number(&self, key: &str) -> u64 {
        let lines = self.0.lines().map(str::split_whitespace);
        let found = lines.filter_map(|mut words| {
            (words.next()?.trim_end_matches(':') == key).then(|| words.next())?
        });
        found
            .last()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }
}

/// A number of the directory; 0 while the directory changes hands.
pub fn ksm(file: &str) -> u64 {
    let text = fs::read_to_string(format!("{KSM}/{file}")).unwrap_or_default();
    text.trim_end().parse().unwrap_or(0)
}

/// Changes a setting.
pub fn set_ksm(file: &str, value: &str) -> Result {
    let path = format!("{KSM}/{file}");
    fs::write(&path, value).map_err(|error| format!("cannot write {value} to {path}: {error}"))
}

/// The running kernel's release.
pub fn release() -> Result<String> {
    let path = "/proc/sys/kernel/osrelease";
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(text.trim_end().to_owned())
}

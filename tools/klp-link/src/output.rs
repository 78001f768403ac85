// SPDX-License-Identifier: GPL-2.0

//! Output files appear whole or not at all.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `bytes` to `path`, under another name until all of it is there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut part = OsString::from(path);
    part.push(".part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
        .inspect_err(|_| drop(std::fs::remove_file(&part)))
}

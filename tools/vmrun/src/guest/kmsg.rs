// SPDX-License-Identifier: GPL-2.0

//! Lines in the kernel log.

use std::fs::OpenOptions;
use std::io::Write;

/// Writes one line. Nobody is left to tell when that fails.
pub fn write(line: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<5>{line}\n").as_bytes());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The switch of samepage merging, `run`.

/// The scanner rests.
pub const STOP: &str = "0";
/// The scanner merges.
pub const MERGE: &str = "1";
/// The scanner rests and nothing is merged.
pub const UNMERGE: &str = "2";

/// What a value of the switch means.
pub fn meaning(run: &str) -> &'static str {
    match run {
        MERGE => "merging",
        STOP => "stopped, what is merged stays merged",
        UNMERGE => "stopped, everything unmerged",
        _ => "unknown",
    }
}

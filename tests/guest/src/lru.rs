// SPDX-License-Identifier: GPL-2.0

//! By which of its two ways the kernel chooses the pages to reclaim.

use std::fs;
use std::path::Path;

use crate::case::{Context, Outcome};
use crate::check_eq;
use crate::runner;

/// What of the generations is in use, as bits; kernels built without them lack it.
const ENABLED: &str = "/sys/kernel/mm/lru_gen/enabled";

/// Has the kernel reclaim by an active and an inactive list, as it does where the generations are switched off, until the
/// machine ends.
pub fn classic() -> Outcome {
    if Path::new(ENABLED).exists() {
        fs::write(ENABLED, "0").context(ENABLED)?;
        let now = fs::read_to_string(ENABLED).context(ENABLED)?;
        check_eq!(now.trim(), "0x0000", "{ENABLED} after 0 was written");
    }
    runner::log("pages are reclaimed by the classic lists");
    Ok(())
}

/// Whether the kernel reclaims by an active and an inactive list.
pub fn is_classic() -> bool {
    fs::read_to_string(ENABLED).map_or(true, |text| text.trim() == "0x0000")
}

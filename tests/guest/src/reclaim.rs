// SPDX-License-Identifier: GPL-2.0

//! Which of its two ways the kernel chooses pages to reclaim by.

use std::fs;

use crate::case::{Context, Outcome};
use crate::check_eq;

const GENERATIONS: &str = "/sys/kernel/mm/lru_gen/enabled";

/// From now on by the active and the inactive list, not by generations (MGLRU), which is what kernels start with that
/// have both. Each walks the mappings of a page in its own way. A kernel without the file has the lists alone.
pub fn by_lists() -> Outcome {
    if !fs::exists(GENERATIONS).context(GENERATIONS)? {
        return Ok(());
    }
    fs::write(GENERATIONS, "0").context(format!("writing 0 to {GENERATIONS}"))?;
    let state = fs::read_to_string(GENERATIONS).context(GENERATIONS)?;
    check_eq!(
        state.trim(),
        "0x0000",
        "{GENERATIONS} after 0 was written to it"
    );
    Ok(())
}

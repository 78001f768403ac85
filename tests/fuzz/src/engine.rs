// SPDX-License-Identifier: GPL-2.0

//! An engine that only keeps its settings: what `faces/sysfs.rs` asks the real one for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use kernel::prelude::*;

use crate::config::{CONFIG, RUN_UNMERGE};

pub(crate) const ITEM_SIZE: usize = 40;

/// Pages are shared: what depends on there being none is refused.
pub(crate) static SHARING: AtomicBool = AtomicBool::new(false);
/// The next request is interrupted.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Copy, Default)]
pub(crate) struct InSwap {
    pub(crate) nodes: u64,
    pub(crate) sharers: u64,
}

pub(crate) fn in_swap() -> InSwap {
    InSwap::default()
}

fn interrupted() -> Result {
    if INTERRUPTED.load(Relaxed) {
        Err(EINTR)
    } else {
        Ok(())
    }
}

pub(crate) fn set_run(run: u32) -> Result {
    if run > RUN_UNMERGE {
        return Err(EINVAL);
    }
    interrupted()?;
    CONFIG.run.store(run, Relaxed);
    Ok(())
}

pub(crate) fn set_merge_across_nodes(on: bool) -> Result {
    let is_set = (CONFIG.merge_across_nodes.load(Relaxed) != 0) == on;
    interrupted()?;
    if !is_set && SHARING.load(Relaxed) {
        return Err(EBUSY);
    }
    CONFIG.merge_across_nodes.store(u32::from(on), Relaxed);
    Ok(())
}

pub(crate) fn set_max_page_sharing(count: u32) -> Result {
    interrupted()?;
    if SHARING.load(Relaxed) {
        return Err(EBUSY);
    }
    CONFIG.max_page_sharing.store(count, Relaxed);
    Ok(())
}

pub(crate) fn sync() -> Result {
    interrupted()
}

pub(crate) fn settings_changed() {}

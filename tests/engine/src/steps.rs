// SPDX-License-Identifier: GPL-2.0

//! Single steps, for tests that want a certain order of things.

use std::time::{Duration, Instant};

use crate::{
    config::RUN_STOP,
    engine,
    machine::{
        fault::{advise, write},
        folio::Frame,
        mm::{mm_struct, Pte},
        reclaim::reclaim,
    },
};

/// What frame an mm's first page is in.
pub(crate) fn pfn(mm: &mm_struct) -> Option<u64> {
    mm.ptes()[0].pfn()
}

/// Reclaims the first page of an mm; its swap entry.
pub(crate) fn swap_out(mm: &mm_struct) -> u64 {
    let mut entry = None;
    until("in swap", || {
        if let Some(pfn) = pfn(mm) {
            reclaim(Frame::of_pfn(pfn).index());
        }
        if let Pte::Swap { entry: now, .. } = mm.ptes()[0] {
            entry = Some(now);
        }
        entry.is_some()
    });
    entry.expect("in swap")
}

/// Waits for what the engine's threads or chance will bring.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Two mms whose first pages, of content 1, are merged; the scanner is stopped.
pub(crate) fn merged_pair() -> (&'static mm_struct, &'static mm_struct) {
    let (one, two) = (mm_struct::new(None), mm_struct::new(None));
    for mm in [one, two] {
        advise(mm, true);
        assert!(write(mm, 0, 1).is_ok());
    }
    until("merged", || pfn(one).is_some() && pfn(one) == pfn(two));
    assert!(engine::set_run(RUN_STOP).is_ok());
    (one, two)
}

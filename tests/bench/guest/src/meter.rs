// SPDX-License-Identifier: GPL-2.0

//! Counters that only go up, read before and after a step; and what the machine's memory looks like at one moment.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::pagemap;
use crate::procfs;
use crate::worker::Worker;
use crate::{ksm, sys};

/// Events of `/proc/vmstat` that tell the cost of a step.
const EVENTS: &[&str] = &[
    "pswpin",
    "pswpout",
    "zswpin",
    "zswpout",
    "ksm_swpin_copy",
    "cow_ksm",
    "pgfault",
    "pgmajfault",
];
/// Counters of KSM that only go up; the last ones are swapksm's.
const KSM_EVENTS: &[&str] = &[
    "pages_scanned",
    "full_scans",
    "swapin_shared",
    "swapin_copied",
];
/// Numbers of KSM that go up and down; the last ones are swapksm's.
const KSM_STATE: &[&str] = &[
    "pages_shared",
    "pages_sharing",
    "pages_unshared",
    "nodes_swapped",
    "sharers_swapped",
];
/// Fields of `/proc/meminfo`, in KiB.
const MEMORY: &[(&str, &str)] = &[
    ("MemAvailable", "available_kib"),
    ("AnonPages", "anon_kib"),
    ("Slab", "slab_kib"),
    ("PageTables", "page_tables_kib"),
    ("SwapCached", "swap_cached_kib"),
];

/// Names of KSM's threads, the kernel's own and ours.
const KSM_THREADS: &[&str] = &["ksmd", "swapksmd"];

/// All counters at one moment.
struct Reading {
    values: Vec<(String, i64)>,
    at: Instant,
}

impl Reading {
    fn take() -> Result<Reading> {
        let mut values = vec![
            ("busy_ns".to_owned(), procfs::busy_ns()?),
            ("ksm_ns".to_owned(), procfs::task_ns(KSM_THREADS)?),
            ("kswapd_ns".to_owned(), procfs::task_ns(&["kswapd"])?),
        ];
        let events = procfs::fields("/proc/vmstat")?;
        values.extend(
            EVENTS
                .iter()
                .filter_map(|&name| Some((name.to_owned(), *events.get(name)?))),
        );
        values.extend(
            KSM_EVENTS
                .iter()
                .filter_map(|&name| Some((name.to_owned(), ksm::find(name)?))),
        );
        Ok(Reading {
            values,
            at: Instant::now(),
        })
    }
}

/// A step under way.
pub struct Meter(Reading);

impl Meter {
    /// The step begins.
    pub fn start() -> Result<Meter> {
        // The time of a task that runs is counted when it stops.
        sys::pause(1);
        Ok(Meter(Reading::take()?))
    }

    /// The step has ended, deferred work included: what it took.
    pub fn stop(self) -> Result<Map<String, Value>> {
        let elapsed = self.0.at.elapsed().as_nanos() as i64;
        ksm::sync()?;
        sys::pause(100);
        let now = Reading::take()?;
        let differences = now.values.into_iter().zip(self.0.values);
        let mut took: Map<String, Value> = differences
            .map(|((name, after), (_, before))| (name, (after - before).into()))
            .collect();
        took.insert("elapsed_ns".into(), elapsed.into());
        Ok(took)
    }
}

/// The state of memory, of KSM and of the workers' pages.
pub fn state(workers: &[Worker]) -> Result<Map<String, Value>> {
    let mut state = Map::new();
    let memory = procfs::fields("/proc/meminfo")?;
    for &(field, name) in MEMORY {
        state.insert(name.into(), memory.get(field).copied().into());
    }
    let swap = memory.get("SwapTotal").zip(memory.get("SwapFree"));
    state.insert(
        "swap_used_kib".into(),
        swap.map(|(total, free)| total - free).into(),
    );
    for &name in KSM_STATE {
        if let Some(value) = ksm::find(name) {
            state.insert(name.into(), value.into());
        }
    }
    let places = pagemap::places(workers)?;
    state.insert("present".into(), places.present.into());
    state.insert("frames".into(), places.frames.into());
    state.insert("merged_frames".into(), places.merged_frames.into());
    state.insert("swapped".into(), places.swapped.into());
    state.insert("slots".into(), places.slots.into());
    Ok(state)
}

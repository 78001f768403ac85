// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/ksm_stat` and its relatives.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::common::{merged_crowd, same};
use super::prctl;
use crate::case::{Bench, Case, Context, Outcome};
use crate::procfs::{ksm_merging_pages, ksm_stat, ksm_stat_flag, smaps, KERNELS_KEYS};
use crate::sharer;
use crate::sys;
use crate::wait;
use crate::worker::Worker;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "stat/merging_pages",
        "ksm_merging_pages counts each process's merged pages",
        merging_pages,
    ),
    Case::new(
        "stat/flags",
        "ksm_stat tells whether a process is mergeable and why",
        flags,
    ),
    Case::new(
        "stat/lines",
        "ksm_stat has the kernel's lines first, for the owner only; nothing for who has no memory",
        lines,
    ),
    Case::new("stat/smaps", "smaps shows merged pages", smaps_field),
    Case::new(
        "stat/profit",
        "general_profit and ksm_process_profit follow the merged pages",
        profit,
    ),
];

fn merging_pages(bench: &Bench) -> Outcome {
    const PAGES: i64 = 100;
    let mut sharers = merged_crowd(bench, 3, PAGES as usize)?;
    let sum = |sharers: &[sharer::Sharer]| {
        sharers
            .iter()
            .map(|sharer| ksm_merging_pages(sharer.pid()))
            .sum::<Outcome<i64>>()
    };
    for sharer in &sharers {
        check_eq!(ksm_merging_pages(sharer.pid())?, PAGES, "ksm_merging_pages");
        check_eq!(
            ksm_stat(sharer.pid(), "ksm_merging_pages")?,
            PAGES,
            "the same in ksm_stat"
        );
        check_eq!(
            ksm_stat(sharer.pid(), "ksm_rmap_items")?,
            PAGES,
            "ksm_rmap_items"
        );
        check_eq!(
            ksm_stat(sharer.pid(), "ksm_zero_pages")?,
            0,
            "ksm_zero_pages"
        );
    }
    let (shared, sharing) = (
        bench.ksm.number("pages_shared")?,
        bench.ksm.number("pages_sharing")?,
    );
    check_eq!(
        sum(&sharers)?,
        shared + sharing,
        "sum over the processes against the global counters"
    );
    for index in 0..40 {
        sharers[2].write(index, 0x8800 + index as u64)?;
    }
    bench.ksm.counter_becomes("pages_sharing", 2 * PAGES - 40)?;
    check_eq!(
        ksm_merging_pages(sharers[2].pid())?,
        PAGES - 40,
        "ksm_merging_pages after 40 writes"
    );
    bench.ksm.set("run", 2)?;
    check_eq!(sum(&sharers)?, 0, "sum after run 2");
    sharer::finish(sharers)
}

fn flags(_: &Bench) -> Outcome {
    let mut worker = Worker::start("process", |steps| {
        steps.step(0)?;
        let region = crate::region::Region::map(4)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(0)?;
        region.unmergeable()?;
        prctl::merge_any(true)?;
        steps.step(0)?;
        prctl::merge_any(false)?;
        steps.step(0).map(drop)
    })?;
    let pid = worker.pid();
    let now = || {
        Ok::<_, crate::case::Stop>((
            ksm_stat_flag(pid, "ksm_mergeable")?,
            ksm_stat_flag(pid, "ksm_merge_any")?,
        ))
    };
    worker.arrived()?;
    check_eq!(now()?, (false, false), "mergeable, merge_any at first");
    worker.step(0)?;
    check_eq!(now()?, (true, false), "mergeable, merge_any after madvise");
    worker.step(0)?;
    check_eq!(now()?, (true, true), "mergeable, merge_any after prctl");
    worker.step(0)?;
    check_eq!(
        now()?,
        (false, false),
        "mergeable, merge_any after both were undone"
    );
    worker.finish()
}

fn lines(bench: &Bench) -> Outcome {
    let path = |pid: i32| format!("/proc/{pid}/ksm_stat");
    let own = path(std::process::id() as i32);
    let text = fs::read_to_string(&own).context(&own)?;
    let found: Vec<&str> = text.lines().collect();
    let as_ever = KERNELS_KEYS
        .iter()
        .zip(&found)
        .all(|(key, line)| line.starts_with(key));
    check!(
        as_ever && found.len() >= KERNELS_KEYS.len(),
        "{own} begins otherwise than the kernel's: {found:?}"
    );
    for line in &found[KERNELS_KEYS.len()..] {
        let is_ours = line.strip_suffix(" 0").is_some_and(|key| {
            key.strip_prefix("swapksm_")
                .is_some_and(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
        });
        check!(
            is_ours && bench.ours(),
            "{own} of a process without merged pages: '{line}'"
        );
    }
    let mode = fs::metadata(&own).context(&own)?.permissions().mode() & 0o777;
    check_eq!(mode, 0o400, "mode of {own}");

    // A kernel thread has no memory, and who has exited has none any more.
    let kernel = path(2);
    let text = fs::read_to_string(&kernel).context(&kernel)?;
    check_eq!(text, "", "{kernel}, of a kernel thread");
    let Some(zombie) = sys::fork().context("fork")? else {
        sys::exit(0)
    };
    let ended = path(zombie);
    wait::until("the file of a process that has exited is empty", || {
        let text = fs::read_to_string(&ended).context(&ended)?;
        Ok((text.is_empty(), text))
    })?;
    sys::waitpid(zombie, false).context("waitpid")?;
    check!(
        fs::read_to_string(&ended).is_err(),
        "{ended} is still there when its process is gone"
    );
    Ok(())
}

fn smaps_field(bench: &Bench) -> Outcome {
    const PAGES: usize = 64;
    let sharers = merged_crowd(bench, 2, PAGES)?;
    for sharer in &sharers {
        let len = PAGES * 4096;
        check_eq!(
            smaps(sharer.pid(), sharer.addr(), len, "KSM")?,
            PAGES as i64 * 4,
            "KSM: in smaps"
        );
        check_eq!(
            smaps(sharer.pid(), sharer.addr(), len, "Anonymous")?,
            PAGES as i64 * 4,
            "Anonymous:"
        );
        check_eq!(
            smaps(sharer.pid(), sharer.addr(), len, "Rss")?,
            PAGES as i64 * 4,
            "Rss:"
        );
        check_eq!(
            smaps(sharer.pid(), sharer.addr(), len, "Pss")?,
            PAGES as i64 * 2,
            "Pss:"
        );
    }
    sharer::finish(sharers)
}

fn profit(bench: &Bench) -> Outcome {
    const PAGES: i64 = 256;
    let sharers = merged_crowd(bench, 4, PAGES as usize)?;
    let saved = 3 * PAGES * 4096;
    let profit = bench.ksm.number("general_profit")?;
    check!(
        profit > 0 && profit <= saved,
        "general_profit is {profit} with {saved} bytes saved"
    );
    for sharer in &sharers {
        let own = ksm_stat(sharer.pid(), "ksm_process_profit")?;
        check!(
            own > 0 && own <= PAGES * 4096,
            "ksm_process_profit is {own} with {PAGES} pages merged"
        );
    }
    sharer::finish(sharers)
}

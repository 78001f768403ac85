// SPDX-License-Identifier: GPL-2.0

//! The files of /sys/kernel/mm/ksm: one table.
//!
//! Names, permissions, ranges, defaults and error numbers of the files that the stock kernel has are the stock
//! kernel's. That includes which of them tell a number out of range (`ERANGE`) from a number that is none (`EINVAL`):
//! most say `EINVAL` to both. `Documentation/uapi.md` has every file with its meaning.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use kernel::{page::PAGE_SIZE, prelude::*, str::kstrtobool};

use super::text::Text;
use crate::{
    config::{ADVISOR_NONE, ADVISOR_SCAN_TIME, CONFIG},
    engine,
    stats::{STATS, SWAPINS},
    sys::sysfs::{self, parse_i32, parse_u32, parse_u64},
};

/// A file of the directory. Both functions run in the reader's or writer's context and may sleep.
struct File {
    name: &'static CStr,
    mode: u16,
    show: fn(&mut Text<'_>) -> Result,
    store: fn(&CStr) -> Result,
}

/// A file to read only.
const fn read_only(name: &'static CStr, show: fn(&mut Text<'_>) -> Result) -> File {
    File {
        name,
        mode: 0o444,
        show,
        store: |_| Err(EACCES),
    }
}

/// A file for root to read: to count costs time that others could take from the scanner.
const fn root_only(name: &'static CStr, show: fn(&mut Text<'_>) -> Result) -> File {
    File {
        mode: 0o400,
        ..read_only(name, show)
    }
}

/// A file to read and, for root, to write.
const fn setting(
    name: &'static CStr,
    show: fn(&mut Text<'_>) -> Result,
    store: fn(&CStr) -> Result,
) -> File {
    File {
        name,
        mode: 0o644,
        show,
        store,
    }
}

/// Shows one value on a line.
macro_rules! line {
    ($value:expr) => {
        |out| Ok(writeln!(out, "{}", $value)?)
    };
}

static FILES: &[File] = &[
    // The scanner.
    setting(c"run", line!(CONFIG.run.load(Relaxed)), |text| {
        engine::set_run(parse_u32(text).map_err(|_| EINVAL)?)
    }),
    setting(
        c"pages_to_scan",
        line!(CONFIG.pages_to_scan.load(Relaxed)),
        store_pages_to_scan,
    ),
    setting(
        c"sleep_millisecs",
        line!(CONFIG.sleep_millisecs()),
        |text| {
            CONFIG.set_sleep_millisecs(parse_u32(text).map_err(|_| EINVAL)?);
            engine::settings_changed();
            Ok(())
        },
    ),
    setting(c"sleep", line!(CONFIG.sleep_us.load(Relaxed)), |text| {
        let sleep_us = parse_u32(text).map_err(|_| EINVAL)?;
        CONFIG.sleep_us.store(u64::from(sleep_us), Relaxed);
        engine::settings_changed();
        Ok(())
    }),
    read_only(c"pages_scanned", line!(STATS.pages_scanned.get())),
    read_only(c"full_scans", line!(STATS.full_scans.get())),
    setting(
        c"smart_scan",
        line!(u32::from(CONFIG.smart_scan.load(Relaxed))),
        |text| {
            let on = kstrtobool(text).map_err(|_| EINVAL)?;
            CONFIG.smart_scan.store(on, Relaxed);
            Ok(())
        },
    ),
    read_only(c"pages_skipped", line!(STATS.pages_skipped.get())),
    // The advisor.
    setting(c"advisor_mode", line!(advisor_modes()), store_advisor_mode),
    setting(
        c"advisor_max_cpu",
        line!(CONFIG.advisor_max_cpu.load(Relaxed)),
        |text| {
            // Read as a long, kept as an int: the stock kernel cuts it too.
            let percent = parse_u64(text).map_err(|_| EINVAL)? as u32;
            CONFIG.advisor_max_cpu.store(percent, Relaxed);
            Ok(())
        },
    ),
    setting(
        c"advisor_min_pages_to_scan",
        line!(CONFIG.advisor_min_pages_to_scan.load(Relaxed)),
        |text| store_u64(&CONFIG.advisor_min_pages_to_scan, text, 0),
    ),
    setting(
        c"advisor_max_pages_to_scan",
        line!(CONFIG.advisor_max_pages_to_scan.load(Relaxed)),
        |text| store_u64(&CONFIG.advisor_max_pages_to_scan, text, 0),
    ),
    setting(
        c"advisor_target_scan_time",
        line!(CONFIG.advisor_target_scan_time.load(Relaxed)),
        |text| store_u64(&CONFIG.advisor_target_scan_time, text, 1),
    ),
    // What may be merged, and how often.
    #[cfg(CONFIG_NUMA)]
    setting(
        c"merge_across_nodes",
        line!(CONFIG.merge_across_nodes.load(Relaxed)),
        |text| match parse_u64(text)? {
            0 => engine::set_merge_across_nodes(false),
            1 => engine::set_merge_across_nodes(true),
            _ => Err(EINVAL),
        },
    ),
    setting(
        c"max_page_sharing",
        line!(CONFIG.max_page_sharing.load(Relaxed)),
        store_max_page_sharing,
    ),
    setting(
        c"use_zero_pages",
        line!(u32::from(CONFIG.use_zero_pages.load(Relaxed))),
        |text| {
            let on = kstrtobool(text).map_err(|_| EINVAL)?;
            CONFIG.use_zero_pages.store(on, Relaxed);
            Ok(())
        },
    ),
    setting(
        c"max_kernel_pages",
        line!(CONFIG.max_kernel_pages.load(Relaxed)),
        |text| store_u64(&CONFIG.max_kernel_pages, text, 0),
    ),
    setting(
        c"stable_node_chains_prune_millisecs",
        line!(CONFIG.prune_millisecs.load(Relaxed)),
        |text| store_u32(&CONFIG.prune_millisecs, text),
    ),
    // What has been merged.
    read_only(c"pages_shared", line!(STATS.pages_shared.get())),
    read_only(c"pages_sharing", line!(STATS.pages_sharing.get())),
    read_only(c"pages_unshared", line!(STATS.pages_unshared.get())),
    read_only(c"pages_volatile", line!(STATS.pages_volatile())),
    read_only(c"ksm_zero_pages", line!(sysfs::zero_pages())),
    read_only(
        c"general_profit",
        line!(STATS.profit(sysfs::zero_pages(), PAGE_SIZE, engine::ITEM_SIZE)),
    ),
    read_only(c"stable_node_chains", line!(STATS.chains.get())),
    read_only(c"stable_node_dups", line!(STATS.dups.get())),
    read_only(c"kernel_pages_allocated", line!(STATS.pages_shared.get())),
    read_only(c"merge_denied", line!(STATS.merge_denied.get())),
    read_only(c"nodeless_pages", line!(STATS.nodeless.get())),
    // Deferred work.
    read_only(c"pages_pending", line!(STATS.pending.get())),
    setting(c"sync", show_sync, |_| engine::sync()),
    // Swap.
    root_only(c"nodes_swapped", line!(engine::in_swap().nodes)),
    root_only(c"sharers_swapped", line!(engine::in_swap().sharers)),
    read_only(c"swapin_shared", line!(SWAPINS.shared.get())),
    read_only(c"swapin_copied", line!(SWAPINS.copied.get())),
    read_only(c"swapin_miss_unknown", line!(SWAPINS.miss_unknown.get())),
    read_only(c"swapin_miss_large", line!(SWAPINS.miss_large.get())),
    read_only(
        c"swapin_miss_exclusive",
        line!(SWAPINS.miss_exclusive.get()),
    ),
    read_only(c"swapin_miss_stale", line!(SWAPINS.miss_stale.get())),
    read_only(c"swapin_miss_hash", line!(SWAPINS.miss_hash.get())),
    // For the tests.
    #[cfg(swapksm_debug)]
    File {
        name: c"selfcheck",
        mode: 0o600,
        show: show_selfcheck,
        store: |_| engine::self_check(&mut Text::new(&mut [])).map(|_| ()),
    },
    #[cfg(swapksm_debug)]
    File {
        name: c"probe",
        mode: 0o600,
        show: super::probe::show,
        store: super::probe::store,
    },
];

const _: () = assert!(FILES.len() <= sysfs::MAX_FILES);

/// Creates the directory. The in-tree one must have been removed: `EEXIST`. May sleep.
pub(crate) fn create() -> Result {
    sysfs::create(FILES.iter().map(|file| (file.name, file.mode)))
}

/// Removes the directory. Waits for readers and writers of its files: hold no lock that they take. May sleep.
pub(crate) fn remove() {
    sysfs::remove();
}

/// Reads file number `id` into `buf` and says how many bytes that are. May sleep.
pub(crate) fn show(id: usize, buf: &mut [u8]) -> Result<usize> {
    let file = FILES.get(id).ok_or(ENOENT)?;
    let mut out = Text::new(buf);
    (file.show)(&mut out)?;
    Ok(out.finish())
}

/// Writes `text` to file number `id`. May sleep.
pub(crate) fn store(id: usize, text: &CStr) -> Result {
    (FILES.get(id).ok_or(ENOENT)?.store)(text)
}

fn store_u32(setting: &AtomicU32, text: &CStr) -> Result {
    setting.store(parse_u32(text).map_err(|_| EINVAL)?, Relaxed);
    Ok(())
}

fn store_u64(setting: &AtomicU64, text: &CStr, least: u64) -> Result {
    let value = parse_u64(text).map_err(|_| EINVAL)?;
    if value < least {
        return Err(EINVAL);
    }
    setting.store(value, Relaxed);
    Ok(())
}

fn store_pages_to_scan(text: &CStr) -> Result {
    let pages = parse_u32(text).map_err(|_| EINVAL)?;
    CONFIG.set_pages_to_scan(pages).map_err(|_| EINVAL)
}

fn store_max_page_sharing(text: &CStr) -> Result {
    // As an int, with the parser's own error: so does the stock kernel.
    let most = u32::try_from(parse_i32(text)?).map_err(|_| EINVAL)?;
    if most < 2 {
        return Err(EINVAL);
    }
    if CONFIG.max_page_sharing.load(Relaxed) == most {
        return Ok(());
    }
    engine::set_max_page_sharing(most)
}

/// The advisor's modes, the chosen one in brackets.
fn advisor_modes() -> &'static str {
    if CONFIG.advisor_mode.load(Relaxed) == ADVISOR_SCAN_TIME {
        "none [scan-time]"
    } else {
        "[none] scan-time"
    }
}

fn store_advisor_mode(text: &CStr) -> Result {
    let text = text.to_bytes();
    let mode = match text.strip_suffix(b"\n").unwrap_or(text) {
        b"scan-time" => ADVISOR_SCAN_TIME,
        b"none" => ADVISOR_NONE,
        _ => return Err(EINVAL),
    };
    CONFIG.set_advisor_mode(mode);
    Ok(())
}

/// Waits until no deferred work is left, then tells how much there is again. `ERESTARTSYS` on a signal.
fn show_sync(out: &mut Text<'_>) -> Result {
    engine::sync()?;
    Ok(writeln!(out, "{}", STATS.pending.get())?)
}

/// Checks, and shows what is wrong.
#[cfg(swapksm_debug)]
fn show_selfcheck(out: &mut Text<'_>) -> Result {
    if engine::self_check(out)? {
        out.clear();
        writeln!(out, "ok")?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! Reading what `ksmctl status` tells.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::report::{Merger, Process, Report};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::machine::{name_of, Machine};
use crate::processes;
use crate::transition::{self, Goal};

/// x86-64 has no other.
const PAGE_SIZE: u64 = 4096;

/// Reading it waits for deferred work: not for a look.
const NOT_READ: &[&str] = &["sync", "selfcheck", "probe"];

/// Everything.
pub fn report(machine: &Machine) -> Outcome<Report> {
    let merger = merger(machine);
    let waiting_for = match merger {
        Merger::Loading => transition::stragglers(machine, Goal::Module),
        Merger::Unloading => transition::stragglers(machine, Goal::Kernel),
        _ => Vec::new(),
    };
    if merger == Merger::None {
        return Err(
            Failure::new("this kernel has no samepage merging (no /sys/kernel/mm/ksm)")
                .remedy("use a kernel with CONFIG_KSM, such as Debian's"),
        );
    }
    let ksm = numbers(machine);
    let number = |file| ksm.get(file).copied().unwrap_or(0);
    let saved_bytes = (number("pages_sharing") + number("ksm_zero_pages")) * PAGE_SIZE as i64;
    Ok(Report {
        merger,
        module_loaded: machine.is_loaded(),
        waiting_for,
        page_size: PAGE_SIZE,
        advisor_mode: advisor(machine),
        ksm,
        saved_bytes,
        processes: registered(machine),
    })
}

fn merger(machine: &Machine) -> Merger {
    let changing = machine.number(files::TRANSITION) == Some(1);
    match machine.number(files::ENABLED) {
        _ if !machine.has(files::KSM) => Merger::None,
        Some(1) if changing => Merger::Loading,
        Some(0) if changing => Merger::Unloading,
        Some(1) => Merger::Swapksm,
        _ => Merger::Kernel,
    }
}

fn numbers(machine: &Machine) -> BTreeMap<String, i64> {
    let names = machine
        .list(files::KSM)
        .into_iter()
        .map(|path| name_of(&path));
    let names = names.filter(|name| !NOT_READ.contains(&name.as_str()));
    names
        .filter_map(|name| {
            Some((
                name.clone(),
                machine.number(&format!("{}/{name}", files::KSM))?,
            ))
        })
        .collect()
}

fn advisor(machine: &Machine) -> Option<String> {
    let modes = machine.read(&format!("{}/advisor_mode", files::KSM)).ok()?;
    modes
        .split_whitespace()
        .find_map(|mode| Some(mode.strip_prefix('[')?.strip_suffix(']')?.to_owned()))
}

/// `None`: not allowed to look at all of them.
fn registered(machine: &Machine) -> Option<Vec<Process>> {
    let mut found = Vec::new();
    for pid in processes::all(machine) {
        match machine.read(&format!("{}/{pid}/ksm_stat", files::PROC)) {
            Ok(stat) => found.extend(process(machine, pid, &stat)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            // It has just ended.
            Err(_) => {}
        }
    }
    found.sort_by_key(|process| (-process.merging_pages, process.pid));
    Some(found)
}

/// A process that takes part; `None` for all others.
fn process(machine: &Machine, pid: u32, stat: &str) -> Option<Process> {
    let value = |key: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches(':').trim())
    };
    let number = |key| value(key).and_then(|text| text.parse().ok()).unwrap_or(0);
    let process = Process {
        pid,
        name: processes::name(machine, pid),
        merging_pages: number("ksm_merging_pages"),
        zero_pages: number("ksm_zero_pages"),
        profit: number("ksm_process_profit"),
        merge_any: value("ksm_merge_any") == Some("yes"),
    };
    let takes_part = value("ksm_mergeable") == Some("yes")
        || process.merge_any
        || process.merging_pages != 0
        || process.zero_pages != 0;
    takes_part.then_some(process)
}

// SPDX-License-Identifier: GPL-2.0

//! One process, as its /proc/PID/ksm_stat tells of it.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::machine::Machine;
use crate::processes;

/// A process.
#[derive(Serialize)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    /// Something of it is mergeable.
    pub mergeable: bool,
    /// All its memory is, not only what it has asked for.
    pub merge_any: bool,
    /// Pages of it that are watched.
    pub items: i64,
    /// Pages of it that are merged, in memory or in swap.
    pub merging_pages: i64,
    /// Pages of it that are the kernel's zero page.
    pub zero_pages: i64,
    /// Bytes saved by it less bookkeeping.
    pub profit: i64,
    /// What swapksm tells besides; the kernel's own merging does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Swap>,
}

/// The lines that begin with `swapksm_`, by the rest of their name.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Swap(BTreeMap<String, i64>);

impl Swap {
    /// Merged pages of the process that are in swap.
    pub fn swapped(&self) -> i64 {
        self.number("sharers_swapped").unwrap_or(0)
    }

    /// The number of this name, if there is one.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }
}

impl Process {
    fn takes_part(&self) -> bool {
        self.mergeable || self.merge_any || self.merging_pages != 0 || self.zero_pages != 0
    }
}

/// Those that take part, who shares most first. `None`: not allowed to look at all of them.
pub fn registered(machine: &Machine) -> Option<Vec<Process>> {
    let mut found = Vec::new();
    for pid in processes::all(machine) {
        match stat(machine, pid) {
            Ok(stat) => found.extend(parse(machine, pid, &stat).filter(Process::takes_part)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
            // It has just ended.
            Err(_) => {}
        }
    }
    found.sort_by_key(|process| (-process.merging_pages, process.pid));
    Some(found)
}

/// The one that was asked for.
pub fn one(machine: &Machine, pid: u32) -> Outcome<Process> {
    let stat = stat(machine, pid).map_err(|error| refused(machine, pid, &error))?;
    parse(machine, pid, &stat).ok_or_else(|| {
        let who = processes::describe(machine, pid);
        Failure::new(format!("{who} has no memory that could be merged")).remedy(
            "it is a thread of the kernel's, or has just ended; `ksmctl status` lists who takes part",
        )
    })
}

fn stat(machine: &Machine, pid: u32) -> std::io::Result<String> {
    machine.read(&format!("{}/{pid}/ksm_stat", files::PROC))
}

fn refused(machine: &Machine, pid: u32, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(format!(
            "only root and the owner of {} may see its numbers",
            processes::describe(machine, pid)
        ))
        .remedy("run it again as one of these"),
        // Its directory is there and the file is not.
        ErrorKind::NotFound if machine.has(&format!("{}/{pid}", files::PROC)) => {
            Failure::new("this kernel has no samepage merging (no ksm_stat in /proc/PID)")
                .remedy("use a kernel with CONFIG_KSM, such as Debian's")
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Failure::new(format!("there is no process {pid}"))
                .remedy("`ksmctl status` lists the processes with mergeable memory")
        }
        _ => Failure::new(format!(
            "cannot read {}/{pid}/ksm_stat: {error}",
            files::PROC
        )),
    }
}

/// From the lines, each a key, with a colon or not, and a value. `None`: there are none, nor is there any memory.
fn parse(machine: &Machine, pid: u32, stat: &str) -> Option<Process> {
    let lines: BTreeMap<&str, &str> = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, value)| (key.trim_end_matches(':'), value.trim()))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let number = |key| lines.get(key).and_then(|text| text.parse().ok());
    let is = |key| lines.get(key) == Some(&"yes");
    let swap: BTreeMap<String, i64> = lines
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("swapksm_")?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    Some(Process {
        pid,
        name: processes::name(machine, pid),
        mergeable: is("ksm_mergeable"),
        merge_any: is("ksm_merge_any"),
        items: number("ksm_rmap_items").unwrap_or(0),
        merging_pages: number("ksm_merging_pages").unwrap_or(0),
        zero_pages: number("ksm_zero_pages").unwrap_or(0),
        profit: number("ksm_process_profit").unwrap_or(0),
        swap: (!swap.is_empty()).then_some(Swap(swap)),
    })
}

// SPDX-License-Identifier: GPL-2.0

//! Reading what `ksmctl status` tells.

use std::collections::BTreeMap;

use super::process;
use super::report::{Merger, Report};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::machine::{name_of, Machine};
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
        processes: process::registered(machine),
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

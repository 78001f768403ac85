// SPDX-License-Identifier: GPL-2.0

//! Processes as /proc lists them.

use crate::files::PROC;
use crate::machine::{name_of, Machine};

/// Every process, lowest number first.
pub fn all(machine: &Machine) -> impl Iterator<Item = u32> {
    numbers(machine, PROC)
}

/// Every thread of a process.
pub fn threads(machine: &Machine, pid: u32) -> impl Iterator<Item = u32> {
    numbers(machine, &format!("{PROC}/{pid}/task"))
}

/// A process or thread by its own name.
pub fn name(machine: &Machine, pid: u32) -> String {
    plain_name(machine, &format!("{PROC}/{pid}"))
}

/// The name that stands in a directory of /proc. Whoever chose it writes nothing else to a terminal by it.
pub fn plain_name(machine: &Machine, directory: &str) -> String {
    machine.read(&format!("{directory}/comm")).map_or_else(
        |_| "?".to_owned(),
        |name| name.replace(char::is_control, "?"),
    )
}

/// `name (PID)`
pub fn describe(machine: &Machine, pid: u32) -> String {
    format!("{} ({pid})", name(machine, pid))
}

fn numbers(machine: &Machine, directory: &str) -> impl Iterator<Item = u32> {
    let mut numbers: Vec<u32> = machine
        .list(directory)
        .iter()
        .filter_map(|path| name_of(path).parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.into_iter()
}

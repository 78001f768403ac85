// SPDX-License-Identifier: GPL-2.0

//! A machine that is put to sleep and wakes up, and processes that are frozen.

use std::fs;

use super::common::{frames_become, merged_crowd, same};
use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::cgroup::Group;
use crate::check_eq;
use crate::setting::Setting;
use crate::sharer::{self, Sharer};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "suspend/freezer",
        "all tasks are frozen and thawed; the scanner goes on",
        freezer,
    ),
    Case::new(
        "suspend/frozen_processes",
        "frozen processes are merged, unmerged and merged again",
        frozen_processes,
    ),
];

const PAGES: usize = 64;

/// Has suspend turn back after all tasks have been frozen for so many seconds. It goes no further here: QEMU's virtio port,
/// by which the runner talks with the guest, does not survive the suspending of devices.
pub fn only_freeze(seconds: u32) -> Outcome<[Setting; 2]> {
    const LEVEL: &str = "/sys/power/pm_test";
    const DELAY: &str = "/sys/module/suspend/parameters/pm_test_delay";
    if fs::metadata(LEVEL).is_err() {
        return skip("this kernel cannot only try suspend (CONFIG_PM_DEBUG)");
    }
    Ok([
        Setting::set_for_now(LEVEL, "freezer", "none")?,
        Setting::set(DELAY, seconds)?,
    ])
}

/// Puts the machine to sleep.
pub fn suspend() -> Outcome {
    const STATE: &str = "/sys/power/state";
    fs::write(STATE, "freeze").context(format!("writing 'freeze' to {STATE}"))
}

fn freezer(bench: &Bench) -> Outcome {
    const FAILED: &str = "/sys/power/suspend_stats/failed_freeze";
    let _short = only_freeze(1)?;
    let failed = fs::read_to_string(FAILED).unwrap_or_default();
    let mut sharers = merged_crowd(bench, 3, PAGES)?;
    suspend()?;
    sharer::verify(&mut sharers)?;
    frames_become(&sharers, PAGES)?;
    // At rest, too, its threads must come when they are called.
    bench.ksm.stop()?;
    suspend()?;
    bench.ksm.start()?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    check_eq!(
        fs::read_to_string(FAILED).unwrap_or_default(),
        failed,
        "times that a task could not be frozen"
    );
    sharer::finish(sharers)
}

fn frozen_processes(bench: &Bench) -> Outcome {
    let group = Group::enter("frozen")?;
    let frozen = Sharer::crowd(2, PAGES, same)?;
    group.leave()?;
    group.set("cgroup.freeze", 1)?;
    let result = around_frozen(bench, frozen, &group);
    let _ = group.set("cgroup.freeze", 0);
    result
}

fn around_frozen(bench: &Bench, mut frozen: Vec<Sharer>, group: &Group) -> Outcome {
    bench.ksm.start()?;
    frames_become(&frozen, PAGES)?;
    let mut awake = Sharer::start(PAGES, same)?;
    awake.write(3, 0x1234_5678)?;
    bench.ksm.set("run", 2)?;
    frames_become(&frozen, 2 * PAGES)?;
    bench.ksm.start()?;
    frames_become(&frozen, PAGES)?;
    group.set("cgroup.freeze", 0)?;
    sharer::verify(&mut frozen)?;
    awake.finish()?;
    sharer::finish(frozen)
}

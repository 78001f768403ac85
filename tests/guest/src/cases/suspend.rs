// SPDX-License-Identifier: GPL-2.0

//! A machine that is put to sleep and wakes up, and processes that are frozen.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::common::{frames_become, merged_crowd, same, self_check};
use super::swapping::{self, Crowd};
use super::takeover::Helper;
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::cgroup::Group;
use crate::check_eq;
use crate::kernel_log::KernelLog;
use crate::procfs;
use crate::setting::Setting;
use crate::sharer::{self, Sharer};
use crate::slow;
use crate::sys;

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
    Case::new(
        "suspend/to_idle",
        "the machine sleeps while pages are merged and out, with the scanner at work and at rest",
        to_idle,
    )
    .room(Room::Swap),
    Case::new(
        "suspend/to_disk",
        "the machine is written to swap, where merged pages are, and read back",
        to_disk,
    )
    .room(Room::Swap)
    .seconds(300),
];

const PAGES: usize = 64;
const STATE: &str = "/sys/power/state";

/// Has suspend turn back after all tasks have been frozen for so many seconds.
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
    freeze().context(format!("writing 'freeze' to {STATE}"))
}

/// The same, the error as the kernel gave it.
fn freeze() -> io::Result<()> {
    fs::write(STATE, "freeze")
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

/// The virtio port by which the runner talks with the guest, taken away for as long as this lives: QEMU would not open it again
/// after devices have slept (virtcons_restore() in drivers/char/virtio_console.c tells it so before it can hear the answer).
struct NoPort(Vec<String>);

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_console";

impl NoPort {
    fn new() -> Outcome<NoPort> {
        let mut away = NoPort(Vec::new());
        for entry in fs::read_dir(DRIVER).context(DRIVER)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("virtio") {
                fs::write(format!("{DRIVER}/unbind"), &name).context(name.clone())?;
                away.0.push(name);
            }
        }
        Ok(away)
    }
}

impl Drop for NoPort {
    fn drop(&mut self) {
        for device in &self.0 {
            // Without it the runner hears nothing any more, which it says itself.
            let _ = fs::write(format!("{DRIVER}/bind"), device);
        }
    }
}

/// Wakes the machine every so often while it lives: no device of QEMU's could.
fn waker() -> Outcome<Helper> {
    let parameters = format!("after_ms={}\0", 2000 * slow::factor());
    let parameters = CStr::from_bytes_until_nul(parameters.as_bytes()).unwrap_or_default();
    Helper::load(c"wake", parameters)
}

/// Sleeps until something wakes the machine.
fn sleep() -> Outcome {
    const SUCCESS: &str = "/sys/power/suspend_stats/success";
    const TRIES: u32 = 5;
    let slept = || procfs::number(SUCCESS);
    let before = slept()?;
    let _port = NoPort::new()?;
    let _waker = waker()?;
    for _ in 0..TRIES {
        match freeze() {
            // Waked before it slept.
            Err(error) if sys::is_errno(&error, libc::EBUSY) => continue,
            other => other.context("going to sleep")?,
        }
        check_eq!(slept()?, before + 1, "times that the machine has slept");
        return Ok(());
    }
    fail(format!("it did not fall asleep in {TRIES} tries"))
}

/// The scanner makes of the crowd, and of a newcomer, what it was.
fn merged_again(bench: &Bench, crowd: Crowd) -> Outcome {
    let mut sharers = crowd.into_sharers();
    frames_become(&sharers, PAGES)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    self_check(&bench.ksm)?;
    sharer::finish(sharers)
}

fn to_idle(bench: &Bench) -> Outcome {
    if !fs::read_to_string(STATE).is_ok_and(|states| states.contains("freeze")) {
        return skip("this kernel cannot sleep (CONFIG_SUSPEND)");
    }
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out_to(crowd.all() / 2)?;
    // At rest, and then at work.
    sleep()?;
    bench.ksm.start()?;
    sleep()?;
    crowd.verify()?;
    merged_again(bench, crowd)
}

/// Hibernation without the power off in between: the image is written to the swap device, read back and gone on with at once.
/// What the scanner or the reaper did after the image was made would not be known to the machine that goes on with it.
fn to_disk(bench: &Bench) -> Outcome {
    const HOW: &str = "/sys/power/disk";
    const RESTORED: &str = "Hibernation image restored successfully";
    let device = swapping::device()?;
    if !fs::read_to_string(HOW).is_ok_and(|ways| ways.contains("test_resume")) {
        return skip("this kernel cannot write itself to swap (CONFIG_HIBERNATION)");
    }
    if device.contains("zram") {
        return skip("zram is in the memory that is to be written");
    }
    let number = fs::metadata(&device).context(device.clone())?.rdev();
    let number = format!("{}:{}", libc::major(number), libc::minor(number));
    fs::write("/sys/power/resume", number).context("/sys/power/resume")?;
    let _how = Setting::set_for_now(HOW, "test_resume", "platform")?;
    let _small = Setting::set("/sys/power/image_size", 0)?;
    let _telling = Setting::set("/sys/power/pm_debug_messages", 1)?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    crowd.push_out_to(crowd.all() / 2)?;
    for at_work in [false, true] {
        if at_work {
            bench.ksm.start()?;
        }
        let mut log = KernelLog::from_now()?;
        let port = NoPort::new()?;
        fs::write(STATE, "disk").context(format!("writing 'disk' to {STATE}"))?;
        drop(port);
        check_eq!(log.count(RESTORED)?, 1, "images that were gone on with");
        crowd.verify()?;
    }
    merged_again(bench, crowd)
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

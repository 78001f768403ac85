// SPDX-License-Identifier: GPL-2.0

//! The file systems a program expects to find, and the sysctls the runner needs.

use std::fs;
use std::os::unix::fs::symlink;

use super::sys::mount;
use crate::common::job::WORK_DIR;

/// Without one of these nothing works: type, place, options.
const NEEDED: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
];

/// A kernel may be built without these.
const WELCOME: &[(&str, &str, &str)] = &[
    ("devpts", "/dev/pts", "mode=0620"),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("hugetlbfs", "/dev/hugepages", ""),
];

const SYSCTLS: &[(&str, &str)] = &[
    ("kernel/hostname", "vmrun"),
    ("kernel/sysrq", "1"),
    // Tests say a lot, and what is left out is what one looks for.
    ("kernel/printk_devkmsg", "on"),
    ("kernel/hung_task_timeout_secs", "90"),
    ("kernel/hung_task_check_interval_secs", "10"),
    ("kernel/hung_task_all_cpu_backtrace", "1"),
    // A task is really stuck when the watchdog says so: end the run at once, with the log.
    ("kernel/hung_task_panic", "1"),
    ("kernel/panic_on_rcu_stall", "1"),
];

/// Mounts everything.
pub fn mount_all() -> Result<(), String> {
    for (kind, place, options) in NEEDED {
        make_directory(place);
        mount(kind, place, options)?;
    }
    for (kind, place, options) in WELCOME {
        make_directory(place);
        let _ = mount(kind, place, options);
    }
    make_directory(WORK_DIR);
    for (link, target) in [("stdin", "0"), ("stdout", "1"), ("stderr", "2")] {
        let _ = symlink(format!("/proc/self/fd/{target}"), format!("/dev/{link}"));
    }
    let _ = symlink("/proc/self/fd", "/dev/fd");
    delegate_controllers();
    Ok(())
}

/// Sets what this kernel has of the sysctls.
pub fn set_sysctls() {
    for (name, value) in SYSCTLS {
        let _ = fs::write(format!("/proc/sys/{name}"), value);
    }
}

fn make_directory(path: &str) {
    let _ = fs::create_dir_all(path);
}

/// Lets a test make cgroups with limits right away.
fn delegate_controllers() {
    let Ok(controllers) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") else {
        return;
    };
    for controller in controllers.split_whitespace() {
        let _ = fs::write(
            "/sys/fs/cgroup/cgroup.subtree_control",
            format!("+{controller}"),
        );
    }
}

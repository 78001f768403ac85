// SPDX-License-Identifier: GPL-2.0

//! Where the kernel shows what this program reads and writes.

/// Settings and counters of samepage merging, whoever does it.
pub const KSM: &str = "/sys/kernel/mm/ksm";
/// There when the module is loaded.
pub const MODULE: &str = "/sys/module/swapksm";
/// How many hold the module.
pub const REFCNT: &str = "/sys/module/swapksm/refcnt";
/// There when the kernel can be patched while it runs.
pub const LIVEPATCH: &str = "/sys/kernel/livepatch";
/// There while the module is in charge, or on its way there or back.
pub const PATCH: &str = "/sys/kernel/livepatch/swapksm";
/// 1: the module's functions are called, or are going to be.
pub const ENABLED: &str = "/sys/kernel/livepatch/swapksm/enabled";
/// 1: some tasks have not changed over yet.
pub const TRANSITION: &str = "/sys/kernel/livepatch/swapksm/transition";
/// The kernel's log, a record for each read.
pub const KMSG: &str = "/dev/kmsg";
/// What does not outlive the machine's being on.
pub const LOCK_DIRECTORY: &str = "/run";
/// Held by the `ksmctl` that is at work.
pub const LOCK: &str = "/run/ksmctl.lock";
/// One directory for each process.
pub const PROC: &str = "/proc";

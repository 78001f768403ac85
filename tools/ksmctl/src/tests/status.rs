// SPDX-License-Identifier: GPL-2.0

//! `ksmctl status`

use super::fake::Fake;
use super::golden::check;
use crate::files;

/// The file of a process, by its numbers: of the kernel's lines, and ours if there are any.
fn stat(merging: i64, profit: i64, merge_any: bool, ours: &[(&str, i64)]) -> String {
    let yes_or_no = |is| if is { "yes" } else { "no" };
    let mut text = format!(
        "ksm_rmap_items {}\nksm_zero_pages 0\nksm_merging_pages {merging}\nksm_process_profit {profit}\n\
         ksm_merge_any: {}\nksm_mergeable: {}\n",
        merging * 2,
        yes_or_no(merge_any),
        yes_or_no(merging > 0),
    );
    for (key, value) in ours {
        text += &format!("swapksm_{key} {value}\n");
    }
    text
}

/// Lines of a process part of which is in swap.
const IN_SWAP: &[(&str, i64)] = &[
    ("sharers_swapped", 1300),
    ("nodes_swapped", 1024),
    ("swapin_shared", 52_428),
    ("swapin_copied", 3),
    ("swapin_miss_unknown", 3),
    ("swapin_miss_large", 16),
    ("swapin_miss_exclusive", 0),
    ("swapin_miss_stale", 1),
    ("swapin_miss_hash", 0),
];
const NOT_IN_SWAP: &[(&str, i64)] = &[
    ("sharers_swapped", 0),
    ("nodes_swapped", 0),
    ("swapin_shared", 0),
    ("swapin_copied", 0),
    ("swapin_miss_unknown", 0),
    ("swapin_miss_large", 0),
    ("swapin_miss_exclusive", 0),
    ("swapin_miss_stale", 0),
    ("swapin_miss_hash", 0),
];

/// A kernel that merges, with processes.
fn kernel(name: &str) -> Fake {
    Fake::kernel(name)
        .process(1, "systemd", &stat(0, 0, false, &[]))
        .process(2, "kthreadd", "")
        .process(
            701,
            "qemu-system-x86",
            &stat(16_384, 66_453_504, false, &[]),
        )
        .process(702, "firefox", &stat(16_384, -6_400, true, &[]))
}

/// The module in charge, with a part of the merged memory in swap.
fn swapksm(name: &str) -> Fake {
    Fake::swapksm(name)
        .set("run", "1")
        .set("advisor_mode", "none [scan-time]")
        .set("pages_shared", "4096")
        .set("pages_sharing", "28672")
        .set("general_profit", "115200000")
        .set("pages_pending", "17")
        .set("nodes_swapped", "1024")
        .set("sharers_swapped", "9000")
        .set("swapin_shared", "123456")
        .set("swapin_copied", "3")
        .process(1, "systemd", &stat(0, 0, false, NOT_IN_SWAP))
        .process(2, "kthreadd", "")
        .process(
            701,
            "qemu-system-x86",
            &stat(16_384, 66_453_504, false, IN_SWAP),
        )
        .process(1702, "firefox", &stat(512, -6_400, true, NOT_IN_SWAP))
}

#[test]
fn of_the_kernel() {
    check("status-kernel", &kernel("of_the_kernel"), "ksmctl status");
}

#[test]
fn of_swapksm() {
    check("status-swapksm", &swapksm("of_swapksm"), "ksmctl status");
}

#[test]
fn as_json() {
    check("status-json", &swapksm("as_json"), "ksmctl status --json");
}

#[test]
fn after_the_module_has_handed_back() {
    let fake = Fake::kernel("handed_back").module_left();
    check("status-handed-back", &fake, "ksmctl status");
}

#[test]
fn while_tasks_change_over() {
    let loading = swapksm("loading").changing("1", &[1702]);
    check("status-loading", &loading, "ksmctl status");
    let unloading = swapksm("unloading").changing("0", &[701, 1702]);
    check("status-unloading", &unloading, "ksmctl status");
}

#[test]
fn of_many_processes() {
    let mut fake = swapksm("many");
    for pid in 2000..2015 {
        let text = stat(i64::from(pid), i64::from(pid) * 4096, false, NOT_IN_SWAP);
        fake = fake.process(pid, "worker", &text);
    }
    check("status-many", &fake, "ksmctl status");
}

#[test]
fn without_samepage_merging() {
    let fake = Fake::kernel("without").without(files::KSM);
    check("status-without", &fake, "ksmctl status");
}

#[test]
fn of_one_process() {
    let ours = swapksm("one");
    check("status-pid", &ours, "ksmctl status --pid 701");
    check("status-pid-json", &ours, "ksmctl status --pid 701 --json");
    check("status-pid-all-memory", &ours, "ksmctl status --pid 1702");
    check("status-pid-not-mergeable", &ours, "ksmctl status --pid 1");
    check("status-pid-kernel-thread", &ours, "ksmctl status --pid 2");
    check("status-pid-nobody", &ours, "ksmctl status --pid 4242");
    let kernel = kernel("one_of_the_kernel");
    check("status-pid-kernel", &kernel, "ksmctl status --pid 701");
    let without = kernel.without("/proc/701/ksm_stat");
    check("status-pid-without", &without, "ksmctl status --pid 701");
}

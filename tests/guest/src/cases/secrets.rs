// SPDX-License-Identifier: GPL-2.0

//! What must not be told: where things are in the kernel's memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::merged_crowd;
use crate::case::{Bench, Case, Context, Outcome};
use crate::ksm::DIRECTORY;
use crate::sharer;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "secrets/no_kernel_addresses",
        "no output of swapksm tells an address of the kernel's",
        no_addresses,
    ),
    Case::new(
        "secrets/only_for_root",
        "what tells of single pages, and what changes anything, is closed to others",
        only_for_root,
    ),
    Case::new(
        "secrets/ksmctl_of_others",
        "what ksmctl answers to who is not root",
        ksmctl_of_others,
    ),
];

/// The first word of `text` that is an address of the kernel's, in hexadecimal or decimal.
fn kernel_address(text: &str) -> Option<&str> {
    let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.find(|word| {
        let digits = word.trim_start_matches("0x");
        // The last page is that of error numbers and masks.
        let is_high = |value: u64| value >> 47 == 0x1_ffff && value < u64::MAX - 4096;
        let hex = digits.len() == 16 && u64::from_str_radix(digits, 16).is_ok_and(is_high);
        hex || word.parse().is_ok_and(is_high)
    })
}

/// Every file below `path`, but those that the kernel makes for every module.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let kernels_own = ["sections", "notes", "holders"]
            .iter()
            .any(|own| name == *own);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !kernels_own => files(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => (),
        }
    }
}

/// What a command says on both of its outputs.
fn said(command: &str, arguments: &[&str]) -> String {
    match Command::new(command).args(arguments).output() {
        Ok(output) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into(),
        Err(_) => String::new(),
    }
}

/// Every output there is, with its name.
fn outputs(pids: &[i32]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for place in [
        DIRECTORY,
        "/sys/module/swapksm",
        "/sys/kernel/livepatch/swapksm",
        "/sys/kernel/debug/swapksm",
    ] {
        files(Path::new(place), &mut paths);
    }
    for pid in pids {
        for file in ["ksm_stat", "ksm_merging_pages"] {
            paths.push(format!("/proc/{pid}/{file}").into());
        }
    }
    let mut found: Vec<(String, String)> = paths
        .iter()
        .filter_map(|path| Some((path.display().to_string(), fs::read_to_string(path).ok()?)))
        .collect();
    let log = said("dmesg", &[]);
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("swapksm"))
        .collect();
    found.push(("the kernel's log".into(), lines.join("\n")));
    let pid = pids[0].to_string();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--pid", &pid],
        &["status", "--pid", &pid, "--json"],
        &["status", "--help"],
        &["load", "swapksm.ko"],
    ] {
        let name = format!("ksmctl {}", arguments.join(" "));
        found.push((name, said("./ksmctl", arguments)));
    }
    found
}

fn no_addresses(bench: &Bench) -> Outcome {
    bench.only_ours("outputs of swapksm's")?;
    let mut sharers = merged_crowd(bench, 3, 64)?;
    bench.ksm.set("use_zero_pages", 1)?;
    sharers[0].write(1, 0)?;
    sharers[1].fork()?;
    bench.ksm.passes(1)?;
    let pids: Vec<i32> = sharers.iter().map(sharer::Sharer::pid).collect();
    if bench.ksm.has("probe") {
        bench
            .ksm
            .set("probe", format!("{} {:x}", pids[0], sharers[0].addr()))?;
    }
    let outputs = outputs(&pids);
    check!(
        outputs.len() > 40,
        "only {} outputs were found: this case has not looked everywhere",
        outputs.len()
    );
    for (name, text) in &outputs {
        if let Some(address) = kernel_address(text) {
            let line = text.lines().find(|line| line.contains(address));
            return crate::case::fail(format!(
                "{name} tells a kernel address: '{}'",
                line.unwrap_or(address)
            ));
        }
    }
    sharers[1].end_child()?;
    sharer::finish(sharers)
}

fn only_for_root(bench: &Bench) -> Outcome {
    bench.only_ours("files of its own")?;
    let mut paths = Vec::new();
    files(Path::new(DIRECTORY), &mut paths);
    paths.push("/dev/ksm".into());
    for path in paths {
        let mode = fs::metadata(&path)
            .context(path.display())?
            .permissions()
            .mode();
        let name = path.file_name().unwrap_or_default();
        check!(
            mode & 0o022 == 0,
            "{}: mode {mode:o} lets others write",
            path.display()
        );
        let tells_pages = ["probe", "selfcheck", "ksm"]
            .iter()
            .any(|closed| name == *closed);
        check!(
            !tells_pages || mode & 0o044 == 0,
            "{}: mode {mode:o} lets others read",
            path.display()
        );
    }
    Ok(())
}

fn ksmctl_of_others(bench: &Bench) -> Outcome {
    const NOBODY: u32 = 65534;
    bench.only_ours("ksmctl")?;
    let sharers = merged_crowd(bench, 2, 64)?;
    let pid = sharers[0].pid().to_string();
    let questions: [(&[&str], i32, &str); 4] = [
        (&["status"], 0, "only root may see which"),
        (&["status", "--pid", &pid], 1, "only root and the owner of"),
        (&["load", "swapksm.ko"], 1, "only root may load"),
        (&["unload"], 1, "only root may unload"),
    ];
    for (arguments, code, words) in questions {
        let what = format!("ksmctl {}", arguments.join(" "));
        let output = Command::new("./ksmctl")
            .args(arguments)
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .context(&what)?;
        check_eq!(output.status.code(), Some(code), "exit code of {what}");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        check!(
            said.contains(words),
            "{what} should say '{words}', it says: {said}"
        );
        check!(
            !said.contains(&pid) || arguments.contains(&&*pid),
            "{what} names a process of root's: {said}"
        );
    }
    sharer::finish(sharers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_kernel_are_found_and_others_are_not() {
        for text in [
            "node at ffff888012345678.",
            "x=0xffffffff81000000,y",
            "18446612682070010488\n",
        ] {
            assert!(kernel_address(text).is_some(), "{text}");
        }
        for text in [
            "00007f0012345678 is a user's",
            "18446744073709551 pages",
            "f888012345678",
            "mask 0xffffffffffffffff, -1",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(kernel_address(text), None, "{text}");
        }
    }
}

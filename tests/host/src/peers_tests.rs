// SPDX-License-Identifier: GPL-2.0

//! `tests/peers/lib/compare.awk` on invented outputs: what counts as the same, what differs, and what every KSM skips or
//! fails, which must not pass for success.

use std::{
    env::temp_dir,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/lib/compare.awk");

/// One run of a suite's only test: what it printed, and its exit code.
fn output(said: &str, code: u32) -> String {
    format!("@begin 1 1 test\n{said}\n@end 1 {code} 0\n@took 1\n")
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).expect("a file in the temporary directory");
    file
}

/// The lines that compare.awk writes about a suite with one test, by this rule; stock KSM, release and debug build.
fn compare(case: &str, rule: &str, results: [&str; 3]) -> Vec<String> {
    let directory = temp_dir().join(format!("swapksm-peers-{}-{case}", std::process::id()));
    fs::create_dir_all(&directory).expect("a temporary directory");
    let list = write(&directory, "list", &format!("suite s\n{rule} 1 test\n"));
    let results = ["stock", "swapksm", "self-check"]
        .iter()
        .zip(results)
        .map(|(name, text)| write(&directory, name, text));
    let output = Command::new("awk")
        .args(["-v", "suite=s", "-f", SCRIPT])
        .arg(list)
        .args(results)
        .output()
        .expect("awk runs");
    fs::remove_dir_all(&directory).expect("the temporary directory goes");
    assert!(output.status.success(), "awk: {output:?}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The last line: tests that are the same (the guest's log is one), that differ, not compared; subtests that every KSM
/// skips and fails.
#[track_caller]
fn counts(lines: &[String], expected: &str) {
    assert_eq!(
        lines.last().map(String::as_str),
        Some(expected),
        "{lines:#?}"
    );
}

#[track_caller]
fn says(lines: &[String], line: &str) {
    assert!(lines.iter().any(|l| l.trim() == line), "{lines:#?}");
}

#[test]
fn passing_everywhere_is_the_same() {
    let all = output("ok 1 a\nok 2 b", 0);
    let lines = compare("pass", "same", [&all, &all, &all]);
    counts(&lines, "@count 2 0 0 0 0");
}

#[test]
fn a_skip_instead_of_a_pass_differs() {
    let stock = output("ok 1 a", 0);
    let ours = output("ok 1 a # SKIP no memory", 0);
    let lines = compare("differs", "same", [&stock, &ours, &ours]);
    counts(&lines, "@count 1 1 0 0 0");
}

#[test]
fn what_every_ksm_skips_is_counted_with_its_reason() {
    let all = output("ok 1 a\nok 2 b # SKIP no pins\nok 3 c # SKIP no pins", 0);
    let lines = compare("skip", "same", [&all, &all, &all]);
    counts(&lines, "@count 2 0 0 2 0");
    says(&lines, "2 of test skipped on each KSM");
    says(&lines, "2: no pins");
}

#[test]
fn a_test_that_skips_by_its_exit_code_is_counted() {
    let all = output("", 4);
    let lines = compare("exit", "same", [&all, &all, &all]);
    counts(&lines, "@count 2 0 0 1 0");
}

#[test]
fn what_every_ksm_fails_is_named() {
    let all = output("ok 1 a\nnot ok 2 b", 1);
    let lines = compare("fail", "same", [&all, &all, &all]);
    counts(&lines, "@count 2 0 0 0 1");
    says(&lines, "fails on each KSM: test: b");
}

#[test]
fn what_only_some_fail_is_no_failure_of_all() {
    let bad = output("not ok 1 a", 1);
    let good = output("ok 1 a", 0);
    let lines = compare("some", "all", [&bad, &good, &good]);
    counts(&lines, "@count 2 0 0 0 0");
}

#[test]
fn a_test_that_may_skip_must_do_something() {
    let nothing = output("ok 1 a # SKIP busy", 0);
    let lines = compare("nothing", "clean", [&nothing, &nothing, &nothing]);
    counts(&lines, "@count 1 1 0 1 0");
    let some = output("ok 1 a # SKIP busy\nok 2 b", 0);
    let lines = compare("something", "clean", [&some, &some, &some]);
    counts(&lines, "@count 2 0 0 1 0");
}

#[test]
fn a_test_without_subtests_passes_by_its_exit_code() {
    let all = output("all is well", 0);
    let lines = compare("plain", "clean", [&all, &all, &all]);
    counts(&lines, "@count 2 0 0 0 0");
}

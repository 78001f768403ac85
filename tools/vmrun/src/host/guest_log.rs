// SPDX-License-Identifier: GPL-2.0

//! The guest's kernel log: saved as it comes, and watched for complaints.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::cache::cannot;
use crate::common::frame::{LOG_COMMAND_STARTS, LOG_END};

/// A line that contains one of these is a complaint of the kernel's.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "kernel BUG at",
    "WARNING:",
    "Oops:",
    "Kernel panic",
    "general protection fault",
    "KASAN:",
    "KFENCE:",
    "UBSAN:",
    "KCSAN:",
    "INFO: possible",
    "possible circular locking",
    "possible recursive locking",
    "suspicious RCU usage",
    "inconsistent lock state",
    "bad unlock balance",
    "held lock freed",
    "DEBUG_LOCKS_WARN_ON",
    "self-detected stall",
    "detected stalls on CPUs",
    "detected expedited stalls",
    "rcu_tasks detected stalls",
    "detected stall, but suppressed",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "unreferenced object",
    "new suspected memory leaks",
    "list_add corruption",
    "list_del corruption",
    "refcount_t:",
    "ODEBUG:",
    "Bad page state",
    "Bad rss-counter",
    "Bad swap",
    "Bad page map",
    // A page table's entry that can be none.
    ": bad pte ",
    ": bad pmd ",
    ": bad pud ",
    ": bad p4d ",
    ": bad pgd ",
    // The poison of a free page was written to.
    "pagealloc: memory corruption",
    "pagealloc: single bit error",
    // SLUB: "BUG cache (Tainted: …): what".
    "] BUG ",
    "sysfs: cannot create duplicate filename",
    "stack-protector:",
    "scheduling while atomic",
    "sleeping function called",
    "rust_kernel: panicked",
    // Another complaint may have been among them.
    "printk messages dropped",
];

/// How the title of a KCSAN report begins, and its last line but a few; the stacks of those who race come in between.
const DATA_RACE: &str = "BUG: KCSAN:";
const DATA_RACE_ENDS: &str = "Reported by Kernel Concurrency Sanitizer";

/// Modules whose data races are complaints, also those in a function of the kernel's that they call. The kernel's own code
/// has many, which are not ours to judge.
const WATCHED: &[&str] = &["[swapksm]", "[misbehave]"];

/// Who compares pages that their owners may be writing to. What comes of it is a hint, and asked again when they cannot.
const READS_CONTENT: &str = "swapksm_pages_identical";

/// How the first line of every kernel log begins.
const FIRST_LINE: &str = "Linux version";

/// Logs that are kept in the cache, oldest removed first.
const KEPT: usize = 200;

/// The log of one guest.
pub struct GuestLog {
    path: PathBuf,
    file: File,
    expected: Vec<String>,
    /// What has come of the line that is not complete yet.
    partial: Vec<u8>,
    /// Lines since the command started, or all lines while it has not.
    recent: Vec<String>,
    complaints: Vec<String>,
    race: Option<Race>,
    began: bool,
    ended: bool,
    show: bool,
}

/// A KCSAN report that has not come to its end.
struct Race {
    title: String,
    watched: bool,
    expected: bool,
}

impl GuestLog {
    /// A log that is saved in `path`. Lines with one of the texts in `expected` are no complaint.
    pub fn create(path: PathBuf, expected: &[String], show: bool) -> Result<GuestLog, String> {
        let file = File::create(&path)
            .map_err(|error| cannot("write the guest's log to", &path, &error))?;
        Ok(GuestLog {
            path,
            file,
            expected: expected.to_vec(),
            partial: Vec::new(),
            recent: Vec::new(),
            complaints: Vec::new(),
            race: None,
            began: false,
            ended: false,
            show,
        })
    }

    /// From now on lines with that text are no complaint.
    pub fn expect(&mut self, text: &str) {
        self.expected.push(text.to_owned());
    }

    /// Whether a line has that text, of those since the command started, or of all while it has not.
    pub fn mentions(&self, text: &str) -> bool {
        self.recent.iter().any(|line| line.contains(text))
    }

    /// Takes what the guest wrote to its console.
    pub fn feed(&mut self, bytes: &[u8]) {
        // A full disk must not end the run: the lines are still watched.
        let _ = self.file.write_all(bytes);
        for &byte in bytes {
            if byte == b'\n' {
                self.line();
            } else if byte != b'\r' {
                self.partial.push(byte);
            }
        }
    }

    fn line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        if self.show {
            eprintln!("guest: {line}");
        }
        self.began |= line.contains(FIRST_LINE);
        self.ended |= line.contains(LOG_END);
        if line.contains(LOG_COMMAND_STARTS) {
            self.recent.clear();
        }
        self.follow_race(&line);
        if !line.contains(DATA_RACE) && has_one_of(&line, COMPLAINTS) && !self.is_expected(&line) {
            self.complaints.push(line.clone());
        }
        self.recent.push(line);
    }

    fn is_expected(&self, line: &str) -> bool {
        self.expected.iter().any(|text| line.contains(text))
    }

    /// Reports of data races are complaints as a whole or not at all.
    fn follow_race(&mut self, line: &str) {
        if line.contains(DATA_RACE) {
            self.race_ends();
            self.race = Some(Race {
                title: line.to_owned(),
                watched: false,
                expected: false,
            });
        }
        let expected = self.is_expected(line) || line.contains(READS_CONTENT);
        let Some(race) = &mut self.race else {
            return;
        };
        race.watched |= has_one_of(line, WATCHED);
        race.expected |= expected;
        if line.contains(DATA_RACE_ENDS) {
            self.race_ends();
        }
    }

    fn race_ends(&mut self) {
        if let Some(race) = self.race.take() {
            if race.watched && !race.expected {
                self.complaints.push(race.title);
            }
        }
    }

    /// No more comes: takes a last line that was not completed.
    pub fn close(&mut self) {
        if !self.partial.is_empty() {
            self.line();
        }
        self.race_ends();
    }

    /// Has the line come that the guest writes last?
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Was the log read from its first line on?
    pub fn began(&self) -> bool {
        self.began
    }

    /// The complaints so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The lines to show when the run failed.
    pub fn recent(&self) -> &[String] {
        &self.recent
    }

    /// Where the whole log is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn has_one_of(line: &str, texts: &[&str]) -> bool {
    texts.iter().any(|text| line.contains(text))
}

/// A new name in the cache's directory of logs, from which the oldest ones are removed.
pub fn new_path(directory: &Path) -> PathBuf {
    let ours = |name: &str| name.starts_with("vm-") && name.ends_with(".log");
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.retain(|name| ours(name));
    names.sort();
    for name in names.iter().take(names.len().saturating_sub(KEPT - 1)) {
        let _ = fs::remove_file(directory.join(name));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    directory.join(format!(
        "vm-{:010}.{:03}-{}.log",
        now.as_secs(),
        now.subsec_millis(),
        std::process::id()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(text: &str, expected: &[&str]) -> GuestLog {
        let expected: Vec<String> = expected.iter().map(|&text| text.into()).collect();
        let mut log = GuestLog::create("/dev/null".into(), &expected, false).unwrap();
        // In pieces, as it comes.
        for piece in text.as_bytes().chunks(7) {
            log.feed(piece);
        }
        log.close();
        log
    }

    #[test]
    fn complaints_are_found() {
        for line in [
            "[    9.1] WARNING: CPU: 0 PID: 1 at mm/ksm.c:1 f+0x1/0x2",
            "[    9.1] BUG: KASAN: slab-use-after-free in f+0x1/0x2",
            "[    9.1] watchdog: BUG: soft lockup - CPU#1 stuck for 61s! [ksmd:33]",
            "[    9.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    9.1] INFO: task swapksmd:77 blocked for more than 60 seconds.",
            "[    9.1] WARNING: possible circular locking dependency detected",
            "[    9.1] Kernel panic - not syncing: sysrq triggered crash",
            "[    9.1] UBSAN: array-index-out-of-bounds in mm/x.c:3:4",
            "[    9.1] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "unreferenced object 0xffff888 (size 64):",
            "[    9.1] BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:3",
            "[    9.1] page: refcount_t: underflow; use-after-free.",
            "[    9.1] mm/pgtable-generic.c:54: bad pmd 00000000c1a1cf1b(8000000012345067)",
            "[    9.1] pagealloc: memory corruption",
            "[    9.1] BUG swapksm_item (Tainted: G           O K   ): Object already free",
            "[    9.1] sysfs: cannot create duplicate filename '/kernel/mm/ksm'",
        ] {
            assert_eq!(fed(&format!("{line}\r\n"), &[]).complaints(), [line]);
        }
    }

    /// A report with that title and these functions in its stacks.
    fn race(title: &str, functions: &[&str]) -> String {
        let stacks: Vec<String> = functions
            .iter()
            .map(|function| format!("[    9.2]  {function}\n"))
            .collect();
        let stacks = stacks.concat();
        format!("{title}\n[    9.2] read to 0x1 of 8 bytes by task 5 on cpu 0:\n{stacks}[    9.2] Reported by Kernel Concurrency Sanitizer on:\n")
    }

    #[test]
    fn data_races_count_where_our_module_takes_part() {
        let ours =
            "[    9.1] BUG: KCSAN: data-race in shrink_folio_list / swapksm_rmap_walk [swapksm]";
        let called = "[    9.1] BUG: KCSAN: data-race in rb_erase+0x1/0x2";
        let kernels =
            "[    9.1] BUG: KCSAN: data-race in __remove_hrtimer / tick_nohz_idle_stop_tick";
        let content = "[    9.1] BUG: KCSAN: data-race in memcmp+0x1f/0x80";
        let text = [
            race(kernels, &["tick_nohz_idle_stop_tick+0x1/0x2"]),
            race(ours, &["shrink_folio_list+0x1/0x2"]),
            race(
                called,
                &["rb_erase+0x1/0x2", "tree_remove+0x1/0x2 [swapksm]"],
            ),
            race(
                content,
                &[
                    "memcmp+0x1f/0x80",
                    "swapksm_pages_identical+0xa/0x10 [swapksm]",
                ],
            ),
        ]
        .concat();
        assert_eq!(fed(&text, &[]).complaints(), [ours, called]);
        // The log breaks off.
        assert_eq!(fed(&format!("{ours}\n"), &[]).complaints(), [ours]);
    }

    #[test]
    fn everyday_lines_are_none() {
        let log = fed(
            "[0] Linux version 7.3.4\n[1] debug: none\n[2] ksm: enabled\n[3] swapksm: loading out-of-tree module taints kernel.\n\
             [4] random: crng init done\n[5] clocksource: tsc: mask\n[6] Spectre V2 : Mitigation: Retpolines\n",
            &[],
        );
        assert!(log.complaints().is_empty(), "{:?}", log.complaints());
        assert!(log.began());
        assert!(!log.ended());
    }

    #[test]
    fn what_is_expected_is_forgiven_and_nothing_else() {
        let log = fed("WARNING: this one\nWARNING: that one\n", &["this one"]);
        assert_eq!(log.complaints(), ["WARNING: that one"]);
    }

    #[test]
    fn an_unfinished_last_line_counts() {
        assert_eq!(fed("Oops: 0002", &[]).complaints(), ["Oops: 0002"]);
    }

    #[test]
    fn only_lines_since_the_command_are_shown_but_all_are_watched() {
        let log = fed(
            &format!("a\nBUG: b\n[1] {LOG_COMMAND_STARTS}\nc\n[2] {LOG_END}\n"),
            &[],
        );
        assert_eq!(log.recent().len(), 3);
        assert_eq!(log.complaints(), ["BUG: b"]);
        assert!(log.ended());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The directory `/sys/kernel/mm/ksm`.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::case::{fail, Context, Outcome};
use crate::sabotage::{self, Sabotage};
use crate::sys::is_errno;
use crate::wait;

/// Where the files are.
pub const DIRECTORY: &str = "/sys/kernel/mm/ksm";

/// Every knob with the value cases start from.
/// `run` comes last on purpose: some knobs can be set only while nothing is merged.
const BASELINE: &[(&str, &str)] = &[
    ("advisor_mode", "none"),
    ("advisor_max_cpu", "70"),
    ("advisor_min_pages_to_scan", "500"),
    ("advisor_max_pages_to_scan", "30000"),
    ("advisor_target_scan_time", "200"),
    ("pages_to_scan", "20000"),
    ("sleep_millisecs", "10"),
    ("smart_scan", "0"),
    ("use_zero_pages", "0"),
    ("merge_across_nodes", "1"),
    ("max_page_sharing", "256"),
    ("stable_node_chains_prune_millisecs", "2000"),
    ("max_kernel_pages", "0"),
    ("run", "0"),
];

/// Values of knobs, to be put back.
pub struct Saved(Vec<(&'static str, String)>);

/// Access to the knobs and counters.
#[derive(Clone, Copy, Default)]
pub struct Ksm;

impl Ksm {
    fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(DIRECTORY).join(file)
    }

    /// Whether this KSM has `file`.
    pub fn has(&self, file: &str) -> bool {
        self.path(file).exists()
    }

    /// Text of `file` without the newline.
    pub fn text(&self, file: &str) -> Outcome<String> {
        let path = self.path(file);
        let text = fs::read_to_string(&path).context(path.display())?;
        Ok(text.trim_end().to_owned())
    }

    /// Number in `file`.
    pub fn number(&self, file: &str) -> Outcome<i64> {
        let text = self.text(file)?;
        text.parse()
            .or_else(|_| fail(format!("{file} holds '{text}', which is no number")))
    }

    /// Writes `value`, the error as the kernel gave it.
    pub fn try_set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.path(file), value)
    }

    /// Writes `value`, which must be accepted.
    pub fn set(&self, file: &str, value: impl ToString) -> Outcome {
        let value = value.to_string();
        let wrong = match (file, value.as_str()) {
            ("run", "0") => Sabotage::NoStop,
            ("run", "1") => Sabotage::NoMerge,
            ("run", _) => Sabotage::NoUnmerge,
            _ => Sabotage::NoKnob,
        };
        if sabotage::is(wrong) {
            return Ok(());
        }
        self.try_set(file, &value)
            .context(format!("writing '{value}' to {file}"))
    }

    /// Writes `value`; waits while pages in the swap cache keep the knob from being changed.
    fn set_when_free(&self, file: &str, value: &str) -> Outcome {
        let mut result = Ok(());
        wait::until(&format!("{file} can be set to {value}"), || {
            result = self.try_set(file, value);
            let busy = matches!(&result, Err(error) if is_errno(error, libc::EBUSY));
            Ok((!busy, "EBUSY"))
        })?;
        result.context(format!("writing '{value}' to {file}"))
    }

    /// Starts the scanner.
    pub fn start(&self) -> Outcome {
        self.set("run", 1)
    }

    /// Stops the scanner, everything stays merged.
    pub fn stop(&self) -> Outcome {
        self.set("run", 0)
    }

    /// Waits until `count` whole passes have gone by.
    pub fn passes(&self, count: i64) -> Outcome {
        // The pass under way does not count.
        let goal = self.number("full_scans")? + count + 1;
        wait::until("full passes of the scanner", || {
            let now = self.number("full_scans")?;
            Ok((now >= goal, format!("full_scans {now} of {goal}")))
        })
    }

    /// Waits until `file` shows `goal`; lets deferred work finish first where that can be asked for.
    pub fn counter_becomes(&self, file: &str, goal: i64) -> Outcome {
        wait::until(&format!("{file} = {goal}"), || {
            self.sync()?;
            let now = self.number(file)?;
            Ok((now == goal, now))
        })
    }

    /// Waits for deferred work, where this KSM has a file for it.
    pub fn sync(&self) -> Outcome {
        if self.has("sync") {
            self.set("sync", 1)?;
        }
        Ok(())
    }

    /// Reads every knob there is.
    pub fn save(&self) -> Outcome<Saved> {
        let mut saved = Vec::new();
        for &(file, _) in BASELINE.iter().filter(|(file, _)| self.has(file)) {
            let mut value = self.text(file)?;
            if file == "advisor_mode" {
                let chosen = value.split_whitespace().find(|word| word.starts_with('['));
                value = chosen.unwrap_or("none").trim_matches(['[', ']']).to_owned();
            }
            saved.push((file, value));
        }
        Ok(Saved(saved))
    }

    /// Unmerges everything and sets every knob to what cases start from.
    pub fn reset(&self) -> Outcome {
        self.set_when_free("run", "2")?;
        for (file, value) in BASELINE.iter().filter(|(file, _)| self.has(file)) {
            self.set_when_free(file, value)?;
        }
        Ok(())
    }

    /// Puts every knob back to what it was, but for those of a module that has been unloaded meanwhile.
    pub fn restore(&self, saved: &Saved) -> Outcome {
        self.set_when_free("run", "2")?;
        self.set_when_free("advisor_mode", "none")?;
        for (file, value) in &saved.0 {
            let by_advisor =
                *file == "pages_to_scan" && self.text("advisor_mode")? != "[none] scan-time";
            if !by_advisor && self.has(file) {
                self.set_when_free(file, value)?;
            }
        }
        Ok(())
    }
}

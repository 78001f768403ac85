// SPDX-License-Identifier: GPL-2.0

//! The settings of samepage merging, carried from one implementation to the other.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::failure::{Failure, Outcome};
use crate::files::KSM;
use crate::machine::{name_of, Machine};
use crate::run;

/// Files that take a value without keeping it, and the switch, which is carried last and by itself.
const NO_SETTINGS: &[&str] = &["run", "sync", "selfcheck", "probe"];

/// Settings that both may have. They are settings also where somebody has made their files read-only.
const SETTINGS: &[&str] = &[
    "advisor_max_cpu",
    ADVISOR,
    "advisor_max_pages_to_scan",
    "advisor_min_pages_to_scan",
    "advisor_target_scan_time",
    "max_page_sharing",
    "merge_across_nodes",
    "pages_to_scan",
    "sleep_millisecs",
    "smart_scan",
    "stable_node_chains_prune_millisecs",
    "use_zero_pages",
];

const ADVISOR: &str = "advisor_mode";
const NO_ADVISOR: &str = "none";

/// Settings as they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// The switch.
    pub run: String,
    values: Vec<(String, String)>,
}

impl Knobs {
    /// Reads every setting.
    pub fn save(machine: &Machine) -> Outcome<Self> {
        let mut values = Vec::new();
        for path in machine.list(KSM) {
            let name = name_of(&path);
            let writable =
                fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o200 != 0);
            if (writable || SETTINGS.contains(&name.as_str()))
                && !NO_SETTINGS.contains(&name.as_str())
            {
                let value = read(machine, &name)?;
                values.push((name, value));
            }
        }
        let run = read(machine, "run")?;
        Ok(Self { run, values })
    }

    /// Writes every setting that the directory has now, and then the switch. Goes on after one that is refused.
    pub fn restore(&self, machine: &Machine) -> Outcome {
        let mut refused = Vec::new();
        let mut set = |name: &str, value: &str| {
            if let Err(error) = change(machine, name, value) {
                refused.push(format!("{name} = {value} ({error})"));
            }
        };
        let advisor = self.value(ADVISOR);
        if advisor.is_some() {
            // While the advisor is on, pages_to_scan is its own.
            set(ADVISOR, NO_ADVISOR);
        }
        for (name, value) in &self.values {
            let advised = name == "pages_to_scan" && advisor.is_some_and(|mode| mode != NO_ADVISOR);
            // Microseconds would be lost by what follows in milliseconds.
            let coarse = name == "sleep_millisecs"
                && self.value("sleep").is_some()
                && machine.has(&file("sleep"));
            if name != ADVISOR && !advised && !coarse && machine.has(&file(name)) {
                set(name, value);
            }
        }
        if let Some(mode) = advisor {
            set(ADVISOR, mode);
        }
        set("run", &self.run);
        if refused.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "these settings could not be carried over: {}",
            refused.join(", ")
        ))
        .remedy(format!("write them to the files of that name in {KSM}")))
    }

    /// The same with the scanner stopped.
    pub fn stopped(&self) -> Self {
        let run = run::STOP.to_owned();
        Self {
            run,
            ..self.clone()
        }
    }

    /// Puts back only the switch, after an attempt that changed nothing else.
    pub fn restore_run(&self, machine: &Machine) -> Outcome {
        change(machine, "run", &self.run).map_err(|error| {
            Failure::new(format!(
                "cannot write '{}' to {}: {error}",
                self.run,
                file("run")
            ))
            .remedy(format!(
                "samepage merging was '{}' before: write {} to it again",
                run::meaning(&self.run),
                self.run
            ))
        })
    }

    fn value(&self, wanted: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    }
}

fn file(name: &str) -> String {
    format!("{KSM}/{name}")
}

/// A setting as it would be written.
fn read(machine: &Machine, name: &str) -> Outcome<String> {
    let path = file(name);
    let text = machine
        .read(&path)
        .map_err(|error| Failure::new(format!("cannot read {path}: {error}")))?;
    // Of several words, the chosen one stands in brackets.
    let chosen = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    Ok(chosen.unwrap_or(&text).to_owned())
}

/// Writes a setting unless it is so already: some are refused whatever the value while pages are merged.
fn change(machine: &Machine, name: &str, value: &str) -> std::io::Result<()> {
    if read(machine, name).is_ok_and(|now| now == value) {
        return Ok(());
    }
    machine.try_write(&file(name), value)
}

// SPDX-License-Identifier: GPL-2.0

//! What `ksmctl status` tells, whatever the form.

use std::collections::BTreeMap;

use serde::Serialize;

use super::process::Process;

/// Who merges.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Merger {
    /// The kernel's own code.
    Kernel,
    /// The module.
    Swapksm,
    /// Tasks are changing over to the module.
    Loading,
    /// Tasks are changing over to the kernel's code.
    Unloading,
    /// Nobody: the kernel cannot.
    None,
}

/// All that is told. Bytes and pages are plain numbers.
#[derive(Serialize)]
pub struct Report {
    pub merger: Merger,
    /// The module is there, in charge or not.
    pub module_loaded: bool,
    /// Tasks that have not changed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    pub page_size: u64,
    /// Files of /sys/kernel/mm/ksm that hold a number, by name.
    pub ksm: BTreeMap<String, i64>,
    /// The advisor's mode; `None` where there is no advisor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisor_mode: Option<String>,
    /// Bytes that would be needed more without merging, before what the bookkeeping takes.
    pub saved_bytes: i64,
    /// Processes with mergeable memory; `None` when only root may know.
    pub processes: Option<Vec<Process>>,
}

impl Report {
    /// A number of the directory.
    pub fn number(&self, file: &str) -> Option<i64> {
        self.ksm.get(file).copied()
    }
}

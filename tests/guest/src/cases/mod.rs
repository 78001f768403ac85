// SPDX-License-Identifier: GPL-2.0

//! The cases, one file per subject.

mod abuse;
mod chains;
mod common;
mod cow;
mod device_memory;
pub mod exec;
mod faults;
mod faults_calls;
mod faults_common;
mod faults_functions;
mod faults_load;
mod faults_others;
mod files;
mod fork;
mod fragments;
mod held_folio;
mod hotplug;
mod hotremove;
mod kvm;
mod lost_partner;
mod mapping;
mod memory_block;
mod merge;
mod migrate;
mod null_disk;
mod numa;
mod oom;
mod pins;
mod pointers;
mod poison;
mod prctl;
pub mod races;
mod restless;
mod rmap;
mod scanner;
mod secrets;
mod slow_fault;
mod small_swap;
pub mod soak;
mod soak_model;
mod starve;
mod stat;
mod stress;
mod suspend;
mod swap;
mod swap_conditions;
mod swap_faults;
mod swap_groups;
mod swap_large;
mod swap_lazyfree;
mod swap_limits;
mod swap_moves;
mod swap_numbers;
mod swap_process;
mod swapping;
mod takeover;
mod takeover_livepatches;
mod takeover_readers;
mod thp;
mod tracking;
mod uffd;
mod uffd_rwp;
mod unmerge;
mod zero;

use crate::case::{Case, Outcome};

/// Asks for merging of all that the calling process and its children have.
pub fn merge_any() -> Outcome {
    prctl::merge_any(true)
}

/// Every case.
pub fn all() -> Vec<&'static Case> {
    let subjects = [
        merge::CASES,
        cow::CASES,
        unmerge::CASES,
        zero::CASES,
        fork::CASES,
        prctl::CASES,
        exec::CASES,
        stat::CASES,
        mapping::CASES,
        files::CASES,
        thp::CASES,
        pins::CASES,
        pointers::CASES,
        chains::CASES,
        scanner::CASES,
        uffd::CASES,
        uffd_rwp::CASES,
        tracking::CASES,
        migrate::CASES,
        device_memory::CASES,
        poison::CASES,
        numa::CASES,
        hotplug::CASES,
        hotremove::CASES,
        held_folio::CASES,
        restless::CASES,
        suspend::CASES,
        swap::CASES,
        swap_numbers::CASES,
        swap_process::CASES,
        swap_moves::CASES,
        swap_limits::CASES,
        swap_groups::CASES,
        swap_lazyfree::CASES,
        swap_large::CASES,
        swap_faults::CASES,
        swap_conditions::CASES,
        rmap::CASES,
        oom::CASES,
        abuse::CASES,
        slow_fault::CASES,
        lost_partner::CASES,
        secrets::CASES,
        stress::CASES,
        kvm::CASES,
        races::CASES,
        faults::CASES,
        faults_calls::CASES,
        faults_functions::CASES,
        faults_others::CASES,
        takeover::CASES,
        faults_load::CASES,
        takeover_livepatches::CASES,
        takeover_readers::CASES,
    ];
    subjects.into_iter().flatten().collect()
}

// SPDX-License-Identifier: GPL-2.0

//! The module's parts that need no kernel, compiled from the module's own files, and their tests.

#![cfg(test)]
#![allow(dead_code, reason = "not every helper of the module is used here")]

#[path = "../../../kmod/advisor.rs"]
mod advisor;
#[path = "../../../kmod/config.rs"]
mod config;
#[path = "../../../kmod/faces/ioctl.rs"]
mod ioctl;
#[path = "../../../kmod/engine/nh.rs"]
mod nh;
#[path = "../../../kmod/faces/regions.rs"]
mod regions;
#[path = "../../../kmod/stats.rs"]
mod stats;
#[path = "../../../kmod/faces/text.rs"]
mod text;
#[path = "../../../kmod/engine/word.rs"]
mod word;

mod advisor_tests;
mod config_tests;
mod ioctl_tests;
mod nh_tests;
mod peers_tests;
mod regions_tests;
mod stats_tests;
mod text_tests;
mod word_tests;

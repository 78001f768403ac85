// SPDX-License-Identifier: GPL-2.0

//! What the module reads from programs, fed with anything: the very files of kmod/, compiled for the host.
//!
//! Each function here takes the fuzzer's bytes and panics if what must hold does not. `tests/fuzz/run` has the fuzzer look
//! for such bytes; the tests here try those of `seeds/` and a number of random ones.

#![allow(
    dead_code,
    reason = "not every item of the module's files is used here"
)]

#[path = "../../../kmod/config.rs"]
mod config;
mod engine;
mod faces;
#[path = "../../../kmod/stats.rs"]
mod stats;
mod sys;

mod fuzz_ioctl;
mod fuzz_regions;
mod fuzz_sysfs;
#[cfg(test)]
mod seeds;

pub use fuzz_ioctl::ioctl;
pub use fuzz_regions::regions;
pub use fuzz_sysfs::sysfs;

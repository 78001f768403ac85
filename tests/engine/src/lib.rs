// SPDX-License-Identifier: GPL-2.0

//! The module's engine, its very files, on a make-believe kernel.
//!
//! `machine` has what the shims and the kernel below them do, as far as the engine can tell: mms with a page table of a few
//! pages, folios, a swap device, mmu notifiers, reverse mapping, reclaim, migration, fork and exit. Scanner and reaper are
//! the engine's own threads. Every process reads back what it wrote last, the self-check of debug builds is asked, and at
//! the end nothing may be left.
//!
//! Locks say when they are taken in another order than `kmod/engine/locks.rs` has them, and who may sleep says when it does
//! with a spinlock held. Under Miri every access to memory is checked besides.

#![cfg(test)]
// As the kernel builds the module.
#![feature(arbitrary_self_types)]
#![allow(
    dead_code,
    unused_imports,
    reason = "not every item of the module's files is used here"
)]

#[path = "../../../kmod/advisor.rs"]
mod advisor;
mod ancestry;
#[path = "../../../kmod/config.rs"]
mod config;
#[path = "../../../kmod/engine/mod.rs"]
mod engine;
mod machine;
#[allow(clippy::duplicate_mod, reason = "the engine keeps its own to itself")]
#[path = "../../../kmod/engine/nh.rs"]
mod nh;
mod offline;
mod processes;
mod reuse;
#[path = "../../../kmod/stats.rs"]
mod stats;
mod steps;
mod sys;

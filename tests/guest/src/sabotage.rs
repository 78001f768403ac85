// SPDX-License-Identifier: GPL-2.0

//! Tests of the tests: one of the steps that cases rely on is left out or done wrong, and the cases must notice.

use std::sync::atomic::{AtomicU8, Ordering};

use clap::ValueEnum;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// The scanner is never started.
    NoMerge,
    /// The scanner is never stopped.
    NoStop,
    /// Run 2 and MADV_UNMERGEABLE are left out.
    NoUnmerge,
    /// Every page is written with a wrong last byte.
    WrongContent,
    /// All pages get the same content.
    OneContent,
    /// Single bytes are not written.
    NoPoke,
    /// Every process asks for merging of all it has.
    MergeAny,
    /// Pages are not pinned.
    NoPin,
    /// Nothing is pushed to swap.
    NoReclaim,
    /// What takes pages away from a process is left out.
    NoEvent,
    /// Control groups have no limits.
    NoLimit,
    /// Pages are not moved, nothing is taken offline.
    NoMove,
    /// Knobs other than `run` keep their value.
    NoKnob,
    /// Processes of a race do nothing once they have made what they race with.
    NoRace,
}

static CHOSEN: AtomicU8 = AtomicU8::new(Sabotage::None as u8);

/// Chooses what is done wrong from now on, in this process and those it forks.
pub fn choose(sabotage: Sabotage) {
    CHOSEN.store(sabotage as u8, Ordering::Relaxed);
}

/// Whether `sabotage` is what is done wrong.
pub fn is(sabotage: Sabotage) -> bool {
    CHOSEN.load(Ordering::Relaxed) == sabotage as u8
}

/// Whether anything is done wrong at all.
pub fn active() -> bool {
    !is(Sabotage::None)
}

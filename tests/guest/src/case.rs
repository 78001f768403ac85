// SPDX-License-Identifier: GPL-2.0

//! What a test case is and how it ends.

use std::fmt::{Debug, Display};
use std::io;

use crate::ksm::Ksm;

/// Why a case did not pass.
#[derive(Debug)]
pub enum Stop {
    /// The behaviour is wrong.
    Fail(String),
    /// The machine lacks what the case needs; the text names it.
    Skip(String),
}

/// Result of a case and of every step inside it.
pub type Outcome<T = ()> = Result<T, Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Fail(format!("unexpected error: {error}"))
    }
}

/// Says what was being done when an operation failed.
pub trait Context<T> {
    /// Prefixes the error with `what`.
    fn context(self, what: impl Display) -> Outcome<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| Stop::Fail(format!("{what}: {error}")))
    }
}

impl<T> Context<T> for Outcome<T> {
    fn context(self, what: impl Display) -> Outcome<T> {
        self.map_err(|stop| match stop {
            Stop::Fail(text) => Stop::Fail(format!("{what}: {text}")),
            skip => skip,
        })
    }
}

/// A failure with `text`.
pub fn fail<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Stop::Fail(text.into()))
}

/// The failure of [`check_eq`]; long values are cut.
pub fn unequal<T>(what: impl Display, got: &dyn Debug, expected: &dyn Debug) -> Outcome<T> {
    let cut = |value: &dyn Debug| {
        let text = format!("{value:?}");
        match text.char_indices().nth(200) {
            Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.len()),
            None => text,
        }
    };
    fail(format!(
        "{what}: got {}, expected {}",
        cut(got),
        cut(expected)
    ))
}

/// A skip because of `text`.
pub fn skip<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Stop::Skip(text.into()))
}

/// Fails the case with a formatted message unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return $crate::case::fail(format!($($text)+));
        }
    };
}

/// Fails the case unless both values are equal.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($text:tt)+) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return $crate::case::unequal(format_args!($($text)+), left, right);
        }
    }};
}

/// The kind of virtual machine a case runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Memory only.
    Plain,
    /// Swap is on (a disk in one run, zram in another).
    Swap,
    /// Two NUMA nodes.
    Numa,
    /// The module is there but not loaded.
    Takeover,
    /// KVM guests can be run; swap is on.
    Kvm,
    /// Swap is on, and failures can be ordered.
    Faults,
}

impl Room {
    /// Name as the test driver knows it.
    pub fn name(self) -> &'static str {
        match self {
            Room::Plain => "plain",
            Room::Swap => "swap",
            Room::Numa => "numa",
            Room::Takeover => "takeover",
            Room::Kvm => "kvm",
            Room::Faults => "faults",
        }
    }
}

/// One behaviour and the function that tries it.
pub struct Case {
    /// `subject/behaviour`.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Where it runs.
    pub room: Room,
    /// Seconds after which it is taken for hung.
    pub seconds: u64,
    /// The test.
    pub run: fn(&Bench) -> Outcome,
}

impl Case {
    /// A case for a plain machine with the default time limit.
    pub const fn new(name: &'static str, about: &'static str, run: fn(&Bench) -> Outcome) -> Self {
        Case {
            name,
            about,
            room: Room::Plain,
            seconds: 120,
            run,
        }
    }

    /// The same case in another room.
    pub const fn room(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// The same case with another time limit.
    pub const fn seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }
}

/// What every case is given.
pub struct Bench {
    /// The knobs and counters of the running KSM, whoever provides it.
    pub ksm: Ksm,
    /// Seed of everything random.
    pub seed: u64,
    /// How long the stress cases go on, in seconds.
    pub stress_seconds: u64,
    /// How long races go on, in seconds; time limits are of what comes on top.
    pub race_seconds: u64,
}

impl Bench {
    /// Whether swapksm, not the kernel's own KSM, is at work.
    pub fn ours(&self) -> bool {
        std::path::Path::new("/sys/module/swapksm").exists()
    }

    /// Skips the case on the kernel's own KSM, which lacks `what`.
    pub fn only_ours(&self, what: &str) -> Outcome {
        if self.ours() {
            return Ok(());
        }
        skip(format!("the kernel's own KSM lacks {what}"))
    }
}

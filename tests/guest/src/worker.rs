// SPDX-License-Identifier: GPL-2.0

//! Processes that a case starts, and the steps they take together.

use std::time::Duration;

use crate::case::{fail, Context, Outcome, Stop};
use crate::pipe::{self, Message, Reader, Writer};
use crate::sys::{self, Ended};
use crate::wait::patience;

/// A child process that stops at each step for its parent.
/// When dropped without [`Worker::finish`] it is killed.
pub struct Worker {
    name: String,
    pid: i32,
    from: Reader,
    to: Writer,
}

/// The child's side.
pub struct Steps {
    from: Reader,
    to: Writer,
}

impl Steps {
    /// The parent's side of an exec'd image: descriptors `from` and `to` were handed over.
    pub fn inherited(from: i32, to: i32) -> Steps {
        Steps {
            from: Reader::inherited(from),
            to: Writer::inherited(to),
        }
    }

    /// Numbers of both descriptors, for exec.
    pub fn descriptors(&self) -> [i32; 2] {
        [self.from.fd(), self.to.fd()]
    }

    /// Tells the parent `value` and waits until it says how to go on.
    pub fn step(&mut self, value: u64) -> Outcome<u64> {
        self.to.value(value)?;
        // The parent may wait for the scanner several times meanwhile.
        match self.from.receive(patience() * 20)? {
            Message::Value(value) => Ok(value),
            _ => fail("the parent is gone"),
        }
    }

    /// Tells the parent how this process ends.
    pub fn done(&mut self, outcome: &Outcome) {
        // If the parent is gone nobody asks any more.
        let _ = self.to.done(outcome);
    }
}

impl Worker {
    /// Starts a child that runs `body`.
    pub fn start(name: &str, body: impl FnOnce(&mut Steps) -> Outcome) -> Outcome<Worker> {
        let (from, child_to) = pipe::pair()?;
        let (child_from, to) = pipe::pair()?;
        match sys::fork().context("fork")? {
            Some(pid) => Ok(Worker {
                name: name.to_owned(),
                pid,
                from,
                to,
            }),
            None => {
                drop((from, to));
                let mut steps = Steps {
                    from: child_from,
                    to: child_to,
                };
                let outcome = body(&mut steps);
                steps.done(&outcome);
                sys::exit(i32::from(outcome.is_err()))
            }
        }
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the child has come to its next step, returns the value it tells.
    pub fn arrived(&mut self) -> Outcome<u64> {
        self.arrived_within(patience() * 2)
    }

    /// The same for a step that may take as long as `limit`.
    pub fn arrived_within(&mut self, limit: Duration) -> Outcome<u64> {
        let message = self.from.receive(limit).context(&self.name)?;
        match message {
            Message::Value(value) => Ok(value),
            Message::Done(Ok(())) => fail(format!("{} ended before its time", self.name)),
            Message::Done(Err(stop)) => Err(stop).context(&self.name),
            Message::Closed => {
                let ended = sys::waitpid(self.pid, false).context("waitpid")?;
                fail(format!("{} died: {ended:?}", self.name))
            }
        }
    }

    /// Lets the child go on from its step.
    pub fn go(&mut self, value: u64) -> Outcome {
        self.to.value(value).context(&self.name)
    }

    /// Lets the child take one step and waits for the next.
    pub fn step(&mut self, value: u64) -> Outcome<u64> {
        self.go(value)?;
        self.arrived()
    }

    /// Lets the child take its last step and waits for its end, which must be a good one.
    pub fn finish(mut self) -> Outcome {
        self.go(0)?;
        self.ended()
    }

    /// Waits for the end of the child, which must be a good one.
    pub fn ended(self) -> Outcome {
        let name = self.name.clone();
        match self.end()? {
            Ended::Code(0) => Ok(()),
            other => fail(format!("{name} ended with {other:?}")),
        }
    }

    /// Waits for the child to be killed by `signal`.
    pub fn killed_by(self, signal: i32) -> Outcome {
        let name = self.name.clone();
        match self.end()? {
            Ended::Signal(found) if found == signal => Ok(()),
            other => fail(format!(
                "{name} ended with {other:?}, not by signal {signal}"
            )),
        }
    }

    /// Waits for the end of the child; what it has to say of its failure is passed on.
    fn end(mut self) -> Outcome<Ended> {
        match self.from.receive(patience() * 2).context(&self.name)? {
            Message::Value(_) => return fail(format!("{} takes a step too many", self.name)),
            Message::Done(outcome) => outcome.context(&self.name)?,
            Message::Closed => (),
        }
        let ended = sys::waitpid(self.pid, false).context("waitpid")?;
        self.pid = 0;
        match ended {
            Some((_, ended)) => Ok(ended),
            None => fail(format!("{} has no end", self.name)),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.pid > 0 {
            sys::kill(self.pid, libc::SIGKILL);
            let _ = sys::waitpid(self.pid, false);
        }
    }
}

/// Text of a stop, for logs.
impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Fail(text) => write!(f, "{text}"),
            Stop::Skip(text) => write!(f, "skipped: {text}"),
        }
    }
}

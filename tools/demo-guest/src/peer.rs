// SPDX-License-Identifier: GPL-2.0

//! Another process of this program, which takes orders.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

/// A running process; it ends when dropped.
pub struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    name: String,
}

impl Peer {
    /// Starts this program in another role.
    pub fn start(role: &[&str]) -> Result<Self> {
        let name = role.join(" ");
        let mut child = Command::new("/proc/self/exe")
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start the {name}: {error}"))?;
        let orders = child.stdin.take();
        let answers = child
            .stdout
            .take()
            .map(BufReader::new)
            .ok_or("a process has no output")?;
        Ok(Self {
            child,
            orders,
            answers,
            name,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says what to do, without waiting for it.
    pub fn order(&mut self, what: &str) -> Result {
        let orders = self.orders.as_mut().ok_or("it takes no more orders")?;
        writeln!(orders, "{what}")
            .map_err(|error| format!("the {} takes no orders: {error}", self.name))
    }

    /// Waits until it is done.
    pub fn answer(&mut self) -> Result<u64> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line);
        if !matches!(length, Ok(1..)) {
            return Err(format!(
                "the {} ended instead of answering ({:?})",
                self.name,
                self.child.try_wait()
            ));
        }
        let line = line.trim_end();
        match line
            .strip_prefix("ok ")
            .and_then(|number| number.parse().ok())
        {
            Some(number) => Ok(number),
            None => Err(line.trim_start_matches("error ").to_owned()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends when there are no more orders.
        self.orders = None;
        let _ = self.child.wait();
    }
}

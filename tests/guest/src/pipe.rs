// SPDX-License-Identifier: GPL-2.0

//! Messages between processes over pipes, with bounded waiting.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use crate::case::{fail, skip, Context, Outcome, Stop};
use crate::sys;

/// Anything longer would not be a message of ours.
const LONGEST: usize = 64 << 10;

/// A message.
#[derive(Debug)]
pub enum Message {
    /// A number.
    Value(u64),
    /// The sender has finished, so or so.
    Done(Outcome),
    /// The other end is closed.
    Closed,
}

/// One direction of a connection: the reading and the writing end.
pub fn pair() -> Outcome<(Reader, Writer)> {
    let mut ends = [0; 2];
    // SAFETY: two ints for two descriptors.
    sys::check(unsafe { libc::pipe(ends.as_mut_ptr()) }.into()).context("pipe")?;
    // SAFETY: both descriptors are new and owned by nobody else.
    unsafe {
        Ok((
            Reader(File::from_raw_fd(ends[0])),
            Writer(File::from_raw_fd(ends[1])),
        ))
    }
}

/// The end that sends.
pub struct Writer(File);

impl Writer {
    /// Uses an inherited descriptor.
    pub fn inherited(fd: i32) -> Writer {
        // SAFETY: the caller names a descriptor made for this purpose before exec.
        Writer(unsafe { File::from_raw_fd(fd) })
    }

    /// Number of the descriptor.
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Sends a number.
    pub fn value(&mut self, value: u64) -> Outcome {
        self.send(b'v', &value.to_ne_bytes())
    }

    /// Sends how the sender ended.
    pub fn done(&mut self, outcome: &Outcome) -> Outcome {
        match outcome {
            Ok(()) => self.send(b'p', b""),
            Err(Stop::Fail(text)) => self.send(b'f', text.as_bytes()),
            Err(Stop::Skip(text)) => self.send(b's', text.as_bytes()),
        }
    }

    fn send(&mut self, tag: u8, payload: &[u8]) -> Outcome {
        let payload = &payload[..payload.len().min(LONGEST)];
        let mut bytes = vec![tag];
        bytes.extend((payload.len() as u32).to_ne_bytes());
        bytes.extend(payload);
        self.0.write_all(&bytes).context("sending a message")
    }
}

/// The end that receives.
pub struct Reader(File);

impl Reader {
    /// Uses an inherited descriptor.
    pub fn inherited(fd: i32) -> Reader {
        // SAFETY: the caller names a descriptor made for this purpose before exec.
        Reader(unsafe { File::from_raw_fd(fd) })
    }

    /// Number of the descriptor.
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Whether a message (or the end) is there within `limit`.
    pub fn ready(&self, limit: Duration) -> Outcome<bool> {
        let mut poll = libc::pollfd {
            fd: self.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd.
        let count = unsafe { libc::poll(&mut poll, 1, limit.as_millis() as i32) };
        Ok(sys::check(count.into()).context("poll")? > 0)
    }

    /// Receives the next message; fails when none comes within `limit`.
    pub fn receive(&mut self, limit: Duration) -> Outcome<Message> {
        if !self.ready(limit)? {
            return fail(format!("no answer within {limit:?}"));
        }
        let mut head = [0; 5];
        if self.0.read(&mut head[..1]).context("receiving")? == 0 {
            return Ok(Message::Closed);
        }
        self.0.read_exact(&mut head[1..]).context("receiving")?;
        let length = u32::from_ne_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return fail(format!("a message of {length} bytes"));
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).context("receiving")?;
        let text = || String::from_utf8_lossy(&payload).into_owned();
        Ok(match head[0] {
            b'v' => Message::Value(u64::from_ne_bytes(
                payload[..].try_into().unwrap_or_default(),
            )),
            b'p' => Message::Done(Ok(())),
            b'f' => Message::Done(fail(text())),
            b's' => Message::Done(skip(text())),
            tag => return fail(format!("a message with the unknown tag {tag}")),
        })
    }
}

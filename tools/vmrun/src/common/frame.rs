// SPDX-License-Identifier: GPL-2.0

//! The protocol on the virtio port between guest and host.
//!
//! Guest to host everything travels in frames: one byte of kind, the payload's length as a
//! little-endian `u32`, the payload. One ordered stream means that the exit code cannot overtake
//! the output. Host to guest there are single bytes only.

use std::io::{self, Read};

/// Name of the virtio port, as the guest finds it in `/sys/class/virtio-ports/*/name`.
pub const PORT_NAME: &str = "swapksm.vmrun";

/// Host to guest: write the blocked tasks and the stacks of all CPUs to the kernel log.
pub const REQUEST_DUMP: u8 = b'D';

/// What the guest writes to its kernel log when the command is about to start.
pub const LOG_COMMAND_STARTS: &str = "vmrun: command starts";

/// What the guest writes to its kernel log as its last line. All earlier lines come before it.
pub const LOG_END: &str = "vmrun: end of log";

/// Longest payload that a reader accepts; a longer one means that the stream is out of step.
const MAX_PAYLOAD: usize = 1 << 20;

/// One message from the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// Everything is set up and the command starts now.
    Started,
    /// The command wrote this to its standard output.
    Stdout(Vec<u8>),
    /// The command wrote this to its standard error.
    Stderr(Vec<u8>),
    /// The command has ended, with its exit code or 128 plus the signal that killed it.
    Exited(u8),
    /// A file that was asked for begins; its path in the guest.
    FileStart(Vec<u8>),
    /// More of that file's contents.
    FileData(Vec<u8>),
    /// That file is complete.
    FileEnd,
    /// A file that was asked for cannot be read: which and why.
    FileFailed(String),
    /// The guest could not be set up, or the command could not be run: why.
    SetupFailed(String),
    /// A check after the command found something wrong: what.
    CheckFailed(String),
    /// A word to the person in front of the host.
    Note(String),
    /// `REQUEST_DUMP` has been carried out.
    Dumped,
    /// Nothing follows.
    Done,
}

impl Frame {
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Frame::Started => (b'S', &[]),
            Frame::Stdout(data) => (b'o', data),
            Frame::Stderr(data) => (b'e', data),
            Frame::Exited(code) => (b'x', std::slice::from_ref(code)),
            Frame::FileStart(path) => (b'f', path),
            Frame::FileData(data) => (b'd', data),
            Frame::FileEnd => (b'F', &[]),
            Frame::FileFailed(text) => (b'-', text.as_bytes()),
            Frame::SetupFailed(text) => (b'!', text.as_bytes()),
            Frame::CheckFailed(text) => (b'?', text.as_bytes()),
            Frame::Note(text) => (b'n', text.as_bytes()),
            Frame::Dumped => (b'D', &[]),
            Frame::Done => (b'E', &[]),
        }
    }

    fn from_parts(kind: u8, data: Vec<u8>) -> io::Result<Frame> {
        let text = |data: Vec<u8>| String::from_utf8_lossy(&data).into_owned();
        Ok(match (kind, data.len()) {
            (b'S', 0) => Frame::Started,
            (b'o', _) => Frame::Stdout(data),
            (b'e', _) => Frame::Stderr(data),
            (b'x', 1) => Frame::Exited(data[0]),
            (b'f', _) => Frame::FileStart(data),
            (b'd', _) => Frame::FileData(data),
            (b'F', 0) => Frame::FileEnd,
            (b'-', _) => Frame::FileFailed(text(data)),
            (b'!', _) => Frame::SetupFailed(text(data)),
            (b'?', _) => Frame::CheckFailed(text(data)),
            (b'n', _) => Frame::Note(text(data)),
            (b'D', 0) => Frame::Dumped,
            (b'E', 0) => Frame::Done,
            _ => return Err(out_of_step()),
        })
    }

    /// How much of the payload is sent: a text may be of any length and is cut; data are cut into pieces by whoever sends.
    fn len(&self, data: &[u8]) -> usize {
        match self {
            Frame::FileFailed(text)
            | Frame::SetupFailed(text)
            | Frame::CheckFailed(text)
            | Frame::Note(text) => match text.len() {
                length @ ..=MAX_PAYLOAD => length,
                _ => (0..=MAX_PAYLOAD)
                    .rev()
                    .find(|&end| text.is_char_boundary(end))
                    .unwrap_or(0),
            },
            _ => data.len(),
        }
    }

    /// What travels.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let (kind, data) = self.parts();
        let data = &data[..self.len(data)];
        let length = u32::try_from(data.len()).map_err(|_| out_of_step())?;
        let mut bytes = Vec::with_capacity(5 + data.len());
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(data);
        Ok(bytes)
    }

    /// Reads the next frame; `None` when the other side has closed the stream between two frames.
    pub fn read(port: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut kind = [0];
        loop {
            match port.read(&mut kind) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut length = [0; 4];
        port.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(out_of_step());
        }
        let mut data = vec![0; length];
        port.read_exact(&mut data)?;
        Frame::from_parts(kind[0], data).map(Some)
    }
}

fn out_of_step() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the guest sent something that is not a message of the runner",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_survives_the_trip() {
        let frames = [
            Frame::Started,
            Frame::Stdout(vec![0, 255, b'\n', 13]),
            Frame::Stderr(Vec::new()),
            Frame::Exited(137),
            Frame::FileStart(b"out/\xff.csv".to_vec()),
            Frame::FileData(vec![7; 100_000]),
            Frame::FileEnd,
            Frame::FileFailed("none".into()),
            Frame::SetupFailed("no swap".into()),
            Frame::CheckFailed("unload".into()),
            Frame::Note("hello".into()),
            Frame::Dumped,
            Frame::Done,
        ];
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend(frame.bytes().unwrap());
        }
        let mut stream = &stream[..];
        for frame in &frames {
            assert_eq!(Frame::read(&mut stream).unwrap().as_ref(), Some(frame));
        }
        assert_eq!(Frame::read(&mut stream).unwrap(), None);
    }

    #[test]
    fn a_long_text_is_cut() {
        // Of two bytes each, so that the longest payload ends within one.
        let text = format!("x{}", "é".repeat(MAX_PAYLOAD));
        let stream = Frame::Note(text.clone()).bytes().unwrap();
        let read = Frame::read(&mut &stream[..]).unwrap();
        assert_eq!(read, Some(Frame::Note(text[..MAX_PAYLOAD - 1].to_owned())));
    }

    #[test]
    fn a_torn_frame_is_an_error_and_not_an_end() {
        let stream = Frame::Stdout(vec![1; 10]).bytes().unwrap();
        assert!(Frame::read(&mut &stream[..7]).is_err());
        assert!(Frame::read(&mut &stream[..1]).is_err());
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Frame::read(&mut &b"Z\0\0\0\0"[..]).is_err());
        assert!(Frame::read(&mut &b"o\xff\xff\xff\xff"[..]).is_err());
    }
}

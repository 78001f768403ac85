// SPDX-License-Identifier: GPL-2.0

//! The virtio port to the host.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::thread::sleep;
use std::time::Duration;

use super::kmsg;
use crate::common::frame::{Frame, PORT_NAME};

/// The port. A machine that goes to sleep may lose the device for a time.
pub struct Port {
    /// `None` while there is no device.
    file: Option<File>,
    /// A frame was lost. Nothing follows it, least of all that all is done: a gap must not look like an end.
    torn: bool,
}

/// Most milliseconds that the device is waited for.
const PATIENCE: u32 = 5000;
/// Milliseconds between two looks for it.
const LOOK: u32 = 10;

impl Port {
    /// Waits for the device, and opens it.
    pub fn open() -> Result<Port, String> {
        let mut port = Port {
            file: None,
            torn: false,
        };
        port.wait()?;
        Ok(port)
    }

    /// Waits until there is a device, at most [`PATIENCE`], and opens it.
    fn wait(&mut self) -> Result<(), String> {
        let mut why = format!(
            "no virtio port named {PORT_NAME} (does this kernel have CONFIG_VIRTIO_CONSOLE=y?)"
        );
        for _ in 0..PATIENCE / LOOK {
            match open_found() {
                Ok(None) => {}
                Ok(file) => {
                    self.file = file;
                    return Ok(());
                }
                Err(text) => why = text,
            }
            sleep(Duration::from_millis(LOOK.into()));
        }
        Err(why)
    }

    /// Sends one frame. When the host is gone there is nobody to work for: the log says so and
    /// the host's end has closed anyway.
    pub fn send(&mut self, frame: &Frame) {
        let bytes = match frame.bytes() {
            Ok(bytes) => bytes,
            Err(error) => return self.tear(&error),
        };
        while !self.torn {
            match self.write(&bytes) {
                Ok(()) => return,
                Err((0, error)) if error.raw_os_error() == Some(libc::ENODEV) => {
                    self.close();
                    if let Err(text) = self.wait() {
                        self.tear(&text);
                    }
                }
                Err((_, error)) => self.tear(&error),
            }
        }
    }

    /// An error comes with the number of bytes that went out before it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, Error)> {
        let mut sent = 0;
        while sent < bytes.len() {
            let file = self.file.as_mut();
            let result = file.map_or_else(no_device, |file| file.write(&bytes[sent..]));
            match result {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err((sent, error)),
            }
        }
        Ok(())
    }

    fn tear(&mut self, error: &dyn Display) {
        self.torn = true;
        kmsg::write(&format!("vmrun: the host does not take messages: {error}"));
    }

    /// The device has gone.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Opens the device again, if it had gone and has come back.
    pub fn look(&mut self) {
        if self.file.is_none() {
            self.file = open_found().ok().flatten();
        }
    }

    /// Milliseconds that may go by until the next [`Port::look`]; -1: there is no need for one.
    pub fn patience(&self) -> i32 {
        match self.file {
            Some(_) => -1,
            None => LOOK as i32,
        }
    }

    /// For `poll`, which ignores negative numbers.
    pub fn fd(&self) -> RawFd {
        self.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// One byte of what the host has said. There is something.
    pub fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        let length = self.file.as_mut()?.read(&mut byte).ok()?;
        (length == 1).then_some(byte[0])
    }
}

fn no_device() -> Result<usize, Error> {
    Err(Error::from_raw_os_error(libc::ENODEV))
}

/// `None`: there is no such port.
fn open_found() -> Result<Option<File>, String> {
    let Some(path) = find() else {
        return Ok(None);
    };
    let file = OpenOptions::new().read(true).write(true).open(&path);
    file.map(Some)
        .map_err(|error| format!("cannot open {path}: {error}"))
}

fn find() -> Option<String> {
    for port in fs::read_dir("/sys/class/virtio-ports").ok()?.flatten() {
        let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        if name.trim_end() == PORT_NAME {
            return Some(format!("/dev/{}", port.file_name().to_string_lossy()));
        }
    }
    None
}

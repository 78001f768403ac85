// SPDX-License-Identifier: GPL-2.0

//! The virtio port to the host.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::thread::sleep;
use std::time::Duration;

use super::kmsg;
use crate::common::frame::{Frame, PORT_NAME};

/// The open port.
pub struct Port {
    file: File,
    /// A frame was lost. Nothing follows it, least of all that all is done: a gap must not look like an end.
    torn: bool,
}

impl Port {
    /// Waits for the device, at most five seconds, and opens it.
    pub fn open() -> Result<Port, String> {
        for _ in 0..500 {
            if let Some(path) = find() {
                let file = OpenOptions::new().read(true).write(true).open(&path);
                return file
                    .map(|file| Port { file, torn: false })
                    .map_err(|error| format!("cannot open {path}: {error}"));
            }
            sleep(Duration::from_millis(10));
        }
        Err(format!(
            "no virtio port named {PORT_NAME} (does this kernel have CONFIG_VIRTIO_CONSOLE=y?)"
        ))
    }

    /// Sends one frame. When the host is gone there is nobody to work for: the log says so and
    /// the host's end has closed anyway.
    pub fn send(&mut self, frame: &Frame) {
        if self.torn {
            return;
        }
        if let Err(error) = frame.write(&mut self.file) {
            self.torn = true;
            kmsg::write(&format!("vmrun: the host does not take messages: {error}"));
        }
    }

    /// The port's file, for the host's requests.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
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

// SPDX-License-Identifier: GPL-2.0

//! What the guest is told to do: one file in its initramfs.
//!
//! The file is a row of records `key=value`, each ended by a zero byte, because a command's
//! arguments may hold anything else.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Where the job lies in the guest.
pub const JOB_PATH: &str = "/job";

/// The directory in the guest that holds the files and in which the command runs.
pub const WORK_DIR: &str = "/work";

/// How swapksm is put into the kernel before the command, and taken out after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Load {
    /// Not at all.
    #[default]
    No,
    /// By the plain system call, because there is no `ksmctl` that can.
    Insmod,
    /// By `ksmctl load`, and out by `ksmctl unload`.
    Ksmctl,
}

/// The guest's orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// `NAME=VALUE` for the command's environment.
    pub env: Vec<OsString>,
    /// Kernel modules as paths in the guest, in the order in which they must be loaded.
    pub modules: Vec<OsString>,
    /// How to load swapksm.
    pub load: Load,
    /// There is a disk with the serial number `swap`: swap on it.
    pub swap_disk: bool,
    /// Bytes of a zram device to swap on; 0 for none.
    pub zram: u64,
    /// Files to send back after the command.
    pub gets: Vec<OsString>,
    /// Ask kmemleak at the end.
    pub kmemleak: bool,
}

impl Job {
    /// The job as the contents of `JOB_PATH`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |key: &str, value: &[u8]| {
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(0);
        };
        for (key, list) in [
            ("command", &self.command),
            ("env", &self.env),
            ("module", &self.modules),
            ("get", &self.gets),
        ] {
            for value in list {
                put(key, value.as_bytes());
            }
        }
        match self.load {
            Load::No => {}
            Load::Insmod => put("load", b"insmod"),
            Load::Ksmctl => put("load", b"ksmctl"),
        }
        if self.swap_disk {
            put("swap-disk", b"yes");
        }
        if self.zram > 0 {
            put("zram", self.zram.to_string().as_bytes());
        }
        if self.kmemleak {
            put("kmemleak", b"yes");
        }
        out
    }

    /// Reads a job back. The error names the record that makes no sense.
    pub fn decode(bytes: &[u8]) -> Result<Job, String> {
        let mut job = Job::default();
        for record in bytes
            .split(|&byte| byte == 0)
            .filter(|record| !record.is_empty())
        {
            let bad = || {
                format!(
                    "{JOB_PATH} has a record that makes no sense: {}",
                    String::from_utf8_lossy(record)
                )
            };
            let equals = record
                .iter()
                .position(|&byte| byte == b'=')
                .ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let text = || OsString::from_vec(value.to_vec());
            match (key, value) {
                (b"command", _) => job.command.push(text()),
                (b"env", _) => job.env.push(text()),
                (b"module", _) => job.modules.push(text()),
                (b"get", _) => job.gets.push(text()),
                (b"load", b"insmod") => job.load = Load::Insmod,
                (b"load", b"ksmctl") => job.load = Load::Ksmctl,
                (b"swap-disk", b"yes") => job.swap_disk = true,
                (b"kmemleak", b"yes") => job.kmemleak = true,
                (b"zram", number) => {
                    let number = std::str::from_utf8(number)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    job.zram = number.ok_or_else(bad)?;
                }
                _ => return Err(bad()),
            }
        }
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_trip() {
        let job = Job {
            command: vec![
                "sh".into(),
                "-c".into(),
                "echo a=b\n".into(),
                OsString::from_vec(vec![0xff]),
                "".into(),
            ],
            env: vec!["A=1=2".into()],
            modules: vec!["/lib/modules/virtio_blk.ko.xz".into()],
            load: Load::Ksmctl,
            swap_disk: true,
            zram: 1 << 28,
            gets: vec!["out.csv".into()],
            kmemleak: true,
        };
        assert_eq!(Job::decode(&job.encode()), Ok(job));
        assert_eq!(Job::decode(&Job::default().encode()), Ok(Job::default()));
    }

    #[test]
    fn nonsense_is_named() {
        assert!(Job::decode(b"load=magic\0")
            .unwrap_err()
            .contains("load=magic"));
        assert!(Job::decode(b"zram=-1\0").is_err());
        assert!(Job::decode(b"hello\0").is_err());
    }
}

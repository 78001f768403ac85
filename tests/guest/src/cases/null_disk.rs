// SPDX-License-Identifier: GPL-2.0

//! A disk in memory (null_blk) whose sectors can be broken and mended.

use std::fs;
use std::path::PathBuf;

use crate::case::{skip, Context, Outcome};
use crate::sys::{self, PAGE};

const CONFIG: &str = "/sys/kernel/config";
const SECTORS: u64 = (PAGE / 512) as u64;

/// The disk; gone when dropped (nobody may use it then).
pub struct NullDisk {
    control: PathBuf,
    path: String,
}

impl NullDisk {
    /// Makes a disk of that many MiB; skips where the kernel has no null_blk.
    pub fn new(mebibytes: usize) -> Outcome<NullDisk> {
        NullDisk::with(mebibytes, &[])
    }

    /// The same with a disk that takes its time for each request.
    pub fn slow(mebibytes: usize, nanoseconds: u64) -> Outcome<NullDisk> {
        // Requests end when a timer says so.
        let settings = [
            ("irqmode", "2"),
            ("completion_nsec", &nanoseconds.to_string()),
        ];
        NullDisk::with(mebibytes, &settings)
    }

    fn with(mebibytes: usize, settings: &[(&str, &str)]) -> Outcome<NullDisk> {
        mount_configfs();
        let root = PathBuf::from(CONFIG).join("nullb");
        if !root.exists() {
            return skip("no null_blk in this machine");
        }
        let control = root.join("guest-tests");
        fs::create_dir(&control).context("making a null_blk disk")?;
        let mut disk = NullDisk {
            control,
            path: String::new(),
        };
        disk.set("memory_backed", "1")?;
        disk.set("size", &mebibytes.to_string())?;
        for (file, value) in settings {
            disk.set(file, value)?;
        }
        disk.set("power", "1")?;
        let index = fs::read_to_string(disk.control.join("index")).context("index")?;
        let names = [
            "/dev/guest-tests".to_owned(),
            format!("/dev/nullb{}", index.trim()),
        ];
        for path in names {
            if fs::metadata(&path).is_ok() {
                disk.path = path;
                return Ok(disk);
            }
        }
        skip("the null_blk disk has no device file")
    }

    /// The device file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Breaks a page of the disk: it can be neither read nor written.
    pub fn break_page(&self, page: u64) -> Outcome {
        self.set("badblocks", &format!("+{}", sectors(page)))
    }

    /// Mends it.
    pub fn mend_page(&self, page: u64) -> Outcome {
        self.set("badblocks", &format!("-{}", sectors(page)))
    }

    fn set(&self, file: &str, value: &str) -> Outcome {
        let path = self.control.join(file);
        fs::write(&path, value).context(format!("writing '{value}' to {}", path.display()))
    }
}

impl Drop for NullDisk {
    fn drop(&mut self) {
        let _ = self.set("power", "0");
        let _ = fs::remove_dir(&self.control);
    }
}

/// First and last sector of a page.
fn sectors(page: u64) -> String {
    format!("{}-{}", page * SECTORS, page * SECTORS + SECTORS - 1)
}

fn mount_configfs() {
    let kind = c"configfs".as_ptr();
    // Whether it was mounted before, or cannot be, shows afterwards.
    let _ = sys::check(
        // SAFETY: strings that outlive the call.
        unsafe {
            libc::mount(
                kind,
                c"/sys/kernel/config".as_ptr(),
                kind,
                0,
                std::ptr::null(),
            )
        }
        .into(),
    );
}

// SPDX-License-Identifier: GPL-2.0

//! Turning swap on.

use std::fs::{self, OpenOptions};
use std::io::Write;

use super::sys::swap_on;
use crate::common::job::Job;
use crate::common::swap_header::swap_header;

/// Compressed memory is filled before a disk, as distributions do.
const ZRAM_PRIORITY: i32 = 100;
const DISK_PRIORITY: i32 = 0;

/// Serial number of the disk that the host prepared for swapping.
const SWAP_SERIAL: &str = "swap";

/// Turns on what the job asks for.
pub fn turn_on(job: &Job) -> Result<(), String> {
    if job.zram > 0 {
        fs::write("/sys/block/zram0/disksize", job.zram.to_string())
            .map_err(|error| format!("cannot give /dev/zram0 its size: {error}"))?;
        format_zram(job.zram)?;
        swap_on("/dev/zram0", ZRAM_PRIORITY)?;
    }
    if job.swap_disk {
        let disk = find_disk(SWAP_SERIAL)
            .ok_or("there is no swap disk: no disk in /sys/block has the serial number \"swap\"")?;
        swap_on(&disk, DISK_PRIORITY)?;
    }
    Ok(())
}

fn format_zram(bytes: u64) -> Result<(), String> {
    let header =
        swap_header(bytes).ok_or_else(|| format!("zram of {bytes} bytes is no size for swap"))?;
    let write = |header: &[u8]| -> std::io::Result<()> {
        let mut device = OpenOptions::new().write(true).open("/dev/zram0")?;
        device.write_all(header)?;
        device.sync_all()
    };
    write(&header).map_err(|error| format!("cannot write the swap header to /dev/zram0: {error}"))
}

fn find_disk(serial: &str) -> Option<String> {
    fs::read_dir("/sys/block").ok()?.flatten().find_map(|disk| {
        let found = fs::read_to_string(disk.path().join("serial")).ok()?;
        (found.trim_end() == serial).then(|| format!("/dev/{}", disk.file_name().to_string_lossy()))
    })
}

// SPDX-License-Identifier: GPL-2.0

//! What the kernel says in its log from now on.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::files;
use crate::machine::Machine;

/// A record of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// 0 emergency … 7 debug.
    pub level: u8,
    pub text: String,
}

impl Record {
    /// Warning or worse.
    pub fn is_warning(&self) -> bool {
        self.level <= 4
    }

    /// What swapksm says, without its name in front.
    pub fn of_swapksm(&self) -> Option<&str> {
        self.text.strip_prefix("swapksm: ")
    }
}

/// The log from the moment this was made.
pub struct Since(Option<File>);

impl Since {
    /// Starts listening. Without access to the log nothing will be heard, which is no failure.
    pub fn now(machine: &Machine) -> Self {
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(machine.path(files::KMSG))?;
            file.seek(SeekFrom::End(0))?;
            std::io::Result::Ok(file)
        };
        Self(open().ok())
    }

    /// What came since it was last asked.
    pub fn records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut buffer = [0; 8192];
        let Some(file) = &mut self.0 else {
            return records;
        };
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return records,
                Ok(length) => records.extend(parse(&String::from_utf8_lossy(&buffer[..length]))),
                // The oldest records were overwritten; the next read goes on with what is left.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => return records,
            }
        }
    }
}

/// `priority,sequence,time,flags;text`, then lines that start with a blank. A test's file holds several.
fn parse(text: &str) -> Vec<Record> {
    let lines = text.lines().filter(|line| !line.starts_with(' '));
    lines
        .filter_map(|line| {
            let (head, text) = line.split_once(';')?;
            let priority: u32 = head.split(',').next()?.parse().ok()?;
            let level = (priority & 7) as u8;
            Some(Record {
                level,
                text: text.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_its_dictionary() {
        let records = parse("4,812,93812345,-;swapksm: 3 merged pages\n SUBSYSTEM=module\n");
        assert_eq!(
            records,
            [Record {
                level: 4,
                text: "swapksm: 3 merged pages".to_owned()
            }]
        );
        assert_eq!(records[0].of_swapksm(), Some("3 merged pages"));
        assert!(records[0].is_warning());
    }

    #[test]
    fn the_facility_is_no_part_of_the_level() {
        assert_eq!(parse("30,1,2,-;x: y\n")[0].level, 6);
    }
}

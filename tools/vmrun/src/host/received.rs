// SPDX-License-Identifier: GPL-2.0

//! Files that the guest sends back.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cache::cannot;

/// Receives one file after the other into a directory.
pub struct Received {
    into: PathBuf,
    current: Option<(PathBuf, PathBuf, File)>,
}

impl Received {
    /// Files will go into the directory `into`, made when the first one comes.
    pub fn new(into: &Path) -> Self {
        Received {
            into: into.to_path_buf(),
            current: None,
        }
    }

    /// A file begins. Only the last part of its name in the guest is used here.
    pub fn start(&mut self, guest_path: &[u8]) -> Result<(), String> {
        let name = Path::new(OsStr::from_bytes(guest_path))
            .file_name()
            .ok_or("--get: the name of a file is missing")?;
        fs::create_dir_all(&self.into)
            .map_err(|error| cannot("make the directory", &self.into, &error))?;
        let path = self.into.join(name);
        // Under another name until it is whole.
        let partial = self.into.join(
            [name.as_bytes(), b".part"]
                .map(OsStr::from_bytes)
                .join(OsStr::new("")),
        );
        let file = File::create(&partial).map_err(|error| cannot("write", &partial, &error))?;
        self.current = Some((path, partial, file));
        Ok(())
    }

    /// More of the file's contents.
    pub fn data(&mut self, data: &[u8]) -> Result<(), String> {
        let Some((_, partial, file)) = &mut self.current else {
            return Ok(());
        };
        file.write_all(data)
            .map_err(|error| cannot("write", partial, &error))
    }

    /// The file is complete.
    pub fn end(&mut self) -> Result<(), String> {
        let Some((path, partial, _)) = self.current.take() else {
            return Ok(());
        };
        fs::rename(&partial, &path)
            .map_err(|error| cannot("rename a received file to", &path, &error))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some((_, partial, _)) = &self.current {
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_stay_and_torn_ones_go() {
        let into = std::env::temp_dir().join(format!("vmrun-received-{}", std::process::id()));
        let mut received = Received::new(&into);
        received.start(b"/tmp/a.csv").unwrap();
        received.data(b"1,").unwrap();
        received.data(b"2\n").unwrap();
        received.end().unwrap();
        received.start(b"b").unwrap();
        drop(received);
        assert_eq!(fs::read(into.join("a.csv")).unwrap(), b"1,2\n");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 1);
        fs::remove_dir_all(&into).unwrap();
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The guest's only file system: this program as `/init`, busybox, kernel modules, the job, the FILEs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{cannot, Cache};
use super::cpio::Cpio;
use super::{files, memory_file};
use crate::common::elf;
use crate::common::job::{Job, JOB_PATH, WORK_DIR};

/// Directories of the guest; each after its parent.
const DIRECTORIES: &[&str] = &[
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/modules",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "var",
    "work",
];

/// Where the guest finds its kernel modules.
const MODULE_DIR: &str = "/lib/modules";

/// What goes into one guest.
pub struct Contents<'a> {
    /// The job; its list of modules is filled in here.
    pub job: Job,
    /// The kernel's own modules, in the order in which to load them.
    pub modules: &'a [PathBuf],
    /// For the working directory.
    pub files: &'a [PathBuf],
    /// Likewise, but ours.
    pub own_files: &'a [PathBuf],
}

/// Writes the archive into memory that goes away with the processes that use it.
pub fn build(cache: &Cache, contents: Contents) -> Result<File, String> {
    let broken = |error| format!("cannot write the guest's initramfs: {error}");
    let mut cpio = Cpio::new(BufWriter::new(
        memory_file::new(c"initramfs").map_err(broken)?,
    ));
    for directory in DIRECTORIES {
        cpio.directory(directory.as_bytes(), 0o755)
            .map_err(broken)?;
    }
    cpio.file(b"init", 0o755, &own_program()?).map_err(broken)?;
    cpio.file(
        b"etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    )
    .map_err(broken)?;
    cpio.file(b"etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")
        .map_err(broken)?;
    pack_busybox(&cache.busybox()?, &mut cpio)?;

    let mut job = contents.job;
    for module in contents.modules {
        let name = module.file_name().unwrap_or_default();
        let inside = Path::new(MODULE_DIR).join(name);
        let data = fs::read(module).map_err(|error| cannot("read", module, &error))?;
        cpio.file(relative(inside.as_os_str().as_bytes()), 0o644, &data)
            .map_err(broken)?;
        job.modules.push(inside.into());
    }
    cpio.file(relative(JOB_PATH.as_bytes()), 0o600, &job.encode())
        .map_err(broken)?;
    let all: Vec<PathBuf> = contents
        .own_files
        .iter()
        .chain(contents.files)
        .cloned()
        .collect();
    debug_assert_eq!(
        DIRECTORIES.last().map(|name| name.as_bytes()),
        Some(relative(WORK_DIR.as_bytes()))
    );
    files::pack(&all, &mut cpio)?;

    let writer = cpio.finish().map_err(broken)?;
    writer
        .into_inner()
        .map_err(|error| broken(error.into_error()))
}

fn relative(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

fn own_program() -> Result<Vec<u8>, String> {
    let path = std::env::current_exe()
        .map_err(|error| format!("cannot find the runner's own program: {error}"))?;
    let bytes = fs::read(&path).map_err(|error| cannot("read", &path, &error))?;
    match elf::loader(&bytes) {
        None => Ok(bytes),
        Some(loader) => Err(format!(
            "{} is linked dynamically ({loader}), but must also run as the guest's first process: build it with `make tools`",
            path.display()
        )),
    }
}

fn pack_busybox<W: std::io::Write>(busybox: &Path, cpio: &mut Cpio<W>) -> Result<(), String> {
    let failed = |error| cannot("use", busybox, &error);
    cpio.file(b"bin/busybox", 0o755, &fs::read(busybox).map_err(failed)?)
        .map_err(failed)?;
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .map_err(failed)?;
    // A set, because an entry twice would be an error for the kernel.
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let applets: BTreeSet<&str> = list
        .split_whitespace()
        .filter(|&name| name != "busybox")
        .collect();
    if !applets.contains("sh") {
        return Err(format!("{} has no sh: is it a busybox?", busybox.display()));
    }
    for name in applets {
        cpio.symlink(format!("bin/{name}").as_bytes(), b"busybox")
            .map_err(failed)?;
    }
    Ok(())
}

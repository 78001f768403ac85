// SPDX-License-Identifier: GPL-2.0

//! The FILEs of the command line, as entries of the guest's working directory.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cache::cannot;
use super::cpio::Cpio;
use crate::common::job::WORK_DIR;

/// Puts every file, and every directory with all that is in it, under the last part of its name
/// into the guest's working directory.
pub fn pack<W: Write>(files: &[PathBuf], cpio: &mut Cpio<W>) -> Result<(), String> {
    let mut taken = HashMap::new();
    for path in files {
        // `.` and `..` have no last part until they are resolved.
        let real = path
            .canonicalize()
            .map_err(|error| cannot("read", path, &error))?;
        let name = path
            .file_name()
            .or(real.file_name())
            .ok_or("the root directory cannot be a FILE")?;
        if let Some(other) = taken.insert(name.to_owned(), path) {
            let (one, two) = (other.display(), path.display());
            return Err(format!(
                "{one} and {two} would have the same name in the guest's working directory"
            ));
        }
        let inside = [
            WORK_DIR.trim_start_matches('/').as_bytes(),
            b"/",
            name.as_bytes(),
        ]
        .concat();
        pack_one(&real, &inside, cpio)?;
    }
    Ok(())
}

fn pack_one<W: Write>(path: &Path, inside: &[u8], cpio: &mut Cpio<W>) -> Result<(), String> {
    let failed = |error| cannot("read", path, &error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let permissions = metadata.permissions().mode() & 0o7777;
    let kind = metadata.file_type();
    if kind.is_dir() {
        cpio.directory(inside, permissions).map_err(failed)?;
        let mut entries = fs::read_dir(path)
            .map_err(failed)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inside = [inside, b"/", entry.file_name().as_bytes()].concat();
            pack_one(&entry.path(), &inside, cpio)?;
        }
        Ok(())
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        cpio.symlink(inside, target.as_os_str().as_bytes())
            .map_err(failed)
    } else if kind.is_file() {
        cpio.file(inside, permissions, &fs::read(path).map_err(failed)?)
            .map_err(failed)
    } else {
        Err(format!(
            "{} is neither a file nor a directory: the guest cannot have it",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_clashing_files_are_named() {
        let mut cpio = Cpio::new(Vec::new());
        let error = pack(&["/no/such/file".into()], &mut cpio).unwrap_err();
        assert!(error.contains("/no/such/file"), "{error}");
        let error = pack(
            &["/etc/passwd".into(), "/etc/../etc/passwd".into()],
            &mut cpio,
        )
        .unwrap_err();
        assert!(error.contains("same name"), "{error}");
    }
}

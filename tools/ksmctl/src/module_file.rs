// SPDX-License-Identifier: GPL-2.0

//! Which file is loaded.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::machine::Machine;
use crate::system::Access;

const NAME: &str = "swapksm.ko";

/// The file asked for; else the one installed for this kernel; else one in the current directory that only root can have
/// put there.
pub fn find(machine: &Machine, asked: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(file) = asked {
        return if file.is_file() {
            Ok(file.to_owned())
        } else {
            Err(Failure::new(format!("there is no file {}", file.display()))
                .remedy("name the module's file: swapksm.ko"))
        };
    }
    let release = machine.system.release();
    let installed = format!("/lib/modules/{release}/updates/{NAME}");
    let candidates = [installed.clone(), format!("{installed}.xz")].map(|file| machine.path(&file));
    if let Some(file) = candidates.into_iter().find(|file| file.is_file()) {
        return Ok(file);
    }
    let here = machine.system.current_directory();
    let file = here.join(NAME);
    if !file.is_file() {
        return Err(Failure::new(format!("there is neither {installed} nor {NAME} here"))
            .remedy(format!("install it with `make install` in a checkout of swapksm (this kernel is {release}), or name the file")));
    }
    match is_roots_alone(machine, &here, &file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(Failure::new(format!(
            "{} is not loaded unless it is named: others than root could have put it there, written to it, or brought its file system (nosuid)",
            file.display()
        ))
        .remedy(format!(
            "if it is what you want: ksmctl load {}",
            file.display()
        ))),
        Err(error) => Err(Failure::new(format!(
            "cannot tell whose {} is: {error}",
            file.display()
        ))),
    }
}

/// Can nobody but root have chosen this file? A link is no file of this directory.
fn is_roots_alone(machine: &Machine, directory: &Path, file: &Path) -> io::Result<bool> {
    let (directory, file) = (
        machine.system.access(directory)?,
        machine.system.access(file)?,
    );
    let kind = file.mode & libc::S_IFMT;
    Ok(kind == libc::S_IFREG && [directory, file].iter().all(only_root_writes))
}

/// On a file system that a user has brought all is as that user wants it, root's ownership included. With an access control list the group's bits say what anybody on it may do at most.
fn only_root_writes(access: &Access) -> bool {
    access.user == 0 && !access.nosuid && access.mode & (libc::S_IWGRP | libc::S_IWOTH) == 0
}

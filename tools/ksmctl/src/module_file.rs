// SPDX-License-Identifier: GPL-2.0

//! Which file is loaded.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::machine::Machine;

const NAME: &str = "swapksm.ko";

/// The file asked for; else one in the current directory; else the one installed for this kernel.
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
    let candidates = [
        PathBuf::from(NAME),
        machine.path(&installed),
        machine.path(&format!("{installed}.xz")),
    ];
    candidates.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        Failure::new(format!("there is neither {NAME} here nor {installed}"))
            .remedy(format!("install it with `make install` in a checkout of swapksm (this kernel is {release}), or name the file"))
    })
}

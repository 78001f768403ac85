// SPDX-License-Identifier: GPL-2.0

//! `vmrun` boots a kernel in QEMU, runs one command in it and hands back what the command said.
//!
//! One static binary plays both parts: on the host it is the runner, and packed into the guest's
//! initramfs as `/init` it is the guest's first process.

mod common;
mod guest;
mod host;

use std::process::ExitCode;

fn main() -> ExitCode {
    if is_guest_init() {
        guest::main()
    } else {
        host::main()
    }
}

/// The kernel starts the initramfs program as process 1 under the name `/init`. The name is asked
/// too because the runner may itself be process 1 of a container.
fn is_guest_init() -> bool {
    std::process::id() == 1
        && std::env::args_os()
            .next()
            .is_some_and(|name| name == "/init")
}

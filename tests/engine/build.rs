// SPDX-License-Identifier: GPL-2.0

//! The configuration that the module's files are compiled for.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(swapksm_debug)");
    println!("cargo::rustc-cfg=swapksm_debug");
    println!("cargo::rerun-if-changed=build.rs");
}

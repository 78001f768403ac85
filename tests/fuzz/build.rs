// SPDX-License-Identifier: GPL-2.0

//! The configuration of the kernel that the module's files are compiled for.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(CONFIG_NUMA)");
    println!("cargo::rustc-check-cfg=cfg(swapksm_debug)");
    println!("cargo::rustc-cfg=CONFIG_NUMA");
    println!("cargo::rerun-if-changed=build.rs");
}

// SPDX-License-Identifier: GPL-2.0

//! klp-link: lets a livepatch module use symbols the kernel does not export.
//!
//! `klp-link symbols` reads the symbol table out of a stock kernel image. `klp-link link` takes a linked module whose
//! unexported symbols were left undefined and turns each of them into a livepatch symbol, which the kernel resolves
//! itself when it loads the module.

mod bzimage;
mod elf;
mod kallsyms;
mod link;
mod output;
mod symbols;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::link::{Pick, Resolver};
use crate::symbols::{Exports, SymbolMap};

/// Lets a livepatch module use symbols that the kernel does not export.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the symbol table that a kernel image carries, in the format of System.map.
    Symbols {
        /// Kernel image: vmlinuz (bzImage) or vmlinux (ELF).
        image: PathBuf,
        /// Where to write it.
        output: PathBuf,
    },
    /// Turn a module's unexported symbols into livepatch symbols.
    Link {
        /// Symbols of the kernel the module is for, sorted by address.
        #[arg(long, value_name = "FILE")]
        system_map: PathBuf,
        /// Module.symvers of that kernel: what it exports.
        #[arg(long, value_name = "FILE")]
        symvers: PathBuf,
        /// Where NAME stands more than once in the kernel, take the one nearest to ANCHOR.
        #[arg(long, value_name = "NAME=ANCHOR")]
        pick: Vec<Pick>,
        /// The module as the kernel's build system linked it.
        input: PathBuf,
        /// Where to write the module that can be loaded.
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                eprintln!("klp-link: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Symbols { image, output } => {
            let bytes = std::fs::read(&image)
                .with_context(|| format!("cannot read kernel image {}", image.display()))?;
            let symbols = bzimage::vmlinux(bytes)
                .and_then(|vmlinux| kallsyms::read(&vmlinux))
                .with_context(|| {
                    format!(
                        "cannot read the symbols of kernel image {}",
                        image.display()
                    )
                })?;
            output::replace(&output, SymbolMap::format(&symbols).as_bytes())
        }
        Command::Link {
            system_map,
            symvers,
            pick,
            input,
            output,
        } => {
            let map = SymbolMap::read(&system_map)?;
            let exports = Exports::read(&symvers)?;
            let bytes = std::fs::read(&input)
                .with_context(|| format!("cannot read module {}", input.display()))?;
            let mut module = elf::Object::parse(&bytes).with_context(|| {
                format!("{} is not a module that can be linked", input.display())
            })?;
            let resolver = Resolver::new(&map, &exports, &pick)?;
            link::link(&mut module, &resolver)
                .with_context(|| format!("cannot link {}", input.display()))?;
            output::replace(&output, &module.write())
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Undefined symbols become livepatch symbols, and their relocations livepatch relocations.
//!
//! The kernel's side of this is kernel/livepatch/core.c (`klp_resolve_symbols()`): a livepatch symbol is named
//! `.klp.sym.OBJECT.NAME,POSITION` and has the section number SHN_LIVEPATCH, and every relocation of a section whose
//! flags have SHF_RELA_LIVEPATCH must be against such a symbol.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};
use object::{elf, LittleEndian as LE};

use crate::elf::{Object, Symbol};
use crate::symbols::{Exports, SymbolMap};

/// From include/uapi/linux/elf.h; the object crate does not know them.
const SHN_LIVEPATCH: u16 = 0xff20;
const SHF_RELA_LIVEPATCH: u64 = 0x0010_0000;

/// Our livepatch changes the kernel itself only, no module.
const OBJECT: &str = "vmlinux";

/// Where NAME stands more than once in the kernel: the one nearest to ANCHOR.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    name: String,
    anchor: String,
}

impl FromStr for Pick {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, anchor)) if !name.is_empty() && !anchor.is_empty() => Ok(Self {
                name: name.to_owned(),
                anchor: anchor.to_owned(),
            }),
            _ => Err("it is not NAME=ANCHOR"),
        }
    }
}

/// Finds out what an undefined symbol of a module refers to.
pub(crate) struct Resolver<'a> {
    map: &'a SymbolMap,
    exports: &'a Exports,
    anchors: HashMap<&'a str, &'a str>,
}

/// Why an undefined symbol cannot be resolved.
#[derive(Debug)]
enum Unresolved {
    Unknown,
    Ambiguous(usize),
    NoAnchor(String),
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(map: &'a SymbolMap, exports: &'a Exports, picks: &'a [Pick]) -> Result<Self> {
        let mut anchors = HashMap::new();
        for pick in picks {
            let twice = anchors.insert(pick.name.as_str(), pick.anchor.as_str());
            ensure!(
                twice.is_none(),
                "--pick {} is given more than once",
                pick.name
            );
        }
        Ok(Self {
            map,
            exports,
            anchors,
        })
    }

    /// What the kernel calls `name`, and its position. A pick of a part of it, such as NAME.0, stands for it where it was
    /// split up: clang makes a variable of each field of a static struct whose address nobody takes.
    fn resolve(&self, name: &'a str) -> Result<(&'a str, usize), Unresolved> {
        if let (None, Some(part)) = (self.map.named(name).next(), self.part_of(name)) {
            return self.position(part).map(|position| (part, position));
        }
        self.position(name).map(|position| (name, position))
    }

    fn part_of(&self, name: &str) -> Option<&'a str> {
        let part = *self.anchors.get(name)?;
        part.strip_prefix(name)?.starts_with('.').then_some(part)
    }

    /// The position of `name` among the kernel's symbols of that name, from 1; 0 when there is just one.
    fn position(&self, name: &str) -> Result<usize, Unresolved> {
        let candidates = self.map.named(name);
        match candidates.len() {
            0 => Err(Unresolved::Unknown),
            1 => Ok(0),
            count => {
                let anchor = *self.anchors.get(name).ok_or(Unresolved::Ambiguous(count))?;
                self.nearest(name, anchor)
                    .ok_or_else(|| Unresolved::NoAnchor(anchor.to_owned()))
            }
        }
    }

    /// An object file's data of one kind lies together, so the nearest to one of its unique symbols is its own.
    fn nearest(&self, name: &str, anchor: &str) -> Option<usize> {
        let mut anchors = self.map.named(anchor);
        let (Some(anchor), None) = (anchors.next(), anchors.next()) else {
            return None;
        };
        let distances = self
            .map
            .named(name)
            .map(|symbol| symbol.address.abs_diff(anchor.address));
        distances
            .enumerate()
            .min_by_key(|&(_, distance)| distance)
            .map(|(at, _)| at + 1)
    }
}

/// Rewrites `module` so that the kernel resolves its unexported symbols.
pub(crate) fn link(module: &mut Object, resolver: &Resolver<'_>) -> Result<()> {
    ensure_livepatch(module)?;
    let positions = unexported_symbols(module, resolver)?;
    for (&at, (name, position)) in &positions {
        module.rename_symbol(at, &format!(".klp.sym.{OBJECT}.{name},{position}"));
        module.symbols[at].st_shndx.set(LE, SHN_LIVEPATCH);
    }
    let livepatch_symbols: HashSet<usize> = positions.into_keys().collect();
    for (section, target) in module.relocation_sections() {
        split_relocations(module, section, target, &livepatch_symbols)?;
    }
    Ok(())
}

/// Only in a module with this mark does the kernel look at livepatch symbols.
fn ensure_livepatch(module: &Object) -> Result<()> {
    let modinfo = module
        .section(".modinfo")
        .context("it has no section .modinfo, so it is not a kernel module")?;
    let marked = modinfo
        .data
        .split(|&byte| byte == 0)
        .any(|entry| entry == b"livepatch=Y");
    ensure!(
        marked,
        "it is not marked as a livepatch; it needs MODULE_INFO(livepatch, \"Y\")"
    );
    let linked = module
        .sections
        .iter()
        .any(|section| section.name.starts_with(".klp.rela."));
    ensure!(
        !linked,
        "it was already linked; give the module as the kernel's build system made it"
    );
    Ok(())
}

/// Number, name and position of each symbol that the kernel has and does not export.
fn unexported_symbols<'a>(
    module: &'a Object,
    resolver: &Resolver<'a>,
) -> Result<BTreeMap<usize, (String, usize)>> {
    let mut resolved = BTreeMap::new();
    let mut complaints = vec![];
    for (at, symbol) in module.symbols.iter().enumerate().skip(1) {
        let name = module.symbol_name(symbol)?;
        if symbol.st_shndx.get(LE) != elf::SHN_UNDEF
            || name.is_empty()
            || resolver.exports.contains(name)
        {
            continue;
        }
        match resolver.resolve(name) {
            Ok((name, position)) => drop(resolved.insert(at, (name.to_owned(), position))),
            // The kernel leaves a weak symbol it does not have at zero.
            Err(Unresolved::Unknown) if is_weak(symbol) => {}
            Err(why) => complaints.push(complaint(name, &why)),
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(resolved)
}

fn is_weak(symbol: &Symbol) -> bool {
    symbol.st_info >> 4 == elf::STB_WEAK
}

fn complaint(name: &str, why: &Unresolved) -> String {
    match why {
        Unresolved::Unknown => format!(
            "this kernel has no symbol {name}: it was renamed, inlined or removed, or the name is misspelled"
        ),
        Unresolved::Ambiguous(count) => format!(
            "this kernel has {count} symbols {name}: say which with --pick {name}=ANCHOR, ANCHOR being a unique symbol of the same source file"
        ),
        Unresolved::NoAnchor(anchor) => format!(
            "--pick {name}={anchor}: this kernel does not have exactly one symbol {anchor}; choose another one"
        ),
    }
}

/// Moves the relocations against livepatch symbols into a section of their own.
///
/// Sections that are not loaded (debugging information) keep theirs: nobody applies them.
fn split_relocations(
    module: &mut Object,
    at: usize,
    target: usize,
    livepatch_symbols: &HashSet<usize>,
) -> Result<()> {
    let target_section = module
        .sections
        .get(target)
        .context("a relocation section relocates nothing")?;
    if !target_section.is_allocated() {
        return Ok(());
    }
    let name = format!(".klp.rela.{OBJECT}.{}", target_section.name);
    let (ours, others): (Vec<_>, Vec<_>) =
        module.relocations(at)?.into_iter().partition(|relocation| {
            livepatch_symbols.contains(&(relocation.r_sym(LE, false) as usize))
        });
    if ours.is_empty() {
        return Ok(());
    }
    module.set_relocations(at, &others);
    let flags = u64::from(elf::SHF_ALLOC | elf::SHF_INFO_LINK) | SHF_RELA_LIVEPATCH;
    module.add_relocations(name, flags, target, &ours);
    Ok(())
}

#[cfg(test)]
mod tests;

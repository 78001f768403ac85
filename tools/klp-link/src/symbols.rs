// SPDX-License-Identifier: GPL-2.0

//! What a kernel has (System.map) and what it exports (Module.symvers).

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{ensure, Context, Result};

/// A kernel symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) address: u64,
    /// The letter nm gives it: its kind of section, in lower case when it is local.
    pub(crate) kind: char,
    pub(crate) name: String,
}

/// All symbols of a kernel, in the order of their addresses.
pub(crate) struct SymbolMap {
    symbols: Vec<Symbol>,
    by_name: HashMap<String, Vec<usize>>,
}

impl SymbolMap {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let map = Self::parse(&text)
            .with_context(|| format!("{} is not a System.map", path.display()))?;
        ensure!(
            map.symbols.len() > 1,
            "{} is only a placeholder; make the real one with `klp-link symbols VMLINUZ {}`",
            path.display(),
            path.display()
        );
        Ok(map)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let symbols = text.lines().enumerate().map(|(at, line)| {
            parse_symbol(line)
                .with_context(|| format!("line {} is not \"ADDRESS KIND NAME\"", at + 1))
        });
        Ok(Self::new(symbols.collect::<Result<_>>()?))
    }

    pub(crate) fn new(symbols: Vec<Symbol>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, symbol) in symbols.iter().enumerate() {
            by_name.entry(symbol.name.clone()).or_default().push(at);
        }
        Self { symbols, by_name }
    }

    pub(crate) fn format(symbols: &[Symbol]) -> String {
        let mut text = String::new();
        for symbol in symbols {
            writeln!(
                text,
                "{:016x} {} {}",
                symbol.address, symbol.kind, symbol.name
            )
            .expect("a String takes all that is written to it");
        }
        text
    }

    /// All symbols called `name`, in the order livepatch counts them.
    pub(crate) fn named(&self, name: &str) -> impl ExactSizeIterator<Item = &Symbol> {
        self.by_name
            .get(name)
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|&at| &self.symbols[at])
    }
}

fn parse_symbol(line: &str) -> Option<Symbol> {
    let mut words = line.splitn(3, ' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?.chars().next()?;
    let name = words.next()?.to_owned();
    Some(Symbol {
        address,
        kind,
        name,
    })
}

/// The names a kernel exports to modules.
pub(crate) struct Exports(HashSet<String>);

impl Exports {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a Module.symvers", path.display()))
    }

    /// Fields are separated by tabs: checksum, name, module, kind of export, namespace.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let names = text.lines().enumerate().map(|(at, line)| {
            line.split('\t')
                .nth(1)
                .map(str::to_owned)
                .with_context(|| format!("line {} names no symbol", at + 1))
        });
        Ok(Self(names.collect::<Result<_>>()?))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exports, SymbolMap};

    #[test]
    fn equal_names_keep_the_order_of_addresses() {
        let map = SymbolMap::parse("1000 b twice\n2000 T once\n3000 b twice\n").unwrap();
        let addresses: Vec<_> = map.named("twice").map(|symbol| symbol.address).collect();
        assert_eq!(addresses, [0x1000, 0x3000]);
        assert_eq!(map.named("never").len(), 0);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = "ffffffff81000000 T _text\nffffffff81000010 t name with,comma.and.dot\n";
        let map = SymbolMap::parse(text).unwrap();
        assert_eq!(SymbolMap::format(&map.symbols), text);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = SymbolMap::parse("1000 T good\nnonsense\n").err().unwrap();
        assert!(error.to_string().contains("line 2"));
    }

    #[test]
    fn exports_are_the_second_field() {
        let exports = Exports::parse("0x0\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n").unwrap();
        assert!(exports.contains("kfree"));
        assert!(!exports.contains("vmlinux"));
    }
}

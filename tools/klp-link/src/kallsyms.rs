// SPDX-License-Identifier: GPL-2.0

//! Reading the kallsyms tables out of a vmlinux that has no symbol table any more.
//!
//! The tables stand one after the other in .rodata, each aligned to 4 bytes, without any mark: number of symbols,
//! names (compressed by 256 tokens), markers (the offset of every 256th name), tokens, token index, offsets. The tokens are
//! found by their content, the rest from there, and everything found is checked against everything else.

use anyhow::{ensure, Context, Result};
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};
use object::LittleEndian;

use crate::symbols::Symbol;

const TOKENS: usize = 256;
const NAMES_PER_MARKER: usize = 256;
const LONGEST_NAME: usize = 0x3fff + 2;
const ALIGN: usize = 4;

/// Digits occur in symbol names, so each stands for itself, and they stand next to each other.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";

/// All symbols of `vmlinux`, in the order of their addresses.
pub(crate) fn read(vmlinux: &[u8]) -> Result<Vec<Symbol>> {
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(vmlinux).context("it has no ELF header")?;
    let sections = header
        .sections(endian, vmlinux)
        .context("its ELF section headers are damaged")?;
    let (_, rodata) = sections
        .section_by_name(endian, b".rodata")
        .context("it has no section .rodata")?;
    let data = rodata
        .data(endian, vmlinux)
        .context("its section .rodata is damaged")?;
    let tables = Tables::find(data)
        .context("no kallsyms tables were found in it; is CONFIG_KALLSYMS_ALL set?")?;
    tables.symbols(rodata.sh_addr(endian))
}

/// The tables, as slices of .rodata.
struct Tables<'data> {
    count: usize,
    names: &'data [u8],
    tokens: Vec<&'data [u8]>,
    offsets: &'data [u8],
    /// Where the offsets stand in .rodata: they are relative to themselves.
    offsets_at: usize,
}

impl<'data> Tables<'data> {
    fn find(data: &'data [u8]) -> Option<Self> {
        let at_digits = data
            .windows(DIGITS.len())
            .enumerate()
            .filter(|(_, window)| *window == DIGITS);
        at_digits
            .map(|(at, _)| at)
            .find_map(|at| Self::around(data, at))
    }

    /// The tables, if the token of the digit zero stands at `digits_at`.
    fn around(data: &'data [u8], digits_at: usize) -> Option<Self> {
        let tokens_at = back_over_tokens(data, digits_at, usize::from(b'0'))?;
        let tokens = Tokens::read(data, tokens_at)?;
        let index_at = tokens.end.next_multiple_of(ALIGN);
        let index_end = index_at + 2 * TOKENS;
        if !tokens.agree_with(data.get(index_at..index_end)?) {
            return None;
        }
        let (markers_at, markers) = back_over_markers(data, tokens_at)?;
        let (count, names) = names_before(data, markers_at, &markers)?;
        let offsets_at = index_end.next_multiple_of(ALIGN);
        let offsets = data.get(offsets_at..offsets_at + 4 * count)?;
        Some(Self {
            count,
            names,
            tokens: tokens.texts,
            offsets,
            offsets_at,
        })
    }

    fn symbols(&self, rodata_address: u64) -> Result<Vec<Symbol>> {
        let mut symbols = Vec::with_capacity(self.count);
        let mut names = self.names;
        for at in 0..self.count {
            let (compressed, rest) =
                split_name(names).context("the kallsyms names are cut short")?;
            names = rest;
            let expanded: Vec<u8> = compressed
                .iter()
                .flat_map(|&token| self.tokens[usize::from(token)])
                .copied()
                .collect();
            let text = String::from_utf8(expanded).context("a kallsyms name is not text")?;
            let mut name = text.chars();
            let kind = name.next().context("a kallsyms name is empty")?;
            symbols.push(Symbol {
                address: self.address(rodata_address, at),
                kind,
                name: name.as_str().to_owned(),
            });
        }
        let sorted = symbols
            .windows(2)
            .all(|pair| pair[0].address <= pair[1].address);
        ensure!(
            sorted,
            "the kallsyms addresses are not in order; this kernel stores them in another way"
        );
        Ok(symbols)
    }

    fn address(&self, rodata_address: u64, at: usize) -> u64 {
        let word = self.offsets[4 * at..4 * at + 4]
            .try_into()
            .expect("four bytes");
        let itself = rodata_address + (self.offsets_at + 4 * at) as u64;
        itself.wrapping_add_signed(i64::from(i32::from_le_bytes(word)))
    }
}

/// Where the token `before` places before the one at `at` begins.
fn back_over_tokens(data: &[u8], at: usize, before: usize) -> Option<usize> {
    let mut start = at;
    for _ in 0..before {
        let terminator = start.checked_sub(1)?;
        let previous = data[..terminator].iter().rposition(|&byte| byte == 0)?;
        start = previous + 1;
    }
    Some(start)
}

/// The token table.
struct Tokens<'data> {
    texts: Vec<&'data [u8]>,
    /// Of each text, from the begin of the table.
    offsets: Vec<usize>,
    end: usize,
}

impl<'data> Tokens<'data> {
    fn read(data: &'data [u8], at: usize) -> Option<Self> {
        let mut tokens = Self {
            texts: vec![],
            offsets: vec![],
            end: at,
        };
        for _ in 0..TOKENS {
            let start = tokens.end;
            let length = data.get(start..)?.iter().position(|&byte| byte == 0)?;
            tokens.texts.push(&data[start..start + length]);
            tokens.offsets.push(start - at);
            tokens.end = start + length + 1;
        }
        Some(tokens)
    }

    /// Does the index of tokens say the same as the table?
    fn agree_with(&self, index: &[u8]) -> bool {
        index
            .chunks_exact(2)
            .zip(&self.offsets)
            .all(|(word, &offset)| usize::from(u16::from_le_bytes([word[0], word[1]])) == offset)
    }
}

/// The markers that end at `end`, and where they begin: they grow from zero.
fn back_over_markers(data: &[u8], end: usize) -> Option<(usize, Vec<usize>)> {
    let word = |at: usize| {
        data.get(at..at + 4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    };
    let mut at = end.checked_sub(4)?;
    let mut markers = vec![word(at)?];
    while markers.last() != Some(&0) {
        at = at.checked_sub(4)?;
        let marker = word(at)?;
        if marker >= *markers.last()? {
            return None;
        }
        markers.push(marker);
    }
    markers.reverse();
    (markers.len() > 1).then_some((at, markers))
}

/// How many names there are and their bytes, given the markers that follow them.
fn names_before<'data>(
    data: &'data [u8],
    markers_at: usize,
    markers: &[usize],
) -> Option<(usize, &'data [u8])> {
    let last = *markers.last()?;
    let latest = markers_at.checked_sub(last)? / ALIGN * ALIGN;
    let earliest = latest.saturating_sub(NAMES_PER_MARKER * LONGEST_NAME);
    (earliest..=latest)
        .rev()
        .step_by(ALIGN)
        .find_map(|names_at| {
            let count_at = names_at.checked_sub(ALIGN)?;
            let count =
                u32::from_le_bytes(data.get(count_at..count_at + 4)?.try_into().ok()?) as usize;
            if count.div_ceil(NAMES_PER_MARKER) != markers.len() {
                return None;
            }
            let names = &data[names_at..markers_at];
            markers_fit(names, markers, count).then_some((count, names))
        })
}

/// Does every 256th name begin where its marker says, and the last end with the names?
fn markers_fit(names: &[u8], markers: &[usize], count: usize) -> bool {
    let mut rest = names;
    for at in 0..count {
        if at % NAMES_PER_MARKER == 0 && names.len() - rest.len() != markers[at / NAMES_PER_MARKER]
        {
            return false;
        }
        match split_name(rest) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.len() < ALIGN && rest.iter().all(|&byte| byte == 0)
}

/// The first name, compressed, and what follows it. Its length takes one byte, or two with seven bits in each.
fn split_name(names: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&low, rest) = names.split_first()?;
    if low & 0x80 == 0 {
        return rest.split_at_checked(usize::from(low));
    }
    let (&high, rest) = rest.split_first()?;
    rest.split_at_checked(usize::from(low & 0x7f) | (usize::from(high) << 7))
}

#[cfg(test)]
mod tests {
    use super::{Tables, ALIGN};

    const ADDRESS: u64 = 0xffff_ffff_8200_0000;

    fn pad(data: &mut Vec<u8>) {
        data.resize(data.len().next_multiple_of(ALIGN), 0);
    }

    /// A .rodata with tables for `names`, where each token is its own character, 0x10 bytes apart.
    fn rodata(names: &[String]) -> Vec<u8> {
        let mut data = b"something else\0".to_vec();
        pad(&mut data);
        data.extend((names.len() as u32).to_le_bytes());
        pad(&mut data);
        let names_at = data.len();
        let mut markers = vec![];
        for (at, name) in names.iter().enumerate() {
            if at % 256 == 0 {
                markers.push((data.len() - names_at) as u32);
            }
            if name.len() < 0x80 {
                data.push(name.len() as u8);
            } else {
                data.extend([name.len() as u8 & 0x7f | 0x80, (name.len() >> 7) as u8]);
            }
            data.extend(name.bytes());
        }
        pad(&mut data);
        data.extend(markers.iter().flat_map(|marker| marker.to_le_bytes()));
        pad(&mut data);
        let tokens_at = data.len();
        let mut index = vec![];
        for token in 0..=255u8 {
            index.extend(((data.len() - tokens_at) as u16).to_le_bytes());
            // Unused characters have short tokens of their own.
            data.extend(if token.is_ascii_graphic() {
                vec![token]
            } else {
                vec![b'_', b'a' + token % 26]
            });
            data.push(0);
        }
        pad(&mut data);
        data.extend(index);
        for at in 0..names.len() {
            let wanted = ADDRESS as i64 - 0x100_0000 + 0x10 * at as i64;
            let itself = ADDRESS as i64 + data.len() as i64;
            data.extend(((wanted - itself) as i32).to_le_bytes());
        }
        data
    }

    #[test]
    fn finds_names_and_addresses() {
        let mut names: Vec<String> = (0..600).map(|at| format!("tsymbol_{at}")).collect();
        names[7] = format!("D{}", "x".repeat(300));
        let data = rodata(&names);
        let symbols = Tables::find(&data).unwrap().symbols(ADDRESS).unwrap();
        assert_eq!(symbols.len(), 600);
        assert_eq!(symbols[7].kind, 'D');
        assert_eq!(symbols[7].name.len(), 300);
        assert_eq!(symbols[599].name, "symbol_599");
        assert_eq!(symbols[599].address, ADDRESS - 0x100_0000 + 0x10 * 599);
    }

    #[test]
    fn a_damaged_table_is_not_taken() {
        let names: Vec<String> = (0..600).map(|at| format!("tsymbol_{at}")).collect();
        let mut data = rodata(&names);
        data[20] ^= 1; // the length of the first name
        assert!(Tables::find(&data).is_none());
    }
}

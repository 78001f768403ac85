// SPDX-License-Identifier: GPL-2.0

//! The little that is asked about ELF programs.

/// The dynamic loader that an x86-64 ELF program asks for; `None` for a static one, and for what is no ELF.
pub fn loader(bytes: &[u8]) -> Option<String> {
    const PT_INTERP: u32 = 3;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, length: usize| {
        let mut value = [0; 8];
        value[..length].copy_from_slice(bytes.get(at..at + length)?);
        usize::try_from(u64::from_le_bytes(value)).ok()
    };
    let (table, entry_size, entries) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..entries).find_map(|index| {
        let entry = table.checked_add(index * entry_size)?;
        if number(entry, 4)? != PT_INTERP as usize {
            return None;
        }
        let (offset, length) = (number(entry + 8, 8)?, number(entry + 32, 8)?);
        let text = bytes.get(offset..offset.checked_add(length)?)?;
        Some(
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf_with(segment_type: u8) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = segment_type;
        elf[72] = 120;
        elf.extend_from_slice(b"/lib64/ld.so\0");
        elf[96] = 13;
        elf
    }

    #[test]
    fn dynamic_and_static() {
        assert_eq!(loader(&elf_with(3)).as_deref(), Some("/lib64/ld.so"));
        assert_eq!(loader(&elf_with(1)), None);
        assert_eq!(loader(b"#!/bin/sh\n"), None);
        assert_eq!(loader(&elf_with(3)[..70]), None);
    }
}

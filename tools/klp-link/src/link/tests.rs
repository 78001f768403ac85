// SPDX-License-Identifier: GPL-2.0

//! Small modules are written with the object crate, linked, and read again with it.

use object::elf::FileHeader64;
use object::read::elf::{ElfFile, FileHeader, SectionHeader, Sym};
use object::write::{Object as Writer, Relocation, StandardSection, Symbol, SymbolSection};
use object::{
    elf, Architecture, BinaryFormat, Endianness, LittleEndian as LE, RelocationFlags, SectionFlags,
    SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use super::{link, Pick, Resolver, SHF_RELA_LIVEPATCH, SHN_LIVEPATCH};
use crate::elf::Object;
use crate::symbols::{Exports, SymbolMap};

const MAP: &str = "\
1000 T kfree
2000 b hash
2010 b ksm_head
3000 T drain
4000 b hash
4010 b khugepaged_head
4020 b twice
4030 b twice
";
const EXPORTS: &str = "0x0\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n";

/// A module whose .text (and .debug_info) calls each of `names`, 8 bytes apart.
fn module(names: &[&str], modinfo: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let info = writer.add_section(vec![], b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    writer.append_section_data(info, modinfo, 1);
    let text = writer.section_id(StandardSection::Text);
    writer.append_section_data(text, &vec![0; 8 * names.len()], 16);
    let debug = writer.add_section(vec![], b".debug_info".to_vec(), SectionKind::Debug);
    writer.section_mut(debug).flags = SectionFlags::Elf { sh_flags: 0 };
    writer.append_section_data(debug, &vec![0; 8 * names.len()], 1);
    for (at, name) in names.iter().enumerate() {
        let symbol = writer.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Text,
            scope: SymbolScope::Unknown,
            weak: name.starts_with("weak"),
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        for section in [text, debug] {
            let relocation = Relocation {
                offset: 8 * at as u64,
                symbol,
                addend: -4,
                flags: RelocationFlags::Elf {
                    r_type: elf::R_X86_64_PLT32,
                },
            };
            writer.add_relocation(section, relocation).unwrap();
        }
    }
    writer.write().unwrap()
}

fn linked(names: &[&str], picks: &[&str]) -> anyhow::Result<Vec<u8>> {
    let map = SymbolMap::parse(MAP)?;
    let exports = Exports::parse(EXPORTS)?;
    let picks: Vec<Pick> = picks.iter().map(|pick| pick.parse().unwrap()).collect();
    let mut module = Object::parse(&module(names, b"license=GPL\0livepatch=Y\0"))?;
    link(&mut module, &Resolver::new(&map, &exports, &picks)?)?;
    Ok(module.write())
}

fn symbol_names(bytes: &[u8]) -> Vec<(String, u16)> {
    let file = ElfFile::<FileHeader64<LE>>::parse(bytes).unwrap();
    let table = file.elf_symbol_table();
    let names = table.iter().map(|symbol| {
        let name = String::from_utf8(symbol.name(LE, table.strings()).unwrap().to_vec()).unwrap();
        (name, symbol.st_shndx(LE))
    });
    names.filter(|(name, _)| !name.is_empty()).collect()
}

/// Offsets of the relocations in section `name`, with the section's flags and what it relocates.
fn relocations(bytes: &[u8], name: &str) -> Option<(Vec<u64>, u64, String)> {
    let header = FileHeader64::<LE>::parse(bytes).unwrap();
    let sections = header.sections(LE, bytes).unwrap();
    let (_, section) = sections.section_by_name(LE, name.as_bytes())?;
    let (entries, _) = section.rela(LE, bytes).unwrap()?;
    let offsets = entries.iter().map(|entry| entry.r_offset.get(LE)).collect();
    let target = sections
        .section(object::SectionIndex(section.sh_info(LE) as usize))
        .unwrap();
    let target = sections.section_name(LE, target).unwrap();
    Some((
        offsets,
        section.sh_flags(LE),
        String::from_utf8(target.to_vec()).unwrap(),
    ))
}

#[test]
fn unexported_symbols_become_livepatch_symbols() {
    let bytes = linked(&["kfree", "drain", "ksm_head"], &[]).unwrap();
    let symbols = symbol_names(&bytes);
    assert!(symbols.contains(&("kfree".into(), 0)));
    assert!(symbols.contains(&(".klp.sym.vmlinux.drain,0".into(), SHN_LIVEPATCH)));
    assert!(symbols.contains(&(".klp.sym.vmlinux.ksm_head,0".into(), SHN_LIVEPATCH)));
    let flags = u64::from(elf::SHF_ALLOC | elf::SHF_INFO_LINK) | SHF_RELA_LIVEPATCH;
    let moved = relocations(&bytes, ".klp.rela.vmlinux..text").unwrap();
    assert_eq!(moved, (vec![8, 16], flags, ".text".into()));
    assert_eq!(relocations(&bytes, ".rela.text").unwrap().0, [0]);
}

#[test]
fn debugging_information_keeps_its_relocations() {
    let bytes = linked(&["kfree", "drain"], &[]).unwrap();
    assert_eq!(relocations(&bytes, ".rela.debug_info").unwrap().0, [0, 8]);
    assert!(relocations(&bytes, ".klp.rela.vmlinux..debug_info").is_none());
}

#[test]
fn a_name_that_stands_twice_is_picked_by_its_neighbour() {
    let first = symbol_names(&linked(&["hash"], &["hash=ksm_head"]).unwrap());
    assert!(first.contains(&(".klp.sym.vmlinux.hash,1".into(), SHN_LIVEPATCH)));
    let second = symbol_names(&linked(&["hash"], &["hash=khugepaged_head"]).unwrap());
    assert!(second.contains(&(".klp.sym.vmlinux.hash,2".into(), SHN_LIVEPATCH)));
}

#[test]
fn every_symbol_that_cannot_be_resolved_is_named() {
    let error = linked(&["hash", "drian", "nothing"], &[])
        .unwrap_err()
        .to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("2 symbols hash") && lines[0].contains("--pick hash="));
    assert!(lines[1].contains("no symbol drian"));
    assert!(lines[2].contains("no symbol nothing"));
}

#[test]
fn an_anchor_must_be_unique() {
    for pick in ["hash=nothing", "hash=twice"] {
        let error = linked(&["hash"], &[pick]).unwrap_err().to_string();
        assert!(
            error.contains("does not have exactly one symbol"),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_weak_symbol_stays_undefined() {
    let symbols = symbol_names(&linked(&["weak_and_absent"], &[]).unwrap());
    assert!(symbols.contains(&("weak_and_absent".into(), 0)));
}

#[test]
fn a_module_without_the_mark_is_refused() {
    let map = SymbolMap::parse(MAP).unwrap();
    let exports = Exports::parse(EXPORTS).unwrap();
    let mut module = Object::parse(&module(&["drain"], b"license=GPL\0")).unwrap();
    let error = link(&mut module, &Resolver::new(&map, &exports, &[]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("MODULE_INFO(livepatch"));
}

#[test]
fn a_linked_module_is_refused() {
    let map = SymbolMap::parse(MAP).unwrap();
    let exports = Exports::parse(EXPORTS).unwrap();
    let mut module = Object::parse(&linked(&["drain"], &[]).unwrap()).unwrap();
    let error = link(&mut module, &Resolver::new(&map, &exports, &[]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("already linked"));
}

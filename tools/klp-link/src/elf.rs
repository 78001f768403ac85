// SPDX-License-Identifier: GPL-2.0

//! A relocatable ELF file taken apart into sections that can be changed, added to and written again.
//!
//! Sections keep their numbers, so what refers to them stays right. 64 bits and little-endian only.

use anyhow::{bail, ensure, Context, Result};
use object::elf::{self, FileHeader64, Rela64, SectionHeader64, Sym64};
use object::pod::{bytes_of, bytes_of_mut, slice_from_all_bytes};
use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian as LE, U16, U32, U64};

pub(crate) type Symbol = Sym64<LE>;
pub(crate) type Relocation = Rela64<LE>;

pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) header: SectionHeader64<LE>,
    /// Empty when the section takes no space in the file.
    pub(crate) data: Vec<u8>,
}

impl Section {
    pub(crate) fn is_allocated(&self) -> bool {
        self.header.sh_flags.get(LE) & u64::from(elf::SHF_ALLOC) != 0
    }

    fn kind(&self) -> u32 {
        self.header.sh_type.get(LE)
    }
}

pub(crate) struct Object {
    header: FileHeader64<LE>,
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
    symtab: usize,
    strtab: usize,
    shstrtab: usize,
}

impl Object {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let header = *FileHeader64::<LE>::parse(bytes).context("it has no 64-bit ELF header")?;
        header.endian().context("it is not little-endian")?;
        ensure!(
            header.e_type.get(LE) == elf::ET_REL,
            "it is not relocatable"
        );
        let table = header
            .section_headers(LE, bytes)
            .context("its section headers are damaged")?;
        let shstrtab = header
            .shstrndx(LE, bytes)
            .context("its section names are damaged")? as usize;
        let names = header
            .section_strings(LE, bytes, table)
            .context("its section names are damaged")?;
        let mut sections = Vec::with_capacity(table.len());
        for (at, header) in table.iter().enumerate() {
            let name = header
                .name(LE, names)
                .with_context(|| format!("the name of section {at} is damaged"))?;
            let name = String::from_utf8(name.to_vec())
                .with_context(|| format!("the name of section {at} is not text"))?;
            let data = header
                .data(LE, bytes)
                .with_context(|| format!("section {name} is cut short"))?
                .to_vec();
            sections.push(Section {
                name,
                header: *header,
                data,
            });
        }
        let symtab = only_symbol_table(&sections)?;
        let strtab = sections[symtab].header.sh_link.get(LE) as usize;
        ensure!(
            sections
                .get(strtab)
                .is_some_and(|section| section.kind() == elf::SHT_STRTAB),
            "its symbols have no names"
        );
        let symbols = slice_from_all_bytes::<Symbol>(&sections[symtab].data)
            .map_err(|()| anyhow::anyhow!("its symbol table is damaged"))?
            .to_vec();
        Ok(Self {
            header,
            sections,
            symbols,
            symtab,
            strtab,
            shstrtab,
        })
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    pub(crate) fn symbol_name(&self, symbol: &Symbol) -> Result<&str> {
        let start = symbol.st_name.get(LE) as usize;
        let rest = self.sections[self.strtab]
            .data
            .get(start..)
            .context("a symbol's name is damaged")?;
        let length = rest
            .iter()
            .position(|&byte| byte == 0)
            .context("a symbol's name is cut short")?;
        std::str::from_utf8(&rest[..length]).context("a symbol's name is not text")
    }

    pub(crate) fn rename_symbol(&mut self, at: usize, name: &str) {
        let offset = append_string(&mut self.sections[self.strtab].data, name);
        self.symbols[at].st_name.set(LE, offset);
    }

    /// The sections with relocations, and for each the section it relocates.
    pub(crate) fn relocation_sections(&self) -> Vec<(usize, usize)> {
        let relocates = |(at, section): (usize, &Section)| {
            (section.kind() == elf::SHT_RELA)
                .then_some((at, section.header.sh_info.get(LE) as usize))
        };
        self.sections
            .iter()
            .enumerate()
            .filter_map(relocates)
            .collect()
    }

    pub(crate) fn relocations(&self, at: usize) -> Result<Vec<Relocation>> {
        match slice_from_all_bytes::<Relocation>(&self.sections[at].data) {
            Ok(relocations) => Ok(relocations.to_vec()),
            Err(()) => bail!("section {} is damaged", self.sections[at].name),
        }
    }

    pub(crate) fn set_relocations(&mut self, at: usize, relocations: &[Relocation]) {
        self.sections[at].data = relocations.iter().flat_map(bytes_of).copied().collect();
    }

    /// Adds a section of relocations for section `target`.
    pub(crate) fn add_relocations(
        &mut self,
        name: String,
        flags: u64,
        target: usize,
        relocations: &[Relocation],
    ) {
        let header = SectionHeader64 {
            sh_name: U32::new(LE, 0),
            sh_type: U32::new(LE, elf::SHT_RELA),
            sh_flags: U64::new(LE, flags),
            sh_addr: U64::new(LE, 0),
            sh_offset: U64::new(LE, 0),
            sh_size: U64::new(LE, 0),
            sh_link: U32::new(LE, self.symtab as u32),
            sh_info: U32::new(LE, target as u32),
            sh_addralign: U64::new(LE, 8),
            sh_entsize: U64::new(LE, size_of::<Relocation>() as u64),
        };
        self.sections.push(Section {
            name,
            header,
            data: vec![],
        });
        self.set_relocations(self.sections.len() - 1, relocations);
    }

    /// The bytes of the file: header, sections, section headers.
    pub(crate) fn write(mut self) -> Vec<u8> {
        self.sections[self.symtab].data = self.symbols.iter().flat_map(bytes_of).copied().collect();
        self.write_section_names();
        let mut file = bytes_of(&self.header).to_vec();
        for section in &mut self.sections {
            let header = &mut section.header;
            if header.sh_type.get(LE) == elf::SHT_NULL {
                continue;
            }
            file.resize(
                file.len()
                    .next_multiple_of(header.sh_addralign.get(LE).max(1) as usize),
                0,
            );
            header.sh_offset.set(LE, file.len() as u64);
            if header.sh_type.get(LE) != elf::SHT_NOBITS {
                header.sh_size.set(LE, section.data.len() as u64);
                file.extend(&section.data);
            }
        }
        file.resize(file.len().next_multiple_of(8), 0);
        self.header.e_shoff.set(LE, file.len() as u64);
        self.header.e_shnum = U16::new(LE, self.sections.len() as u16);
        file.extend(
            self.sections
                .iter()
                .flat_map(|section| bytes_of(&section.header)),
        );
        file[..size_of::<FileHeader64<LE>>()].copy_from_slice(bytes_of_mut(&mut self.header));
        file
    }

    fn write_section_names(&mut self) {
        let mut names = vec![0];
        for section in &mut self.sections {
            let offset = if section.name.is_empty() {
                0
            } else {
                append_string(&mut names, &section.name)
            };
            section.header.sh_name.set(LE, offset);
        }
        self.sections[self.shstrtab].data = names;
    }
}

fn only_symbol_table(sections: &[Section]) -> Result<usize> {
    ensure!(
        sections
            .iter()
            .all(|section| section.kind() != elf::SHT_SYMTAB_SHNDX),
        "it has more sections than this tool can number"
    );
    let mut tables = sections
        .iter()
        .enumerate()
        .filter(|(_, section)| section.kind() == elf::SHT_SYMTAB);
    match (tables.next(), tables.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => bail!("it has no symbol table; was it stripped?"),
        (Some(_), Some(_)) => bail!("it has more than one symbol table"),
    }
}

/// Appends `text` to a string table and returns its offset.
fn append_string(table: &mut Vec<u8>, text: &str) -> u32 {
    let offset = table.len() as u32;
    table.extend(text.as_bytes());
    table.push(0);
    offset
}

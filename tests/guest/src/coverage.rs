// SPDX-License-Identifier: GPL-2.0

//! Which of the module's code has run (`tests/coverage`): a build with counters keeps them in sections of its own, which
//! are read out of the kernel's memory and saved as LLVM's raw profile.

use std::env;
use std::fs::{self, File};
use std::path::Path;

use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::ReadRef;
use object::{LittleEndian, Object, ObjectSection, ReadCache};

use crate::case::{fail, Context, Outcome};

/// Names the file to save to; without it nothing is saved.
const VARIABLE: &str = "SWAPKSM_COVERAGE";
const MODULE: &str = "swapksm.ko";
const SECTIONS: &str = "/sys/module/swapksm/sections";
const MEMORY: &str = "/proc/kcore";

/// The version of the format that LLVM 19 writes, and what a record of a function takes there.
const VERSION: u64 = 10;
const RECORD: usize = 64;
/// Values of a function that can be profiled besides counters; there are none.
const LAST_KIND: u64 = 2;
const HEADER: usize = 16 * 8;

/// Adds the counters of the module that is loaded, if it has any, to what has been saved.
pub fn save() -> Outcome {
    let Some(path) = env::var_os(VARIABLE) else {
        return Ok(());
    };
    if !Path::new(SECTIONS).join("__llvm_prf_cnts").exists() {
        return Ok(());
    }
    let [records, counters, names] =
        ["__llvm_prf_data", "__llvm_prf_cnts", "__llvm_prf_names"].map(Section::read);
    let (records, counters, names) = (records?, counters?, names?);
    let mut profile = header(&records, &counters, &names);
    profile.extend(&records.bytes);
    let before = fs::read(&path).unwrap_or_default();
    let before = before.get(profile.len()..).unwrap_or_default();
    for (index, count) in counters.bytes.chunks_exact(8).enumerate() {
        let old = before.get(index * 8..index * 8 + 8).map_or(0, number);
        profile.extend(number(count).saturating_add(old).to_le_bytes());
    }
    profile.extend(&names.bytes);
    profile.resize(profile.len().next_multiple_of(8), 0);
    fs::write(&path, profile).context("saving the module's counters")
}

fn number(bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(bytes);
    u64::from_le_bytes(value)
}

/// `INSTR_PROF_RAW_HEADER` of LLVM's `InstrProfData.inc`.
fn header(records: &Section, counters: &Section, names: &Section) -> Vec<u8> {
    const MAGIC: u64 = u64::from_be_bytes([255, b'l', b'p', b'r', b'o', b'f', b'r', 129]);
    let fields = [
        MAGIC,
        VERSION,
        0, // bytes of build ids
        (records.bytes.len() / RECORD) as u64,
        0, // padding before the counters
        (counters.bytes.len() / 8) as u64,
        0, // padding after the counters
        0, // bytes of bitmaps
        0, // padding after the bitmaps
        names.bytes.len() as u64,
        counters.address.wrapping_sub(records.address),
        0, // where the bitmaps are
        names.address,
        0, // virtual tables
        0, // bytes of their names
        LAST_KIND,
    ];
    let header: Vec<u8> = fields.into_iter().flat_map(u64::to_le_bytes).collect();
    assert_eq!(header.len(), HEADER);
    header
}

/// A section of the loaded module.
struct Section {
    address: u64,
    bytes: Vec<u8>,
}

impl Section {
    fn read(name: &str) -> Outcome<Section> {
        let path = format!("{SECTIONS}/{name}");
        let text = fs::read_to_string(&path).context(&path)?;
        let address = u64::from_str_radix(text.trim().trim_start_matches("0x"), 16)
            .or_else(|_| fail(format!("{path} holds '{}'", text.trim())))?;
        let length = length(name)?;
        Ok(Section {
            address,
            bytes: kernel_memory(address, length)?,
        })
    }
}

/// Bytes of a section, of which the kernel tells no more than where it is.
fn length(section: &str) -> Outcome<u64> {
    let file = fs::read(MODULE).context(MODULE)?;
    let found = object::File::parse(&*file)
        .ok()
        .and_then(|file| Some(file.section_by_name(section)?.size()));
    match found {
        Some(length) => Ok(length),
        None => fail(format!("{MODULE} has no section {section}")),
    }
}

/// What the kernel has at an address.
fn kernel_memory(address: u64, length: u64) -> Outcome<Vec<u8>> {
    let memory = ReadCache::new(File::open(MEMORY).context(MEMORY)?);
    let found = FileHeader64::<LittleEndian>::parse(&memory)
        .and_then(|header| header.program_headers(LittleEndian, &memory))
        .ok()
        .and_then(|segments| {
            segments.iter().find_map(|segment| {
                let start = segment.p_vaddr(LittleEndian);
                let is_there = segment.p_type(LittleEndian) == PT_LOAD
                    && start <= address
                    && address + length <= start + segment.p_memsz(LittleEndian);
                is_there.then(|| segment.p_offset(LittleEndian) + (address - start))
            })
        });
    match found.and_then(|offset| (&memory).read_bytes_at(offset, length).ok()) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => fail(format!("{MEMORY} does not have the module's counters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_llvm_reads() {
        let section = |address, length| Section {
            address,
            bytes: vec![0; length],
        };
        let header = header(
            &section(4096, 3 * RECORD),
            &section(8192, 40),
            &section(9000, 5),
        );
        let fields: Vec<u64> = header.chunks_exact(8).map(number).collect();
        assert_eq!(fields[0], 0xff6c_7072_6f66_7281);
        assert_eq!(fields[3..6], [3, 0, 5]);
        assert_eq!(fields[9..11], [5, 4096]);
    }
}

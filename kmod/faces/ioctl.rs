// SPDX-License-Identifier: GPL-2.0

//! The binary interface of /dev/ksm as shims/uapi/linux/ksm.h declares it: numbers and structures.
//!
//! Plain `no_std` Rust: the host tests compile this file too.

/// What `KSM_GET_API_VERSION` answers.
pub(crate) const API_VERSION: u32 = 1;

/// `ksm_kthread_info::flags`: the scanner runs.
pub(crate) const FLAG_RUN: u32 = 1;

/// Size of `struct ksm_kthread_info` in bytes.
pub(crate) const KTHREAD_INFO_SIZE: usize = 24;
/// Size of `struct ksm_memory_region` in bytes.
pub(crate) const MEMORY_REGION_SIZE: usize = 24;

pub(crate) const GET_API_VERSION: u32 = io(0x00);
pub(crate) const CREATE_SHARED_MEMORY_AREA: u32 = io(0x01);
pub(crate) const START_STOP_KTHREAD: u32 = iow(0x02, KTHREAD_INFO_SIZE);
pub(crate) const GET_INFO_KTHREAD: u32 = iow(0x03, KTHREAD_INFO_SIZE);
pub(crate) const REGISTER_MEMORY_REGION: u32 = iow(0x20, MEMORY_REGION_SIZE);
pub(crate) const REMOVE_MEMORY_REGION: u32 = io(0x21);

const MAGIC: u32 = 0xAB;

/// A request without a structure.
const fn io(nr: u32) -> u32 {
    (MAGIC << 8) | nr
}

/// A request that passes a structure of `size` bytes.
const fn iow(nr: u32, size: usize) -> u32 {
    (1 << 30) | ((size as u32) << 16) | (MAGIC << 8) | nr
}

/// A request to /dev/ksm itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceRequest {
    ApiVersion,
    CreateArea,
    StartStop,
    Info,
}

impl DeviceRequest {
    /// The request numbered `cmd`.
    pub(crate) fn decode(cmd: u32) -> Option<Self> {
        Some(match cmd {
            GET_API_VERSION => Self::ApiVersion,
            CREATE_SHARED_MEMORY_AREA => Self::CreateArea,
            START_STOP_KTHREAD => Self::StartStop,
            GET_INFO_KTHREAD => Self::Info,
            _ => return None,
        })
    }
}

/// A request to an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AreaRequest {
    Register,
    Remove,
}

impl AreaRequest {
    /// The request numbered `cmd`.
    pub(crate) fn decode(cmd: u32) -> Option<Self> {
        Some(match cmd {
            REGISTER_MEMORY_REGION => Self::Register,
            REMOVE_MEMORY_REGION => Self::Remove,
            _ => return None,
        })
    }
}

/// A structure breaks a rule of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A bit without meaning is set.
    Reserved,
}

/// `struct ksm_kthread_info` without its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KthreadInfo {
    /// Microseconds between two batches.
    pub(crate) sleep_us: u32,
    /// Pages per batch.
    pub(crate) pages_to_scan: u32,
    /// The scanner runs, or shall.
    pub(crate) run: bool,
}

impl KthreadInfo {
    /// Reads what a program passed. The padding has no meaning and may be anything.
    pub(crate) fn from_bytes(bytes: &[u8; KTHREAD_INFO_SIZE]) -> Result<Self, Malformed> {
        let flags = word(bytes, 8);
        if flags & !FLAG_RUN != 0 || long(bytes, 16) != 0 {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            sleep_us: word(bytes, 0),
            pages_to_scan: word(bytes, 4),
            run: flags & FLAG_RUN != 0,
        })
    }

    /// What a program gets, padding and reserved bits zero.
    pub(crate) fn to_bytes(self) -> [u8; KTHREAD_INFO_SIZE] {
        let flags = if self.run { FLAG_RUN } else { 0 };
        let mut bytes = [0; KTHREAD_INFO_SIZE];
        bytes[0..4].copy_from_slice(&self.sleep_us.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.pages_to_scan.to_ne_bytes());
        bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }
}

/// `struct ksm_memory_region` without its padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryRegion {
    /// Number of pages.
    pub(crate) npages: u32,
    /// First address.
    pub(crate) addr: u64,
}

impl MemoryRegion {
    /// Reads what a program passed. The padding has no meaning and may be anything.
    pub(crate) fn from_bytes(bytes: &[u8; MEMORY_REGION_SIZE]) -> Result<Self, Malformed> {
        if long(bytes, 16) != 0 {
            return Err(Malformed::Reserved);
        }
        Ok(Self {
            npages: word(bytes, 0),
            addr: long(bytes, 8),
        })
    }
}

/// The 32 bits at `at`, which the callers choose within the structure.
fn word(bytes: &[u8; 24], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(raw)
}

/// The 64 bits at `at`, which the callers choose within the structure.
fn long(bytes: &[u8; 24], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(raw)
}

// SPDX-License-Identifier: GPL-2.0

//! Requests to /dev/ksm and to areas.

use crate::faces::{
    ioctl::{AreaRequest, DeviceRequest, KthreadInfo, MemoryRegion},
    regions::{BadRegion, Region},
};

const PAGE: u128 = 4096;

/// Four bytes of a request's number, then 24 of a structure; what is missing is 0.
pub fn ioctl(data: &[u8]) {
    let mut bytes = [0; 28];
    let len = data.len().min(bytes.len());
    bytes[..len].copy_from_slice(&data[..len]);
    let (number, structure) = bytes.split_at(4);
    let cmd = u32::from_ne_bytes(number.try_into().expect("4 bytes"));
    let structure: &[u8; 24] = structure.try_into().expect("24 bytes");

    let device = DeviceRequest::decode(cmd).is_some();
    let area = AreaRequest::decode(cmd).is_some();
    assert!(!(device && area), "{cmd:#x} is two requests");
    assert!(
        !(device || area) || cmd >> 8 & 0xFF == 0xAB,
        "{cmd:#x} is somebody else's"
    );
    settings(structure);
    memory(structure);
}

fn long(bytes: &[u8; 24], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn settings(bytes: &[u8; 24]) {
    let flags = long(bytes, 8) as u32;
    let is_good = flags <= 1 && long(bytes, 16) == 0;
    let info = KthreadInfo::from_bytes(bytes);
    assert_eq!(info.is_ok(), is_good, "{bytes:?}");
    if let Ok(info) = info {
        let told = info.to_bytes();
        assert_eq!(told[..12], bytes[..12], "told as it was set");
        assert_eq!(told[12..], [0; 12], "nothing else is told");
        assert_eq!(KthreadInfo::from_bytes(&told), Ok(info));
    }
}

fn memory(bytes: &[u8; 24]) {
    let memory = MemoryRegion::from_bytes(bytes);
    assert_eq!(memory.is_ok(), long(bytes, 16) == 0, "{bytes:?}");
    let Ok(memory) = memory else { return };
    assert_eq!(u64::from(memory.npages), long(bytes, 0) & 0xFFFF_FFFF);
    assert_eq!(memory.addr, long(bytes, 8));

    // Without the limits of 64 bits.
    let end = u128::from(memory.addr) + u128::from(memory.npages) * PAGE;
    let expected = if memory.npages == 0 {
        Err(BadRegion::Empty)
    } else if u128::from(memory.addr) % PAGE != 0 {
        Err(BadRegion::Unaligned)
    } else if end > u128::from(u64::MAX) {
        Err(BadRegion::Wraps)
    } else {
        Ok((memory.addr, end as u64))
    };
    let region = Region::new(memory.addr, memory.npages, PAGE as u64);
    assert_eq!(region.map(|r| (r.start(), r.end())), expected);
}

// SPDX-License-Identifier: GPL-2.0

use crate::ioctl::{AreaRequest, DeviceRequest, KthreadInfo, Malformed, MemoryRegion};

/// A structure of the interface: 32-bit words, then 64-bit ones.
fn bytes(words: &[u32], longs: &[u64]) -> [u8; 24] {
    let mut raw: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    raw.extend(longs.iter().flat_map(|l| l.to_ne_bytes()));
    raw.try_into().expect("24 bytes")
}

#[test]
fn the_numbers_are_those_of_2009() {
    assert_eq!(
        DeviceRequest::decode(0x0000_AB00),
        Some(DeviceRequest::ApiVersion)
    );
    assert_eq!(
        DeviceRequest::decode(0x0000_AB01),
        Some(DeviceRequest::CreateArea)
    );
    assert_eq!(
        DeviceRequest::decode(0x4018_AB02),
        Some(DeviceRequest::StartStop)
    );
    assert_eq!(
        DeviceRequest::decode(0x4018_AB03),
        Some(DeviceRequest::Info)
    );
    assert_eq!(
        AreaRequest::decode(0x4018_AB20),
        Some(AreaRequest::Register)
    );
    assert_eq!(AreaRequest::decode(0x0000_AB21), Some(AreaRequest::Remove));
}

#[test]
fn nothing_else_is_a_request() {
    // Every number of the magic, without and with a structure of other direction or size.
    for nr in 0..=0xFF {
        for high in [0, 0x4010_0000, 0x4018_0000, 0x8018_0000, 0xC018_0000] {
            let cmd = high | 0xAB00 | nr;
            let device = matches!(cmd, 0xAB00 | 0xAB01 | 0x4018_AB02 | 0x4018_AB03);
            let area = matches!(cmd, 0x4018_AB20 | 0xAB21);
            assert_eq!(DeviceRequest::decode(cmd).is_some(), device, "{cmd:#x}");
            assert_eq!(AreaRequest::decode(cmd).is_some(), area, "{cmd:#x}");
        }
    }
    assert_eq!(DeviceRequest::decode(0x0000_AC00), None);
}

#[test]
fn scanner_settings_are_read_from_their_places() {
    let info = KthreadInfo::from_bytes(&bytes(&[5000, 64, 1, 0xDEAD_BEEF], &[0]));
    assert_eq!(
        info,
        Ok(KthreadInfo {
            sleep_us: 5000,
            pages_to_scan: 64,
            run: true
        })
    );
}

#[test]
fn scanner_settings_are_written_without_rubbish() {
    let info = KthreadInfo {
        sleep_us: u32::MAX,
        pages_to_scan: 1,
        run: false,
    };
    assert_eq!(info.to_bytes(), bytes(&[u32::MAX, 1, 0, 0], &[0]));
    let running = KthreadInfo { run: true, ..info };
    assert_eq!(KthreadInfo::from_bytes(&running.to_bytes()), Ok(running));
}

#[test]
fn unknown_bits_are_refused() {
    for flags in [2, 3, 0x8000_0000] {
        let info = KthreadInfo::from_bytes(&bytes(&[0, 0, flags, 0], &[0]));
        assert_eq!(info, Err(Malformed::Reserved));
    }
    for bit in 0..64 {
        let reserved = 1 << bit;
        assert_eq!(
            KthreadInfo::from_bytes(&bytes(&[0, 0, 1, 0], &[reserved])),
            Err(Malformed::Reserved)
        );
        assert_eq!(
            MemoryRegion::from_bytes(&bytes(&[1, 0], &[4096, reserved])),
            Err(Malformed::Reserved)
        );
    }
}

#[test]
fn a_memory_region_is_read_from_its_places() {
    let region = MemoryRegion::from_bytes(&bytes(&[3, 0xFFFF_FFFF], &[0x7FFF_0000_1000, 0]));
    assert_eq!(
        region,
        Ok(MemoryRegion {
            npages: 3,
            addr: 0x7FFF_0000_1000
        })
    );
}

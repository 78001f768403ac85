// SPDX-License-Identifier: GPL-2.0

//! From a bootable x86 kernel image to the vmlinux inside it.

use std::io::Read;

use anyhow::{bail, ensure, Context, Result};
use ruzstd::decoding::StreamingDecoder;

const ELF_MAGIC: &[u8] = b"\x7fELF";
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";

/// Fields of the x86 boot protocol's setup header (protocol 2.08 and later).
const SETUP_SECTORS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// The ELF image in `image`, which may be one already.
pub(crate) fn vmlinux(image: Vec<u8>) -> Result<Vec<u8>> {
    if image.starts_with(ELF_MAGIC) {
        return Ok(image);
    }
    ensure!(
        image.get(HEADER_MAGIC..HEADER_MAGIC + 4) == Some(b"HdrS"),
        "it is neither an ELF file nor an x86 bzImage"
    );
    let setup_sectors = match image[SETUP_SECTORS] {
        0 => 4,
        n => usize::from(n),
    };
    let start = (setup_sectors + 1) * SECTOR + field(&image, PAYLOAD_OFFSET)?;
    let payload = image
        .get(start..start + field(&image, PAYLOAD_LENGTH)?)
        .context("its payload is cut short")?;
    let vmlinux = decompress(payload)?;
    ensure!(
        vmlinux.starts_with(ELF_MAGIC),
        "its payload is not an ELF file"
    );
    Ok(vmlinux)
}

fn field(image: &[u8], offset: usize) -> Result<usize> {
    let bytes = image
        .get(offset..offset + 4)
        .context("its setup header is cut short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
}

fn decompress(payload: &[u8]) -> Result<Vec<u8>> {
    if !payload.starts_with(ZSTD_MAGIC) {
        bail!("its payload is not compressed with zstd; unpack it (scripts/extract-vmlinux in the kernel source) and give vmlinux instead");
    }
    let mut vmlinux = Vec::new();
    // The size that the kernel's build appends to the frame is left unread.
    StreamingDecoder::new(payload)
        .context("its payload is damaged")?
        .read_to_end(&mut vmlinux)
        .context("its payload is damaged")?;
    Ok(vmlinux)
}

#[cfg(test)]
mod tests {
    use super::vmlinux;

    #[test]
    fn takes_an_elf_file_as_it_is() {
        assert_eq!(vmlinux(b"\x7fELFrest".to_vec()).unwrap(), b"\x7fELFrest");
    }

    #[test]
    fn refuses_other_files() {
        let error = vmlinux(b"#!/bin/sh\n".to_vec()).unwrap_err();
        assert!(error
            .to_string()
            .contains("neither an ELF file nor an x86 bzImage"));
    }
}

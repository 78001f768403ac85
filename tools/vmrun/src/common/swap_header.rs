// SPDX-License-Identifier: GPL-2.0

//! The first page of a swap area, as `mkswap` would write it.
//!
//! Layout (include/linux/swap.h, `union swap_header`): at offset 1024 the version, the index of
//! the last page and the number of bad pages, all `u32`; the magic in the page's last ten bytes.

/// Size of a page, and of the header.
pub const PAGE_SIZE: usize = 4096;

const MAGIC: &[u8; 10] = b"SWAPSPACE2";

/// Fewest pages of which the kernel accepts a swap area.
const MIN_PAGES: u64 = 10;

/// The header for an area of `bytes` bytes, or `None` when that is too small or too large for one.
pub fn swap_header(bytes: u64) -> Option<Vec<u8>> {
    let pages = bytes / PAGE_SIZE as u64;
    if pages < MIN_PAGES {
        return None;
    }
    let last_page = u32::try_from(pages - 1).ok()?;
    let mut page = vec![0; PAGE_SIZE];
    page[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    page[PAGE_SIZE - MAGIC.len()..].copy_from_slice(MAGIC);
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_256_mib() {
        let page = swap_header(256 << 20).unwrap();
        assert_eq!(page.len(), 4096);
        assert_eq!(
            &page[1024..1036],
            [1, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(&page[4086..], MAGIC);
    }

    #[test]
    fn sizes_that_cannot_be() {
        assert!(swap_header(0).is_none());
        assert!(swap_header(9 * 4096).is_none());
        assert!(swap_header(u64::MAX).is_none());
    }
}

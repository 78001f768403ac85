// SPDX-License-Identifier: GPL-2.0

//! Memory whose every byte can be told in advance.

use std::io;

use crate::Result;

/// Bytes of a page.
pub const PAGE: usize = 4096;
const WORDS: usize = PAGE / 8;

/// An anonymous private mapping.
pub struct Memory {
    start: *mut u64,
    pages: usize,
}

impl Memory {
    /// Maps `pages` pages.
    pub fn map(pages: usize) -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping at a place of the kernel's choice.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(format!(
                "cannot map {pages} pages: {}",
                io::Error::last_os_error()
            ));
        }
        Ok(Self {
            start: start.cast(),
            pages,
        })
    }

    /// Opens it to merging.
    pub fn make_mergeable(&self) -> Result {
        // SAFETY: The range is a mapping of our own, and merging changes no content.
        match unsafe { libc::madvise(self.start.cast(), self.pages * PAGE, libc::MADV_MERGEABLE) } {
            0 => Ok(()),
            _ => Err(format!(
                "cannot make memory mergeable: {}",
                io::Error::last_os_error()
            )),
        }
    }

    /// Writes all of a page.
    pub fn fill(&self, page: usize, seed: u64) {
        for index in 0..WORDS {
            self.put(page, index, word(seed, index));
        }
    }

    /// Writes one word of a page.
    pub fn put(&self, page: usize, index: usize, value: u64) {
        // SAFETY: `word_at` is inside the mapping, which nobody else uses.
        unsafe { self.word_at(page, index).write_volatile(value) }
    }

    /// Reads one word of a page.
    pub fn get(&self, page: usize, index: usize) -> u64 {
        // SAFETY: As above.
        unsafe { self.word_at(page, index).read_volatile() }
    }

    /// Compares every byte of a page with what `fill` wrote, but for one word that `put` may have changed since.
    pub fn verify(&self, page: usize, seed: u64, changed: Option<(usize, u64)>) -> Result {
        for index in 0..WORDS {
            let expected = changed
                .filter(|(at, _)| *at == index)
                .map_or_else(|| word(seed, index), |(_, value)| value);
            let found = self.get(page, index);
            if found != expected {
                return Err(format!(
                    "page {page}, byte {}: {found:#018x} instead of {expected:#018x}",
                    index * 8
                ));
            }
        }
        Ok(())
    }

    fn word_at(&self, page: usize, index: usize) -> *mut u64 {
        assert!(
            page < self.pages && index < WORDS,
            "word {index} of page {page} is outside the mapping"
        );
        // SAFETY: Inside the mapping, as was just checked.
        unsafe { self.start.add(page * WORDS + index) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: The mapping is our own and no reference into it is left.
        unsafe { libc::munmap(self.start.cast(), self.pages * PAGE) };
    }
}

/// The content of a page named `seed`: no two pages, and no two words of a page, look alike.
fn word(seed: u64, index: usize) -> u64 {
    let mixed = (seed << 9 | index as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

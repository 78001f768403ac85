// SPDX-License-Identifier: GPL-2.0

//! Page contents that can be checked byte by byte.
//!
//! A page is named by a 64-bit seed; pages of equal seed are identical. Seed 0 is the zero page.

use crate::case::{fail, Outcome};
use crate::sabotage::{self, Sabotage};
use crate::sys::PAGE;

const WORDS: usize = PAGE / 8;

/// Content of the word at `index` of the page named `seed`.
fn word(seed: u64, index: usize) -> u64 {
    if seed == 0 {
        return 0;
    }
    let x = (seed ^ (index as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Writes page `seed` to `page`.
///
/// # Safety
/// `page` must be a mapped, writable page.
pub unsafe fn write(page: *mut u64, seed: u64) {
    let seed = if sabotage::is(Sabotage::OneContent) {
        1
    } else {
        seed
    };
    for index in 0..WORDS {
        let wrong = index == WORDS - 1 && sabotage::is(Sabotage::WrongContent);
        // SAFETY: inside the page by the caller's promise.
        unsafe {
            page.add(index)
                .write_volatile(word(seed, index) ^ u64::from(wrong))
        };
    }
}

/// Compares `page` with page `seed`.
///
/// # Safety
/// `page` must be a mapped, readable page.
pub unsafe fn verify(page: *const u64, seed: u64) -> Outcome {
    for index in 0..WORDS {
        // SAFETY: inside the page by the caller's promise.
        let found = unsafe { page.add(index).read_volatile() };
        if found != word(seed, index) {
            return fail(format!(
                "WRONG CONTENT at byte {} of page {page:p}: {found:#018x} instead of {:#018x} (seed {seed:#x}; {})",
                index * 8,
                word(seed, index),
                if found == 0 { "reads as zero" } else { "foreign data" },
            ));
        }
    }
    Ok(())
}

/// A small generator of reproducible numbers (xorshift).
pub struct Random(u64);

impl Random {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Random(word(seed | 1, 7) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A page's content: mostly one of `common` that others have as well, at times nobody else's.
    pub fn content(&mut self, common: u64) -> u64 {
        match self.below(8) {
            0 => self.next() | (1 << 40),
            _ => self.below(common),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_page_verifies_and_a_changed_byte_is_found() {
        let mut page = vec![0u64; WORDS];
        // SAFETY: the vector is one page long.
        unsafe {
            write(page.as_mut_ptr(), 42);
            assert!(verify(page.as_ptr(), 42).is_ok());
            page[WORDS - 1] ^= 1 << 63;
            assert!(verify(page.as_ptr(), 42).is_err());
        }
    }

    #[test]
    fn seeds_differ_and_zero_is_zero() {
        assert_ne!(word(1, 0), word(2, 0));
        assert_ne!(word(1, 0), word(1, 1));
        assert_eq!(word(0, 9), 0);
    }
}

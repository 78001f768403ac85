// SPDX-License-Identifier: GPL-2.0

//! A page's content to 128 bits, under a secret key: the NH function of UMAC (Black, Halevi, Krawczyk, Krovetz, Rogaway, 1999)
//! with words of 64 bits.
//!
//! For any two contents that somebody has chosen without knowing the key, the results are equal for at most 1 of 2^64 keys.
//! XXH64 alone cannot promise that: differences can be put into two words so that they cancel out whatever the seed.

#![forbid(unsafe_code)]

/// Words of a page, and of the key.
pub(crate) const WORDS: usize = 512;

/// The result for `content`.
pub(crate) fn nh(content: &[u8; WORDS * 8], key: &[u64; WORDS]) -> u128 {
    let mut sum = 0u128;
    for (pair, key) in content.chunks_exact(16).zip(key.chunks_exact(2)) {
        let (left, right) = pair.split_at(8);
        let left = word(left).wrapping_add(key[0]);
        let right = word(right).wrapping_add(key[1]);
        sum = sum.wrapping_add(u128::from(left) * u128::from(right));
    }
    sum
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap_or_default())
}

// SPDX-License-Identifier: GPL-2.0

use crate::nh::{nh, WORDS};

/// Some key; the numbers are those of splitmix64.
fn key(seed: u64) -> [u64; WORDS] {
    core::array::from_fn(|at| {
        let mut x = seed.wrapping_add((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    })
}

fn page(words: impl Fn(usize) -> u64) -> [u8; WORDS * 8] {
    let mut page = [0; WORDS * 8];
    for (at, bytes) in page.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&words(at).to_le_bytes());
    }
    page
}

#[test]
fn is_the_sum_of_products() {
    let key = key(1);
    let words = |at: usize| (at as u64).wrapping_mul(0x1234_5678_9ABC_DEF1);
    let expected = (0..WORDS).step_by(2).fold(0u128, |sum, at| {
        let left = u128::from(words(at).wrapping_add(key[at]));
        let right = u128::from(words(at + 1).wrapping_add(key[at + 1]));
        sum.wrapping_add(left.wrapping_mul(right))
    });
    assert_eq!(nh(&page(words), &key), expected);
}

/// The pair of differences that cancels out in XXH64 for every seed: the highest bit of one word, and what it has become
/// two multiplications later subtracted from the word that comes next in the same lane.
#[test]
fn differences_that_cancel_out_in_xxh64_do_not_here() {
    const P1: u64 = 0x9E37_79B1_85EB_CA87;
    const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
    let mut inverse = P2;
    for _ in 0..6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(P2.wrapping_mul(inverse)));
    }
    assert_eq!(P2.wrapping_mul(inverse), 1);
    let delta = P1.wrapping_shl(30).wrapping_mul(inverse);
    let first = page(|at| at as u64);
    let others = [delta, delta.wrapping_neg()].map(|delta| {
        page(|at| match at {
            0 => 1 << 63,
            4 => 4u64.wrapping_sub(delta),
            _ => at as u64,
        })
    });
    let mut collisions = 0;
    for seed in 0..100 {
        let xxh = |page: &[u8]| xxhash_rust::xxh64::xxh64(page, seed);
        collisions += usize::from(others.iter().any(|other| xxh(other) == xxh(&first)));
        for other in &others {
            assert_ne!(nh(other, &key(seed)), nh(&first, &key(seed)));
        }
    }
    assert_eq!(
        collisions, 100,
        "the differences are not what the text says"
    );
}

#[test]
fn one_changed_byte_changes_it() {
    let key = key(7);
    let first = page(|at| (at as u64).wrapping_mul(0x0101_0101));
    let before = nh(&first, &key);
    for at in 0..first.len() {
        let mut second = first;
        second[at] ^= at as u8 | 1;
        assert_ne!(nh(&second, &key), before, "byte {at}");
    }
}

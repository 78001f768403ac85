// SPDX-License-Identifier: GPL-2.0

//! The key of the hash: here the same in every run.

use std::sync::LazyLock;

const WORDS: usize = 512;

static KEY: LazyLock<[u64; WORDS]> =
    LazyLock::new(|| std::array::from_fn(|at| (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)));

pub(crate) fn init() {}

pub(crate) fn hash_key() -> &'static [u64; WORDS] {
    &KEY
}

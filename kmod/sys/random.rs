// SPDX-License-Identifier: GPL-2.0

//! The secret of this load of the module.

use super::bindings as b;

/// Words of the key.
const WORDS: usize = b::SWAPKSM_KEY_WORDS as usize;

/// Draws the key. To be called once, before anything is hashed.
pub(crate) fn init() {
    // SAFETY: Nobody reads it yet.
    unsafe { b::swapksm_random_init() };
}

/// The key of the hash.
pub(crate) fn hash_key() -> &'static [u64; WORDS] {
    let key = &raw const b::swapksm_hash_key;
    // SAFETY: Written once, by `init`, before anybody comes here.
    unsafe { &*key }
}

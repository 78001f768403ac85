// SPDX-License-Identifier: GPL-2.0

//! Content hashes.

#![forbid(unsafe_code)]

use xxhash_rust::xxh64::xxh64;

use super::Engine;
use crate::sys::folio::Page;

/// What keeps contents apart that must not be merged: merge group and NUMA node (0 while merging across nodes). As the
/// hash's seed it gives such contents different keys; it is compared besides before a merge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) group: u32,
    pub(crate) nid: u32,
}

impl Realm {
    fn seed(self) -> u64 {
        u64::from(self.group) << 32 | u64::from(self.nid)
    }

    /// Hash of the content of a page, taken from a copy, since the page may change while it is read.
    pub(crate) fn hash(self, engine: &mut Engine, page: &Page) -> u64 {
        page.copy_to(&mut engine.buffer);
        xxh64(&engine.buffer[..], self.seed())
    }

    /// Hash of an empty page.
    pub(crate) fn empty_hash(self, engine: &mut Engine) -> u64 {
        match engine.empty_hash {
            Some((realm, hash)) if realm == self => hash,
            _ => {
                let hash = xxh64(&[0; 4096], self.seed());
                engine.empty_hash = Some((self, hash));
                hash
            }
        }
    }
}

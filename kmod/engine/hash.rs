// SPDX-License-Identifier: GPL-2.0

//! Content hashes.

#![forbid(unsafe_code)]

use xxhash_rust::xxh64::xxh64;

use super::{nh::nh, Engine};
use crate::sys::{folio::Page, random};

/// What keeps contents apart that must not be merged: merge group and NUMA node (0 while merging across nodes). As the
/// hash's seed it gives such contents different keys; it is compared besides before a merge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Realm {
    pub(crate) group: u32,
    pub(crate) nid: u32,
}

impl Realm {
    /// Hash of the content of a page, taken from a copy, since the page may change while it is read.
    pub(crate) fn hash(self, engine: &mut Engine, page: &Page) -> u64 {
        page.copy_to(&mut engine.buffer);
        self.hash_of(&engine.buffer)
    }

    /// Hash of a content that stands still. The key is taken at random when the module is loaded: who knows it can make
    /// contents that have the hash of another one and stand in the way of everybody who has that.
    pub(crate) fn hash_of(self, content: &[u8; 4096]) -> u64 {
        let seed = u64::from(self.group) << 32 | u64::from(self.nid);
        xxh64(&nh(content, random::hash_key()).to_le_bytes(), seed)
    }

    /// Hash of an empty page.
    pub(crate) fn empty_hash(self, engine: &mut Engine) -> u64 {
        match engine.empty_hash {
            Some((realm, hash)) if realm == self => hash,
            _ => {
                engine.buffer.fill(0);
                let hash = self.hash_of(&engine.buffer);
                engine.empty_hash = Some((self, hash));
                hash
            }
        }
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The module's unsafe layer: the machine's functions under the names of the shims.

#[allow(
    non_camel_case_types,
    non_upper_case_globals,
    clippy::missing_safety_doc,
    reason = "C's names, and C's contracts, which stand in shims/*.h"
)]
pub(crate) mod bindings {
    pub(crate) use crate::machine::{
        folio::*, memory::*, merge::*, mm::*, rbtree::*, rmap::*, swap::*, sync::*, walk::*,
    };
}
#[path = "../../../kmod/sys/folio.rs"]
pub(crate) mod folio;
pub(crate) mod proc;
pub(crate) mod random;
pub(crate) mod thread;

pub(crate) mod lru {
    pub(crate) fn add_drain_all() {}
}

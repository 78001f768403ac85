// SPDX-License-Identifier: GPL-2.0

//! The unsafe layer: the only folder of this crate that calls C or is called by it.

pub(crate) mod bindings;
pub(crate) mod device;
pub(crate) mod folio;
mod hooks;
pub(crate) mod hotplug;
pub(crate) mod intree;
pub(crate) mod livepatch;
pub(crate) mod lru;
pub(crate) mod madvise;
mod notifier;
pub(crate) mod proc;
pub(crate) mod random;
pub(crate) mod sysfs;
pub(crate) mod thread;

/// Checks a function exported to C against its declaration in the shims' headers.
///
/// Both branches of an `if` must have one type, so a difference stops the build.
macro_rules! assert_prototypes {
    ($($name:ident),+ $(,)?) => {
        $(const _: () = {
            if true {
                $crate::sys::bindings::$name
            } else {
                $name
            };
        };)+
    };
}
use assert_prototypes;

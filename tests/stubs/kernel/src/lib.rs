// SPDX-License-Identifier: GPL-2.0

//! As much of the kernel's Rust crate as the module's files need to be compiled for the host: the same names, doing on the
//! host what they do in the kernel.

pub mod alloc;
pub mod error;
pub mod ffi;
pub mod page;
pub mod str;

/// What every file of the module begins with.
pub mod prelude {
    pub use core::ffi::CStr;

    pub use crate::{
        alloc::{flags::GFP_KERNEL, KBox, KVVec, KVec},
        error::{code::*, Error, Result},
        pr_warn,
    };
}

/// A line for the kernel's log.
#[macro_export]
macro_rules! pr_warn {
    ($($text:tt)*) => { eprint!($($text)*) };
}

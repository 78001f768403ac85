// SPDX-License-Identifier: GPL-2.0

//! C's types as the kernel's crate maps them: `long` is as wide as a pointer, and so is `isize`.

pub use core::ffi::{c_int, c_uint, c_void};

#[allow(non_camel_case_types, reason = "C's name")]
pub type c_long = isize;
#[allow(non_camel_case_types, reason = "C's name")]
pub type c_ulong = usize;

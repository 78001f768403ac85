// SPDX-License-Identifier: GPL-2.0

//! What administrators and programs see of the module.

#![forbid(unsafe_code)]

pub(crate) mod device;
pub(crate) mod ioctl;
#[cfg(swapksm_debug)]
mod probe;
pub(crate) mod process;
mod regions;
pub(crate) mod sysfs;
mod text;

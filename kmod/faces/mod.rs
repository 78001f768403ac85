// SPDX-License-Identifier: GPL-2.0

//! What administrators and programs see of the module.

pub(crate) mod device;
pub(crate) mod ioctl;
mod regions;
pub(crate) mod sysfs;
mod text;

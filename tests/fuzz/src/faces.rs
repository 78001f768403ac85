// SPDX-License-Identifier: GPL-2.0

//! Those of the module's `faces` that need no more of the kernel than we have.

#[path = "../../../kmod/faces/ioctl.rs"]
pub(crate) mod ioctl;
#[path = "../../../kmod/faces/regions.rs"]
pub(crate) mod regions;
#[path = "../../../kmod/faces/sysfs.rs"]
pub(crate) mod sysfs;
#[path = "../../../kmod/faces/text.rs"]
pub(crate) mod text;

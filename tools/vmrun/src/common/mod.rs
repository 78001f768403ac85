// SPDX-License-Identifier: GPL-2.0

//! What host and guest must agree on.

pub mod elf;
pub mod frame;
pub mod job;
pub mod swap_header;

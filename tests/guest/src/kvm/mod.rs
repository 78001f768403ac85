// SPDX-License-Identifier: GPL-2.0

//! KVM guests with mergeable memory.

pub mod guest;
pub mod machine;
mod program;

// SPDX-License-Identifier: GPL-2.0

//! What `faces/sysfs.rs` asks the kernel for.

pub(crate) mod sysfs {
    use kernel::{
        prelude::*,
        str::{kstrtoll, kstrtoull},
    };

    pub(crate) const MAX_FILES: usize = 64;

    pub(crate) fn create(_files: impl ExactSizeIterator<Item = (&'static CStr, u16)>) -> Result {
        Ok(())
    }

    pub(crate) fn remove() {}

    pub(crate) fn zero_pages() -> i64 {
        0
    }

    pub(crate) fn parse_u32(text: &CStr) -> Result<u32> {
        u32::try_from(kstrtoull(text)?).map_err(|_| ERANGE)
    }

    pub(crate) fn parse_i32(text: &CStr) -> Result<i32> {
        i32::try_from(kstrtoll(text)?).map_err(|_| ERANGE)
    }

    pub(crate) fn parse_u64(text: &CStr) -> Result<u64> {
        kstrtoull(text)
    }
}

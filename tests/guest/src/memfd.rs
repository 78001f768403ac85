// SPDX-License-Identifier: GPL-2.0

//! Files in memory, without a name in any directory.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use crate::case::{fail, Context, Outcome};
use crate::region::Region;
use crate::sys::{self, PAGE};

/// A file of `bytes` zero bytes; `name` is what /proc/PID/maps shows.
pub fn create(name: &str, bytes: usize) -> Outcome<File> {
    let name = CString::new(name).or_else(|_| fail("a name with a zero byte"))?;
    // SAFETY: a string that outlives the call.
    let fd = sys::check(unsafe { libc::memfd_create(name.as_ptr(), 0) }.into())
        .context("memfd_create")?;
    // SAFETY: a new descriptor that nobody else owns.
    let file = unsafe { File::from_raw_fd(fd as i32) };
    file.set_len(bytes as u64).context("ftruncate")?;
    Ok(file)
}

/// A file of `pages` pages, page `i` named by `seed(i)`.
pub fn filled(name: &str, pages: usize, seed: impl Fn(usize) -> u64) -> Outcome<File> {
    let file = create(name, pages * PAGE)?;
    let region = Region::map(pages)?;
    region.fill(seed);
    // SAFETY: the region is mapped, was just filled, and nobody writes to it meanwhile.
    let bytes = unsafe { std::slice::from_raw_parts(region.page(0).cast::<u8>(), region.len()) };
    file.write_all_at(bytes, 0).context("filling a file")?;
    Ok(file)
}

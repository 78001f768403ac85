// SPDX-License-Identifier: GPL-2.0

//! The directory /sys/kernel/mm/ksm: the in-tree one and ours (`shims/sysfs.h`).

use core::slice;

use kernel::{
    error::{from_result, to_result},
    ffi::{c_char, c_int, c_uint, c_ulonglong},
    page::PAGE_SIZE,
    prelude::*,
};

use super::{assert_prototypes, bindings};
use crate::faces;

/// Most files the directory can have.
pub(crate) const MAX_FILES: usize = bindings::SWAPKSM_SYSFS_MAX_FILES as usize;

/// Creates our directory with `files`, each a name and its permissions; a file's index is its number.
///
/// `EEXIST` while the in-tree directory is there. May sleep.
pub(crate) fn create(files: impl ExactSizeIterator<Item = (&'static CStr, u16)>) -> Result {
    if files.len() > MAX_FILES {
        return Err(E2BIG);
    }
    for (id, (name, mode)) in files.enumerate() {
        // SAFETY: `id` is below the limit, `name` is static, and the directory does not exist yet.
        unsafe { bindings::swapksm_sysfs_declare(id as c_uint, name.as_char_ptr(), mode) };
    }
    // SAFETY: The files are declared.
    to_result(unsafe { bindings::swapksm_sysfs_create() })
}

/// Removes our directory. Waits for readers and writers of its files: hold no lock that they take. May sleep.
pub(crate) fn remove() {
    // SAFETY: Removing what is not there only warns.
    unsafe { bindings::swapksm_sysfs_remove() }
}

/// Creates the directory of mm/ksm.c. `EEXIST` while ours is there. May sleep.
pub(crate) fn create_in_tree() -> Result {
    // SAFETY: The files' functions are the kernel's own and live as long as it does.
    to_result(unsafe { bindings::swapksm_sysfs_create_in_tree() })
}

/// Removes the directory of mm/ksm.c. Waits for readers and writers of its files. May sleep.
pub(crate) fn remove_in_tree() {
    // SAFETY: Removing what is not there only warns.
    unsafe { bindings::swapksm_sysfs_remove_in_tree() }
}

/// Zero pages placed by samepage merging in all processes.
pub(crate) fn zero_pages() -> i64 {
    // SAFETY: Reads a counter of the kernel.
    unsafe { bindings::swapksm_zero_pages() as i64 }
}

/// The decimal number in `text`, read as the kernel reads an `unsigned int`: `EINVAL` or `ERANGE`.
pub(crate) fn parse_u32(text: &CStr) -> Result<u32> {
    let mut value: c_uint = 0;
    // SAFETY: A string with its end, and a place for the result.
    to_result(unsafe { bindings::kstrtouint(text.as_char_ptr(), 10, &mut value) })?;
    Ok(value)
}

/// The decimal number in `text`, read as the kernel reads an `int`: `EINVAL` or `ERANGE`.
pub(crate) fn parse_i32(text: &CStr) -> Result<i32> {
    let mut value: c_int = 0;
    // SAFETY: A string with its end, and a place for the result.
    to_result(unsafe { bindings::kstrtoint(text.as_char_ptr(), 10, &mut value) })?;
    Ok(value)
}

/// The decimal number in `text`, read as the kernel reads an `unsigned long`: `EINVAL` or `ERANGE`.
pub(crate) fn parse_u64(text: &CStr) -> Result<u64> {
    let mut value: c_ulonglong = 0;
    // SAFETY: A string with its end, and a place for the result.
    to_result(unsafe { bindings::kstrtoull(text.as_char_ptr(), 10, &mut value) })?;
    Ok(value)
}

/// Reads a file.
///
/// # Safety
///
/// `buf` has `PAGE_SIZE` zeroed bytes that nobody else uses.
#[no_mangle]
unsafe extern "C" fn swapksm_sysfs_show(id: c_uint, buf: *mut c_char) -> isize {
    // SAFETY: sysfs passes a zeroed buffer of a page, for this call alone; its last byte is not to be shown.
    let buf = unsafe { slice::from_raw_parts_mut(buf, PAGE_SIZE - 1) };
    from_result(|| faces::sysfs::show(id as usize, buf).map(|len| len as isize))
}

/// Writes a file.
///
/// # Safety
///
/// `buf` is a string with its end that nobody changes.
#[no_mangle]
unsafe extern "C" fn swapksm_sysfs_store(id: c_uint, buf: *const c_char, len: usize) -> isize {
    // SAFETY: sysfs passes a string with its end, which nobody changes during this call.
    let text = unsafe { CStr::from_char_ptr(buf) };
    from_result(|| faces::sysfs::store(id as usize, text).map(|()| len as isize))
}

assert_prototypes!(swapksm_sysfs_show, swapksm_sysfs_store);

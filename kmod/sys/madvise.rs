// SPDX-License-Identifier: GPL-2.0

//! Marking the memory of a process mergeable (`shims/madvise.h`).

use core::ops::Range;

use kernel::{error::to_result, ffi::c_ulong, mm::MmWithUser, prelude::*};

use super::bindings;

/// What to do with a range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// `MADV_MERGEABLE`.
    Mergeable,
    /// `MADV_UNMERGEABLE`.
    Unmergeable,
}

/// Gives `advice` for a page-aligned range, as madvise() does and with its errors: `ENOMEM` if part of it is not mapped
/// (the rest is done then) or memory is short, `EINTR` if the caller is being killed or the last process of another address
/// space is, `EAGAIN`. Not under the mmap lock. May sleep.
pub(crate) fn advise(mm: &MmWithUser, range: &Range<u64>, advice: Advice) -> Result {
    let len = range.end.saturating_sub(range.start) as usize;
    let mergeable = advice == Advice::Mergeable;
    // SAFETY: `mm` has users as long as the reference lives, and any numbers may be passed for the range.
    to_result(unsafe {
        bindings::swapksm_madvise(mm.as_raw(), range.start as c_ulong, len, mergeable)
    })
}

/// Is all of `range` mapped? May be outdated when this returns. `EINTR` if the caller is being killed.
///
/// Not under the mmap lock. May sleep.
pub(crate) fn all_mapped(mm: &MmWithUser, range: &Range<u64>) -> Result<bool> {
    ask(Question::AllMapped, mm, range)
}

/// Is any of `range` marked mergeable? May be outdated when this returns. `EINTR` if the caller is being killed.
///
/// Not under the mmap lock. May sleep.
pub(crate) fn any_mergeable(mm: &MmWithUser, range: &Range<u64>) -> Result<bool> {
    ask(Question::AnyMergeable, mm, range)
}

enum Question {
    AllMapped,
    AnyMergeable,
}

fn ask(question: Question, mm: &MmWithUser, range: &Range<u64>) -> Result<bool> {
    let (mm, start, end) = (mm.as_raw(), range.start as c_ulong, range.end as c_ulong);
    // SAFETY: The caller's reference keeps the users of `mm`, and any numbers may be passed for the range.
    let answer = unsafe {
        match question {
            Question::AllMapped => bindings::swapksm_all_mapped(mm, start, end),
            Question::AnyMergeable => bindings::swapksm_any_mergeable(mm, start, end),
        }
    };
    to_result(answer).map(|()| answer != 0)
}

/// Does any process run in the address space that is not being killed? Others than processes can hold it for a while: who
/// reads a file of /proc, swapoff, the scanner.
pub(crate) fn has_process(mm: &MmWithUser) -> bool {
    // SAFETY: `mm` has users as long as the reference lives.
    unsafe { bindings::swapksm_mm_has_process(mm.as_raw()) }
}

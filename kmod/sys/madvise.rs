// SPDX-License-Identifier: GPL-2.0

//! Marking the memory of a process mergeable (`shims/madvise.h`).

use core::ops::Range;

use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong},
    mm::MmWithUser,
    prelude::*,
};

use super::bindings;

/// What to do with a range.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advice {
    /// `MADV_MERGEABLE`.
    Mergeable,
    /// `MADV_UNMERGEABLE`.
    Unmergeable,
}

/// What a signal does to the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signals {
    /// A caller being killed gets `EINTR`.
    Kill,
    /// None interrupts: a kernel worker does the work and the caller waits.
    Wait,
}

/// Gives `advice` for a page-aligned range, as madvise() does and with its errors: `ENOMEM` if part of it is not mapped
/// (the rest is done then) or memory is short, `EINTR`, `EAGAIN`. Not under the mmap lock. May sleep.
pub(crate) fn advise(
    mm: &MmWithUser,
    range: Range<u64>,
    advice: Advice,
    signals: Signals,
) -> Result {
    type Call = unsafe extern "C" fn(*mut bindings::mm_struct, c_ulong, usize, bool) -> c_int;
    let call: Call = match signals {
        Signals::Kill => bindings::swapksm_madvise,
        Signals::Wait => bindings::swapksm_madvise_in_worker,
    };
    let len = range.end.saturating_sub(range.start) as usize;
    let mergeable = advice == Advice::Mergeable;
    // SAFETY: `mm` has users as long as the reference lives, and any numbers may be passed for the range.
    to_result(unsafe { call(mm.as_raw(), range.start as c_ulong, len, mergeable) })
}

/// The first stretch of `range` that is mapped without a gap; `None` if nothing is mapped there.
///
/// It may have changed when this returns. `EINTR` if the caller is being killed. Not under the mmap lock. May sleep.
pub(crate) fn first_mapped(mm: &MmWithUser, range: Range<u64>) -> Result<Option<Range<u64>>> {
    let (mut start, mut end): (c_ulong, c_ulong) = (0, 0);
    // SAFETY: `mm` has users as long as the reference lives, any numbers may be passed for the range, and the results
    // have a place.
    let found = to_result(unsafe {
        bindings::swapksm_first_mapped(
            mm.as_raw(),
            range.start as c_ulong,
            range.end as c_ulong,
            &mut start,
            &mut end,
        )
    });
    match found {
        Ok(()) => Ok(Some(start as u64..end as u64)),
        Err(error) if error == ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

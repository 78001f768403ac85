// SPDX-License-Identifier: GPL-2.0

//! The file /proc/PID/ksm_stat, as procfs asks for it, and what it reads of a process.

use kernel::{
    error::{from_result, to_result, Result},
    ffi::c_int,
    seq_file::SeqFile,
};

use super::{
    assert_prototypes,
    bindings::{self as b, mm_struct, seq_file, task_struct},
};
use crate::{
    engine::process::{self, Counts},
    faces,
};

/// A process's mm.
///
/// # Invariants
///
/// It has a user that is ours.
pub(crate) struct ProcessMm(*mut mm_struct);

/// What the kernel counts of `mm`.
///
/// # Safety
///
/// The caller keeps the mm.
pub(super) unsafe fn counts_of(mm: *mut mm_struct) -> Counts {
    // SAFETY: By the contract.
    unsafe {
        Counts {
            items: b::swapksm_mm_items(mm) as i64,
            zero_pages: b::swapksm_mm_zero_pages(mm) as i64,
            merging: b::swapksm_mm_merging(mm) as i64,
            merge_any: b::swapksm_mm_is_merge_any(mm),
        }
    }
}

impl ProcessMm {
    /// None: the task has no mm of its own, as kernel threads and zombies.
    ///
    /// # Safety
    ///
    /// The caller keeps `task`.
    unsafe fn of_task(task: *mut task_struct) -> Option<Self> {
        // SAFETY: By the contract.
        let mm = unsafe { b::swapksm_mm_of_task(task) };
        // INVARIANT: That gave us a user.
        (!mm.is_null()).then(|| Self(mm))
    }

    /// For looking it up.
    pub(crate) fn as_ptr(&self) -> *mut mm_struct {
        self.0
    }

    pub(crate) fn counts(&self) -> Counts {
        // SAFETY: There is a user.
        unsafe { counts_of(self.0) }
    }

    /// Takes the mmap lock for reading. `EINTR` when the caller has been killed. May sleep.
    pub(crate) fn read_lock(&self) -> Result<ReadLock<'_>> {
        // SAFETY: There is a user.
        to_result(unsafe { b::swapksm_mm_read_lock_killable(self.0) })?;
        Ok(ReadLock(self))
    }
}

impl Drop for ProcessMm {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { b::swapksm_mm_put(self.0) };
    }
}

/// The mmap lock, held for reading.
pub(crate) struct ReadLock<'a>(&'a ProcessMm);

impl ReadLock<'_> {
    /// Is any mapping mergeable?
    pub(crate) fn has_mergeable(&self) -> bool {
        // SAFETY: The mmap lock is held.
        unsafe { b::swapksm_mm_has_mergeable(self.0 .0) }
    }

    /// Of the pages of a chunk that are in the set, leaves those that are in swap. May sleep.
    pub(crate) fn keep_swapped(&self, chunk: usize, slots: &mut [u64; 8]) {
        const _: () = assert!(b::SWAPKSM_CHUNK_PAGES == 8 * 64);
        // SAFETY: The mmap lock is held, and the set has as many bits as a chunk has pages.
        unsafe { b::swapksm_keep_swapped(self.0 .0, chunk << 21, slots.as_mut_ptr()) };
    }
}

impl Drop for ReadLock<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken by `read_lock`.
        unsafe { b::swapksm_mm_read_unlock(self.0 .0) };
    }
}

/// Writes the file's text.
///
/// # Safety
///
/// `file` is being shown by the caller alone, who keeps `task`.
#[no_mangle]
unsafe extern "C" fn swapksm_proc_pid_ksm_stat(
    file: *mut seq_file,
    task: *mut task_struct,
) -> c_int {
    // SAFETY: By the contract.
    let (file, mm) = unsafe { (SeqFile::from_raw(file), ProcessMm::of_task(task)) };
    from_result(|| {
        if let Some(mm) = mm {
            faces::process::show(file, &process::numbers(&mm)?);
        }
        Ok(0)
    })
}

assert_prototypes!(swapksm_proc_pid_ksm_stat);

// SPDX-License-Identifier: GPL-2.0

//! What /proc/PID/ksm_stat asks for is not tried here.

use kernel::error::Result;

use super::bindings::mm_struct;
use crate::engine::process::Counts;

pub(crate) struct ProcessMm(*mut mm_struct);

pub(crate) struct ReadLock;

impl ProcessMm {
    pub(crate) fn as_ptr(&self) -> *mut mm_struct {
        self.0
    }

    pub(crate) fn counts(&self) -> Counts {
        unimplemented!("/proc")
    }

    pub(crate) fn read_lock(&self) -> Result<ReadLock> {
        unimplemented!("/proc")
    }
}

impl ReadLock {
    pub(crate) fn has_mergeable(&self) -> bool {
        unimplemented!("/proc")
    }

    pub(crate) fn keep_swapped(&self, _chunk: usize, _slots: &mut [u64; 8]) {
        unimplemented!("/proc")
    }
}

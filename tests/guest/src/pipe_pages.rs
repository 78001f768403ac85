// SPDX-License-Identifier: GPL-2.0

//! Pages that a pipe refers to: a reference beside the page tables, as from a device or another subsystem.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};

use crate::case::{fail, Context, Outcome};
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sys::{self, PAGE};

/// A pipe with pages in it; they are let go when it is dropped.
pub struct PipePages {
    from: File,
    to: File,
}

impl PipePages {
    /// Puts pages of `region` into a pipe, without copying them. They must be few enough for a pipe: 64.
    pub fn splice(region: &Region, pages: Range<usize>) -> Outcome<PipePages> {
        let mut ends = [0; 2];
        // SAFETY: two ints for two descriptors.
        sys::check(unsafe { libc::pipe(ends.as_mut_ptr()) }.into()).context("pipe")?;
        // SAFETY: both descriptors are new and owned by nobody else.
        let (from, to) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
        // SAFETY: a descriptor of ours.
        sys::check(unsafe { libc::fcntl(to.as_raw_fd(), libc::F_SETPIPE_SZ, 128 * PAGE) }.into())
            .context("F_SETPIPE_SZ")?;
        let bytes = pages.len() * PAGE;
        let vector = libc::iovec {
            iov_base: region.page(pages.start).cast(),
            iov_len: bytes,
        };
        let pipe = PipePages { from, to };
        if sabotage::is(Sabotage::NoPin) {
            return Ok(pipe);
        }
        // SAFETY: one vector over pages of the region, which outlive the call.
        let spliced = unsafe { libc::vmsplice(pipe.to.as_raw_fd(), &vector, 1, 0) };
        match sys::check(spliced as libc::c_long).context("vmsplice")? {
            count if count == bytes => Ok(pipe),
            count => fail(format!("vmsplice took {count} of {bytes} bytes")),
        }
    }

    /// Takes everything out, into `region`, which is as large.
    pub fn read(mut self, region: &Region) -> Outcome {
        if sabotage::is(Sabotage::NoPin) {
            return fail("nothing was put into the pipe");
        }
        // SAFETY: the whole of a mapping of ours, which nothing else refers to while the slice is in use.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(region.page(0).cast::<u8>(), region.len()) };
        self.from.read_exact(bytes).context("reading the pipe")
    }
}

// SPDX-License-Identifier: GPL-2.0

//! userfaultfd: page faults and writes that a process is told of.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};

use crate::case::{skip, Context, Outcome};
use crate::region::Region;
use crate::sys;

/// `UFFD_FEATURE_PAGEFAULT_FLAG_WP`
pub const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;
/// `UFFD_FEATURE_WP_UNPOPULATED`
pub const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
/// `UFFD_FEATURE_WP_ASYNC`
pub const FEATURE_WP_ASYNC: u64 = 1 << 15;
/// `UFFD_FEATURE_MOVE`
pub const FEATURE_MOVE: u64 = 1 << 16;
/// `UFFD_FEATURE_RWP`
pub const FEATURE_RWP: u64 = 1 << 17;
/// `UFFD_FEATURE_RWP_ASYNC`
pub const FEATURE_RWP_ASYNC: u64 = 1 << 18;
/// `UFFDIO_REGISTER_MODE_MISSING`
pub const MODE_MISSING: u64 = 1;
/// `UFFDIO_REGISTER_MODE_WP`
pub const MODE_WP: u64 = 2;
/// `UFFDIO_REGISTER_MODE_RWP`
pub const MODE_RWP: u64 = 8;
/// `UFFDIO_WRITEPROTECT`: address, length, 1 to protect or 0 to let writes through.
pub const WRITEPROTECT: u64 = 0xc018_aa06;
/// `UFFDIO_RWPROTECT`: address, length, 1 to protect or 0 to let accesses through.
pub const RWPROTECT: u64 = 0xc018_aa09;
/// `UFFDIO_MOVE`: new address, old address, length, mode, and a place for what was moved.
pub const MOVE: u64 = 0xc028_aa05;

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
/// Bytes of a message of the kernel's.
const MESSAGE: usize = 32;
/// Where the address stands in a page-fault message.
const ADDRESS: std::ops::Range<usize> = 16..24;
const PAGE_MASK: u64 = !(sys::PAGE as u64 - 1);

/// A userfaultfd.
pub struct Faults(File);

impl Faults {
    /// Opens one with `feature`; skips where there is none.
    pub fn open(feature: u64, what: &str) -> Outcome<Faults> {
        let flags = libc::O_CLOEXEC as usize;
        let fd = match sys::syscall(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0]) {
            Ok(fd) => fd as i32,
            Err(error) => return skip(format!("no userfaultfd here: {error}")),
        };
        // SAFETY: a new descriptor that nobody else owns.
        let faults = Faults(unsafe { File::from_raw_fd(fd) });
        match faults.ioctl(API, &mut [0xaa, feature, 0]) {
            Ok(()) => Ok(faults),
            Err(_) => skip(format!("userfaultfd here has no {what}")),
        }
    }

    /// `UFFDIO_REGISTER`.
    pub fn register(&self, region: &Region, mode: u64) -> Outcome {
        let mut words = [region.addr() as u64, region.len() as u64, mode, 0];
        self.ioctl(REGISTER, &mut words).context("UFFDIO_REGISTER")
    }

    /// An ioctl on words; the kernel may write to them.
    pub fn ioctl(&self, request: u64, words: &mut [u64]) -> io::Result<()> {
        // SAFETY: every caller passes as many words as the request's structure has.
        sys::check(unsafe { libc::ioctl(self.0.as_raw_fd(), request, words.as_mut_ptr()) }.into())
            .map(drop)
    }

    /// Waits for the next fault; the page where it is.
    pub fn next(&self) -> io::Result<u64> {
        let mut message = [0; MESSAGE];
        (&self.0).read_exact(&mut message)?;
        let address = u64::from_ne_bytes(message[ADDRESS].try_into().expect("eight bytes"));
        Ok(address & PAGE_MASK)
    }
}

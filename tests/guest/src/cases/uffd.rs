// SPDX-License-Identifier: GPL-2.0

//! Write protection through userfaultfd.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::common::{merged_crowd, same};
use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer;
use crate::sys::{self, PAGE};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "uffd/write_protect",
        "every first write to a protected merged page is reported",
        write_protect,
    ),
    Case::new(
        "uffd/unmerge_protected",
        "MADV_UNMERGEABLE works on protected merged pages",
        unmerge,
    ),
];

const PAGES: usize = 64;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;
const REGISTER_MODE_WP: u64 = 2;
const WRITEPROTECT_MODE_WP: u64 = 1;
/// Bytes of a message of the kernel's.
const MESSAGE: usize = 32;
/// Where the address stands in a page-fault message.
const ADDRESS: std::ops::Range<usize> = 16..24;

/// A userfaultfd registered for write protection of a region.
struct Protection {
    file: File,
    addr: usize,
    len: usize,
}

/// An ioctl on words; the kernel may write to them.
fn ioctl(file: &File, request: u64, words: &mut [u64]) -> io::Result<()> {
    // SAFETY: every caller passes as many words as the request's structure has.
    sys::check(unsafe { libc::ioctl(file.as_raw_fd(), request, words.as_mut_ptr()) }.into())
        .map(drop)
}

impl Protection {
    fn new(region: &Region) -> Outcome<Protection> {
        let fd = match sys::syscall(
            libc::SYS_userfaultfd,
            [libc::O_CLOEXEC as usize, 0, 0, 0, 0, 0],
        ) {
            Ok(fd) => fd as i32,
            Err(error) => return skip(format!("no userfaultfd here: {error}")),
        };
        // SAFETY: a new descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        if ioctl(&file, UFFDIO_API, &mut [0xaa, FEATURE_PAGEFAULT_FLAG_WP, 0]).is_err() {
            return skip("userfaultfd here has no write protection");
        }
        let (addr, len) = (region.addr(), region.len());
        ioctl(
            &file,
            UFFDIO_REGISTER,
            &mut [addr as u64, len as u64, REGISTER_MODE_WP, 0],
        )
        .context("UFFDIO_REGISTER")?;
        Ok(Protection { file, addr, len })
    }

    /// Protects the whole region.
    fn protect(&self) -> Outcome {
        ioctl(
            &self.file,
            UFFDIO_WRITEPROTECT,
            &mut [self.addr as u64, self.len as u64, WRITEPROTECT_MODE_WP],
        )
        .context("UFFDIO_WRITEPROTECT")
    }

    /// Lets writes through as they come, counts them, until the process ends.
    fn answer(self, count: &AtomicUsize) -> io::Result<()> {
        let mut message = [0; MESSAGE];
        loop {
            (&self.file).read_exact(&mut message)?;
            let address = u64::from_ne_bytes(message[ADDRESS].try_into().expect("eight bytes"));
            count.fetch_add(1, Ordering::SeqCst);
            ioctl(
                &self.file,
                UFFDIO_WRITEPROTECT,
                &mut [address & !(PAGE as u64 - 1), PAGE as u64, 0],
            )?;
        }
    }
}

/// A region of ours merged with two other processes.
fn merged_region(bench: &Bench) -> Outcome<(Vec<sharer::Sharer>, Region)> {
    let others = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    wait::until("the region is merged", || {
        Ok((
            pagemap::frames(&region.pagemap()?) == others[0].frames()?,
            (),
        ))
    })?;
    Ok((others, region))
}

fn write_protect(bench: &Bench) -> Outcome {
    let (others, region) = merged_region(bench)?;
    let protection = Protection::new(&region)?;
    protection.protect()?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        others[0].frames()?,
        "frames after protecting"
    );
    bench.ksm.passes(2)?;
    region.verify(same)?;
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let handler = std::thread::spawn(move || protection.answer(&counter));
    for index in 0..PAGES / 2 {
        region.write(index, 0x3_3000 + index as u64);
        region.poke(index, 0, region.peek(index, 0));
    }
    check_eq!(
        handler.is_finished(),
        false,
        "the handler has ended with an error"
    );
    check_eq!(count.load(Ordering::SeqCst), PAGES / 2, "writes reported");
    region.verify(|index| {
        if index < PAGES / 2 {
            0x3_3000 + index as u64
        } else {
            same(index)
        }
    })?;
    sharer::finish(others)
}

fn unmerge(bench: &Bench) -> Outcome {
    let (others, region) = merged_region(bench)?;
    let protection = Protection::new(&region)?;
    protection.protect()?;
    region.unmergeable()?;
    let frames = pagemap::frames(&region.pagemap()?);
    check_eq!(pagemap::count_flag(&frames, FLAG_KSM)?, 0, "merged pages");
    region.verify(same)?;
    sharer::finish(others)
}

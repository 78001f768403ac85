// SPDX-License-Identifier: GPL-2.0

//! Private mappings of the calling process.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use crate::case::{Context, Outcome};
use crate::content;
use crate::pagemap::{self, Entry};
use crate::sabotage::{self, Sabotage};
use crate::sys::{self, HUGE, PAGE};

/// `MADV_COLLAPSE`, which libc may lack.
pub const MADV_COLLAPSE: i32 = 25;
/// `MADV_SOFT_OFFLINE`, which libc may lack.
pub const MADV_SOFT_OFFLINE: i32 = 101;

/// Whether pages may go to swap.
#[derive(Clone, Copy, Debug)]
pub enum Lock {
    /// They may.
    No,
    /// Not from now on; what is out is brought in, with a write fault if the region is writable.
    Now,
    /// Not from the next access on.
    OnFault,
}

/// A range of pages, unmapped when dropped.
pub struct Region {
    addr: usize,
    pages: usize,
}

impl Region {
    /// Maps `pages` base pages (huge pages off).
    pub fn map(pages: usize) -> Outcome<Region> {
        let region = Region {
            addr: map_anonymous(0, pages * PAGE, 0)?,
            pages,
        };
        sys::madvise(region.addr, region.len(), libc::MADV_NOHUGEPAGE)
            .context("MADV_NOHUGEPAGE")?;
        Ok(region)
    }

    /// Maps base pages at exactly `addr`, which must be free.
    pub fn map_at(addr: usize, pages: usize) -> Outcome<Region> {
        let addr = map_anonymous(addr, pages * PAGE, libc::MAP_FIXED_NOREPLACE)?;
        let region = Region { addr, pages };
        sys::madvise(region.addr, region.len(), libc::MADV_NOHUGEPAGE)
            .context("MADV_NOHUGEPAGE")?;
        Ok(region)
    }

    /// Maps `pages` of a file from its page `first` on, privately: pages that are written to become the process's own.
    pub fn map_file(file: &File, first: usize, pages: usize) -> Outcome<Region> {
        let len = pages * PAGE;
        let addr = map_private(0, len, 0, file.as_raw_fd(), first * PAGE)?;
        Ok(Region { addr, pages })
    }

    /// Maps `count` aligned huge pages' worth and asks for huge pages.
    pub fn map_huge(count: usize) -> Outcome<Region> {
        let whole = map_anonymous(0, (count + 1) * HUGE, 0)?;
        let addr = whole.next_multiple_of(HUGE);
        unmap(whole, addr - whole)?;
        unmap(addr + count * HUGE, whole + HUGE - addr)?;
        sys::madvise(addr, count * HUGE, libc::MADV_HUGEPAGE).context("MADV_HUGEPAGE")?;
        Ok(Region {
            addr,
            pages: count * HUGE / PAGE,
        })
    }

    /// Takes over a range that is already mapped.
    pub fn adopt(addr: usize, pages: usize) -> Region {
        Region { addr, pages }
    }

    /// Gives the range up without unmapping it.
    pub fn release(self) -> usize {
        let addr = self.addr;
        std::mem::forget(self);
        addr
    }

    /// Start address.
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Number of base pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.pages * PAGE
    }

    /// Address of page `index`.
    pub fn page(&self, index: usize) -> *mut u64 {
        assert!(index < self.pages, "page {index} is outside the region");
        (self.addr + index * PAGE) as *mut u64
    }

    /// Writes page `index`.
    pub fn write(&self, index: usize, seed: u64) {
        // SAFETY: the page is in our own mapping.
        unsafe { content::write(self.page(index), seed) }
    }

    /// Writes every page; `seed` names the content of each.
    pub fn fill(&self, seed: impl Fn(usize) -> u64) {
        (0..self.pages).for_each(|index| self.write(index, seed(index)));
    }

    /// Compares page `index` byte by byte.
    pub fn verify_page(&self, index: usize, seed: u64) -> Outcome {
        // SAFETY: the page is in our own mapping.
        unsafe { content::verify(self.page(index), seed) }.context(format!("page {index}"))
    }

    /// Compares every page byte by byte.
    pub fn verify(&self, seed: impl Fn(usize) -> u64) -> Outcome {
        (0..self.pages).try_for_each(|index| self.verify_page(index, seed(index)))
    }

    /// Changes one byte.
    pub fn poke(&self, index: usize, offset: usize, value: u8) {
        assert!(offset < PAGE);
        if sabotage::is(Sabotage::NoPoke) {
            return;
        }
        // SAFETY: the page is in our own mapping.
        unsafe {
            self.page(index)
                .cast::<u8>()
                .add(offset)
                .write_volatile(value)
        }
    }

    /// Reads one byte, faulting the page in.
    pub fn peek(&self, index: usize, offset: usize) -> u8 {
        assert!(offset < PAGE);
        // SAFETY: the page is in our own mapping.
        unsafe { self.page(index).cast::<u8>().add(offset).read_volatile() }
    }

    /// `madvise` on some pages.
    pub fn advise_pages(&self, pages: Range<usize>, advice: i32) -> io::Result<()> {
        let left_out = match advice {
            libc::MADV_UNMERGEABLE => sabotage::is(Sabotage::NoUnmerge),
            libc::MADV_PAGEOUT => sabotage::is(Sabotage::NoReclaim),
            _ => false,
        };
        if left_out {
            return Ok(());
        }
        sys::madvise(self.addr + pages.start * PAGE, pages.len() * PAGE, advice)
    }

    /// `madvise` on the whole region.
    pub fn advise(&self, advice: i32) -> io::Result<()> {
        self.advise_pages(0..self.pages, advice)
    }

    /// Opens the region to merging.
    pub fn mergeable(&self) -> Outcome {
        self.advise(libc::MADV_MERGEABLE).context("MADV_MERGEABLE")
    }

    /// Closes the region to merging and undoes it.
    pub fn unmergeable(&self) -> Outcome {
        self.advise(libc::MADV_UNMERGEABLE)
            .context("MADV_UNMERGEABLE")
    }

    /// Locks the region in memory, or unlocks it.
    pub fn lock(&self, lock: Lock) -> Outcome {
        let (addr, len) = (self.addr as *const libc::c_void, self.len());
        // SAFETY: plain system calls on our own region.
        let result = unsafe {
            match lock {
                Lock::No => libc::munlock(addr, len),
                Lock::Now => libc::mlock(addr, len),
                Lock::OnFault => libc::mlock2(addr, len, libc::MLOCK_ONFAULT),
            }
        };
        sys::check(result.into())
            .context(format!("mlock ({lock:?})"))
            .map(drop)
    }

    /// What the page tables say.
    pub fn pagemap(&self) -> Outcome<Vec<Entry>> {
        pagemap::of(std::process::id() as i32, self.addr, self.pages)
    }

    /// Moves page `index` of this region over page `place` of `target`; its frame goes with it.
    pub fn move_page(&self, index: usize, target: &Region, place: usize) -> Outcome {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let (from, to) = (self.page(index), target.page(place));
        // SAFETY: both pages are in mappings of ours; nothing refers to the page that is replaced.
        let new =
            unsafe { libc::mremap(from.cast(), PAGE, PAGE, flags, to.cast::<libc::c_void>()) };
        sys::check(new as libc::c_long)
            .context("mremap of a page")
            .map(drop)
    }

    /// `mremap` to a place of the kernel's choice.
    pub fn move_away(self, pages: usize) -> Outcome<Region> {
        let (old, len) = (self.addr, self.len());
        let target = map_anonymous(0, pages * PAGE, 0)?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        std::mem::forget(self);
        // SAFETY: the old range is ours and no longer named; the target is a fresh mapping of ours.
        let new = unsafe {
            libc::mremap(
                old as *mut _,
                len,
                pages * PAGE,
                flags,
                target as *mut libc::c_void,
            )
        };
        sys::check(new as libc::c_long).context("mremap")?;
        Ok(Region {
            addr: new as usize,
            pages,
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        let _ = unmap(self.addr, self.len());
    }
}

/// Maps readable and writable anonymous memory.
fn map_anonymous(addr: usize, len: usize, flags: i32) -> Outcome<usize> {
    map_private(addr, len, flags | libc::MAP_ANONYMOUS, -1, 0)
}

fn map_private(addr: usize, len: usize, flags: i32, fd: i32, offset: usize) -> Outcome<usize> {
    let flags = flags | libc::MAP_PRIVATE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping that replaces none.
    let addr = unsafe { libc::mmap(addr as *mut _, len, protection, flags, fd, offset as i64) };
    sys::check(addr as libc::c_long).context(format!("mmap of {len} bytes"))
}

/// `munmap`; an empty range is nothing to do.
pub fn unmap(addr: usize, len: usize) -> Outcome {
    if len == 0 {
        return Ok(());
    }
    // SAFETY: callers own the range and name it no more.
    sys::check(unsafe { libc::munmap(addr as *mut _, len) }.into())
        .context("munmap")
        .map(drop)
}

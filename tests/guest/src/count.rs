// SPDX-License-Identifier: GPL-2.0

//! A number that a process and those it forks share: how often something came about, whoever saw it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::case::{Context, Outcome};
use crate::sys::{self, PAGE};

/// The number; its page stays until the last process that has it ends.
#[derive(Clone, Copy)]
pub struct Count(&'static AtomicU64);

impl Count {
    /// Zero, shared with every process that is forked from now on.
    pub fn new() -> Outcome<Count> {
        let page = shared_page()?;
        // SAFETY: a page of zeroes, aligned, which nobody unmaps.
        Ok(Count(unsafe { &*page.cast() }))
    }

    /// Adds `number`.
    pub fn add(self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::SeqCst);
    }

    /// What it is now.
    pub fn get(self) -> i64 {
        self.0.load(Ordering::SeqCst) as i64
    }
}

/// A page of zeroes, shared with every process that is forked from now on; it is never unmapped.
pub fn shared_page() -> Outcome<*const u8> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping that replaces none.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, -1, 0) };
    let addr = sys::check(page as libc::c_long).context("mmap of a shared page")?;
    Ok(addr as *const u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_adds_is_seen() {
        let count = match Count::new() {
            Ok(count) => count,
            Err(stop) => panic!("no shared page: {stop}"),
        };
        count.add(2);
        // SAFETY: the child does nothing but add and end.
        match unsafe { libc::fork() } {
            0 => {
                count.add(40);
                sys::exit(0)
            }
            child => sys::waitpid(child, false)
                .map(drop)
                .expect("the child ends"),
        }
        assert_eq!(count.get(), 42);
    }
}

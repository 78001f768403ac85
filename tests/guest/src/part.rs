// SPDX-License-Identifier: GPL-2.0

//! A mapping of the calling process and what every page of it must hold.

use std::ops::Range;

use crate::case::{Context, Outcome};
use crate::content::Random;
use crate::region::{self, Region};
use crate::sys::{self, PAGE};

/// A mapping and what is in it.
pub struct Part {
    /// The mapping.
    pub region: Region,
    /// What each page holds.
    pub seeds: Vec<u64>,
}

impl Part {
    /// What was just mapped: all of it reads as zero.
    pub fn new(region: Region) -> Part {
        let seeds = vec![0; region.pages()];
        Part { region, seeds }
    }

    /// Some pages in a row, at most `most`.
    pub fn range(&self, random: &mut Random, most: u64) -> Range<usize> {
        let start = random.below(self.seeds.len() as u64) as usize;
        let count = 1 + random.below(most) as usize;
        start..(start + count).min(self.seeds.len())
    }

    /// Writes pages; `content` names what to each, by its number.
    pub fn write(&mut self, pages: Range<usize>, mut content: impl FnMut(usize) -> u64) {
        for index in pages {
            let seed = content(index);
            self.region.write(index, seed);
            self.seeds[index] = seed;
        }
    }

    /// Compares all pages.
    pub fn verify_all(&self) -> Outcome {
        self.verify(0..self.seeds.len())
    }

    /// Compares pages byte by byte.
    pub fn verify(&self, mut pages: Range<usize>) -> Outcome {
        pages.try_for_each(|index| self.region.verify_page(index, self.seeds[index]))
    }

    /// `madvise`; locked pages may refuse.
    pub fn advise(&self, pages: Range<usize>, advice: i32) -> Outcome {
        match self.region.advise_pages(pages, advice) {
            // Locked pages may not be pushed out.
            Err(error) if sys::is_errno(&error, libc::EINVAL) => Ok(()),
            other => other.context(format!("madvise {advice}")),
        }
    }

    /// MADV_DONTNEED; locked pages keep their content.
    pub fn discard(&mut self, pages: Range<usize>) -> Outcome {
        match self.region.advise_pages(pages.clone(), libc::MADV_DONTNEED) {
            // Locked pages may not be discarded, those before them in the range have been. One is locked or not.
            Err(error) if sys::is_errno(&error, libc::EINVAL) && pages.len() > 1 => {
                return pages
                    .into_iter()
                    .try_for_each(|page| self.discard(page..page + 1));
            }
            Err(error) if sys::is_errno(&error, libc::EINVAL) => return Ok(()),
            other => other.context("MADV_DONTNEED")?,
        }
        self.seeds[pages].fill(0);
        Ok(())
    }

    /// Unmaps pages and maps new ones at their place, open to merging.
    pub fn renew(&mut self, pages: Range<usize>) -> Outcome {
        let addr = self.region.addr() + pages.start * PAGE;
        region::unmap(addr, pages.len() * PAGE)?;
        let fresh = Region::map_at(addr, pages.len())?;
        fresh.mergeable()?;
        fresh.release();
        self.seeds[pages].fill(0);
        Ok(())
    }

    /// Forbids and allows access.
    pub fn protect(&self, pages: Range<usize>) -> Outcome {
        let addr = self.region.addr() + pages.start * PAGE;
        for protection in [
            libc::PROT_NONE,
            libc::PROT_READ,
            libc::PROT_READ | libc::PROT_WRITE,
        ] {
            sys::check(
                // SAFETY: our own region, which nobody touches meanwhile.
                unsafe { libc::mprotect(addr as *mut _, pages.len() * PAGE, protection) }.into(),
            )
            .context("mprotect")?;
        }
        self.verify(pages)
    }
}

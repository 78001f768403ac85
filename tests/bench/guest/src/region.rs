// SPDX-License-Identifier: GPL-2.0

//! Memory whose content is a function of a seed per page, so that anybody can check it.

use std::io;

use crate::sys::{self, PAGE};

const WORDS: usize = PAGE / 8;
/// Words of a page that differ from page to page; the rest is zero, so that compressing swap has something to do.
const VARIED: usize = 128;

/// Seeds of the pages of a process.
#[derive(Clone, Copy)]
pub enum Content {
    /// Every process has the same pages.
    Same,
    /// Even pages are the same in every process, odd ones occur once.
    HalfSame {
        /// Number of the process.
        process: u64,
    },
}

impl Content {
    fn seed(self, page: usize) -> u64 {
        let page = page as u64 + 1;
        match self {
            Content::HalfSame { process } if page % 2 == 0 => page | ((process + 1) << 32),
            _ => page,
        }
    }
}

/// Mapped memory with a content.
pub struct Region {
    start: usize,
    pages: usize,
    content: Content,
}

impl Region {
    /// Maps and fills it, and opens it to merging.
    pub fn new(pages: usize, content: Content) -> io::Result<Region> {
        let region = Region {
            start: sys::map(pages * PAGE, libc::MAP_PRIVATE)?,
            pages,
            content,
        };
        for page in 0..pages {
            region.words(page)[..VARIED].copy_from_slice(&model(content.seed(page)));
        }
        sys::advise(region.start, pages * PAGE, libc::MADV_MERGEABLE)?;
        Ok(region)
    }

    /// Address of the first page.
    pub fn start(&self) -> usize {
        self.start
    }

    /// One page. The pages are touched by nobody else in the process.
    #[allow(
        clippy::mut_from_ref,
        reason = "each borrow ends before the next begins"
    )]
    fn words(&self, page: usize) -> &mut [u64; WORDS] {
        // SAFETY: the page is mapped for as long as the region lives, aligned, and borrowed once at a time.
        unsafe { &mut *((self.start + page * PAGE) as *mut [u64; WORDS]) }
    }

    /// Reads one word of each page; how many of them are wrong.
    pub fn read(&self) -> u64 {
        (0..self.pages)
            .filter(|&page| self.words(page)[0] != first_word(self.content.seed(page)))
            .count() as u64
    }

    /// Compares every byte; how many pages are wrong.
    pub fn verify(&self) -> u64 {
        (0..self.pages).filter(|&page| !self.is_right(page)).count() as u64
    }

    fn is_right(&self, page: usize) -> bool {
        let (varied, rest) = self.words(page).split_at(VARIED);
        varied == model(self.content.seed(page)) && rest.iter().all(|&word| word == 0)
    }

    /// Writes the word that is there already into each of the first pages, which gives the process copies of its own.
    pub fn write(&self, pages: usize) {
        for page in 0..pages {
            let word = &mut self.words(page)[0];
            // SAFETY: a valid place; volatile, as the compiler may drop a store of what was loaded.
            unsafe { std::ptr::write_volatile(word, std::ptr::read_volatile(word)) };
        }
    }

    /// Gives the last pages back: they are not part of the region any more.
    pub fn shrink(&mut self, pages: usize) -> io::Result<()> {
        self.pages -= pages;
        sys::unmap(self.start + self.pages * PAGE, pages * PAGE)
    }
}

fn first_word(seed: u64) -> u64 {
    step(seed)
}

/// The splitmix64 sequence's output function.
fn step(seed: u64) -> u64 {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn model(seed: u64) -> [u64; VARIED] {
    let mut words = [0; VARIED];
    words[0] = first_word(seed);
    for index in 1..VARIED {
        words[index] = step(words[index - 1]);
    }
    words
}

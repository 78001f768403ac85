// SPDX-License-Identifier: GPL-2.0

//! Blocks of memory that go offline and come back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;

use super::numa;
use crate::case::{fail, skip, Context, Outcome};
use crate::pagemap;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sys::{self, PAGE};
use crate::wait;

const DIRECTORY: &str = "/sys/devices/system/memory";
/// Pages that [`Filler`] leaves free while the block is offline: fewer than a zone wants would wake reclaim.
const LEFT: usize = 2048;
/// Pages that it takes at a time of those.
const STEP: usize = 64;

/// A block of node 0's memory that can be taken offline.
pub struct Block {
    state: String,
    frames: Range<u64>,
}

impl Block {
    /// Finds a block of node 0 that goes offline, puts it online again.
    pub fn find() -> Outcome<Block> {
        numa::two_nodes()?;
        let path = format!("{DIRECTORY}/block_size_bytes");
        let Ok(text) = fs::read_to_string(&path) else {
            return skip("memory cannot be taken offline here");
        };
        let bytes = u64::from_str_radix(text.trim(), 16)
            .or_else(|_| fail(format!("{path} holds '{text}'")))?;
        let count = bytes / PAGE as u64;
        for number in 0.. {
            let block = format!("/sys/devices/system/node/node0/memory{number}");
            if !std::path::Path::new(&format!("{DIRECTORY}/memory{number}")).exists() {
                break;
            }
            let zones = fs::read_to_string(format!("{block}/valid_zones")).unwrap_or_default();
            let state = format!("{block}/state");
            if zones.trim() == "Movable" && fs::write(&state, "offline").is_ok() {
                let block = Block {
                    state,
                    frames: number * count..(number + 1) * count,
                };
                block.online()?;
                return Ok(block);
            }
        }
        skip("no block of node 0 can be taken offline")
    }

    /// Its physical address, in bytes.
    pub fn address(&self) -> u64 {
        self.frames.start * PAGE as u64
    }

    /// Whether the machine has it, online or not.
    pub fn is_there(&self) -> bool {
        std::path::Path::new(&self.state).exists()
    }

    /// Whether a frame lies in the block.
    pub fn holds(&self, frame: u64) -> bool {
        self.frames.contains(&frame)
    }

    /// How many of `frames` lie in the block.
    pub fn count(&self, frames: &[u64]) -> usize {
        frames.iter().filter(|&&frame| self.holds(frame)).count()
    }

    /// Takes the block offline: true; the kernel may find that it cannot be, now.
    pub fn offline(&self) -> Outcome<bool> {
        match self.try_offline() {
            Ok(()) => Ok(true),
            Err(error) if sys::is_errno(&error, libc::EBUSY) => Ok(false),
            Err(error) => Err(error).context(format!("taking {} offline", self.state)),
        }
    }

    /// One write, which a signal ends; the error as the kernel gave it.
    pub fn try_offline(&self) -> io::Result<()> {
        if sabotage::is(Sabotage::NoMove) {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        let mut file = File::options().write(true).open(&self.state)?;
        file.write(b"offline").map(drop)
    }

    /// The same, as often as it takes.
    pub fn offline_at_last(&self) -> Outcome {
        wait::until("the block of memory goes offline", || {
            Ok((self.offline()?, "EBUSY"))
        })
    }

    /// Takes it online, unless it is.
    pub fn online(&self) -> Outcome {
        if self.state()? == "online" {
            return Ok(());
        }
        fs::write(&self.state, "online_movable")
            .context(format!("taking {} online again", self.state))
    }

    /// `online`, `going-offline`, `offline`.
    pub fn state(&self) -> Outcome<String> {
        let text = fs::read_to_string(&self.state).context(&self.state)?;
        Ok(text.trim().to_owned())
    }

    /// Maps `pages` pages whose frames lie in the block.
    pub fn map_inside(&self, pages: usize) -> Outcome<Region> {
        let region = Region::map(pages)?;
        // Takes all of the block and more, until enough of it is found; what lies elsewhere is given back.
        let block = (self.frames.end - self.frames.start) as usize;
        let most = (3 * block / 2).max(free_movable()?.saturating_sub(LEFT));
        let ballast = numa::map_pages_on(0, most)?;
        let mut found = 0;
        for index in 0..ballast.pages() {
            ballast.poke(index, 0, 1);
            if index % 1024 < 1023 {
                continue;
            }
            let part = index - 1023;
            let entries =
                pagemap::of(std::process::id() as i32, ballast.page(part) as usize, 1024)?;
            for (offset, entry) in entries.into_iter().enumerate() {
                let inside = entry.frame().is_some_and(|frame| self.holds(frame));
                // Neighbours would come from neighbouring frames: leave gaps.
                if inside && offset % 3 == 0 && found < pages {
                    ballast.move_page(part + offset, &region, found)?;
                    found += 1;
                }
            }
            if found == pages {
                return Ok(region);
            }
        }
        skip(format!("only {found} of {pages} pages came from the block"))
    }
}

/// Has all that is movable on node 0 beside a block, so that new pages of that node come from the block.
pub struct Filler {
    pages: Vec<Region>,
}

impl Filler {
    /// Takes it; the block is online afterwards.
    pub fn make(block: &Block) -> Outcome<Filler> {
        if !sabotage::is(Sabotage::NoMove) {
            block.offline_at_last()?;
        }
        let most = numa::map_pages_on(0, free_movable()?.saturating_sub(LEFT).max(1))?;
        (0..most.pages()).for_each(|index| most.poke(index, 0, 1));
        block.online()?;
        let mut filler = Filler { pages: vec![most] };
        filler.top_up(block)?;
        Ok(filler)
    }

    /// Takes what others have given back beside the block, which is online, and some of the block with it.
    pub fn top_up(&mut self, block: &Block) -> Outcome {
        let rest = numa::map_pages_on(0, 2 * LEFT)?;
        for first in (0..rest.pages()).step_by(STEP) {
            (first..first + STEP).for_each(|index| rest.poke(index, 0, 1));
            let entries = pagemap::of(std::process::id() as i32, rest.page(first) as usize, STEP)?;
            if block.count(&pagemap::frames(&entries)) == STEP {
                break;
            }
        }
        self.pages.push(rest);
        Ok(())
    }
}

/// Free pages of node 0 that only movable memory may have.
fn free_movable() -> Outcome<usize> {
    const FILE: &str = "/proc/zoneinfo";
    let text = fs::read_to_string(FILE).context(FILE)?;
    let mut inside = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Node", node, "zone", zone] => inside = node == "0," && zone == "Movable",
            ["pages", "free", count] if inside => {
                return count
                    .parse()
                    .or_else(|_| fail(format!("{FILE}: '{line}' holds no number")))
            }
            _ => (),
        }
    }
    fail(format!("{FILE} has no movable zone of node 0"))
}

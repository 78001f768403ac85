// SPDX-License-Identifier: GPL-2.0

//! Memory that goes offline.

use std::fs;

use super::common::{frames_become, same};
use super::numa;
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::check_eq;
use crate::pagemap;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "hotplug/offline",
    "taking memory offline moves the merged pages in it",
    offline,
)
.room(Room::Numa)];

const PAGES: usize = 64;
const DIRECTORY: &str = "/sys/devices/system/memory";

/// A block of memory that can be taken offline.
struct Block {
    state: String,
    frames: std::ops::Range<u64>,
}

impl Block {
    /// Finds a block of node 0 that goes offline, puts it online again.
    fn find() -> Outcome<Block> {
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
                fs::write(&state, "online_movable").context(&state)?;
                return Ok(Block {
                    state,
                    frames: number * count..(number + 1) * count,
                });
            }
        }
        skip("no block of node 0 can be taken offline")
    }

    /// Maps pages whose frames lie in the block.
    fn map_inside(&self) -> Outcome<Region> {
        let region = Region::map(PAGES)?;
        // Takes all of the block and more; what lies elsewhere is given back.
        let ballast =
            numa::map_pages_on(0, 3 * (self.frames.end - self.frames.start) as usize / 2)?;
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
                let inside = entry
                    .frame()
                    .is_some_and(|frame| self.frames.contains(&frame));
                // Neighbours would come from neighbouring frames: leave gaps.
                if inside && offset % 3 == 0 && found < PAGES {
                    ballast.move_page(part + offset, &region, found)?;
                    found += 1;
                }
            }
            if found == PAGES {
                return Ok(region);
            }
        }
        skip(format!("only {found} of {PAGES} pages came from the block"))
    }
}

fn offline(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let block = Block::find()?;
    let mut sharers: Vec<Sharer> = (0..3)
        .map(|_| Sharer::start_in(|| block.map_inside(), true, same))
        .collect::<Outcome<_>>()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    let inside = |sharer: &Sharer| {
        Ok::<_, crate::case::Stop>(
            sharer
                .frames()?
                .iter()
                .filter(|frame| block.frames.contains(frame))
                .count(),
        )
    };
    check_eq!(
        inside(&sharers[0])?,
        PAGES,
        "merged pages in the block before"
    );
    let state = if sabotage::is(Sabotage::NoMove) {
        "online"
    } else {
        "offline"
    };
    fs::write(&block.state, state).context(format!("taking {} offline", block.state))?;
    let after = inside(&sharers[0]);
    let merged = frames_become(&sharers, PAGES);
    let right = sharer::verify(&mut sharers);
    fs::write(&block.state, "online_movable")
        .context(format!("taking {} online again", block.state))?;
    check_eq!(after?, 0, "merged pages left in the block that is offline");
    merged?;
    right?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

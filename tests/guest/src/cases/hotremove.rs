// SPDX-License-Identifier: GPL-2.0

//! Memory that is taken out of the machine: its frames have no struct page any more, so whoever remembers one of them and
//! looks it up dies of it.

use super::common::{frames_become, same, self_check};
use super::hotplug::{half_out, merged_inside, PAGES};
use super::memory_block::{Block, Filler};
use super::numa;
use super::swapping::{self, Crowd};
use super::takeover::Helper;
use crate::case::{Bench, Case, Context, Outcome, Room};
use crate::sharer::{self, Sharer};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "hotplug/removed",
        "memory in which pages were merged is taken out of the machine under the scanner, and put in again",
        removed,
    )
    .room(Room::Numa)
    .seconds(120),
    Case::new(
        "hotplug/removed_while_out",
        "the same while merged pages that were in it are in swap and in the swap cache",
        removed_while_out,
    )
    .room(Room::Numa)
    .seconds(240),
];

const PROCESSES: usize = 3;

/// The driver that takes memory out and puts it in.
struct Driver(Helper);

impl Driver {
    fn load() -> Outcome<Driver> {
        Helper::load(c"hotremove", c"").map(Driver)
    }

    fn order(&self, what: &str, block: &Block) -> Outcome {
        self.0.set(what, format!("{:#x}", block.address()))
    }

    /// Takes the block out, which goes offline first.
    fn remove(&self, block: &Block) -> Outcome {
        block.offline_at_last()?;
        self.order("remove", block)?;
        check!(
            !block.is_there(),
            "the block's directory is there although the block was taken out"
        );
        Ok(())
    }

    /// Puts it in, if it is out, and online.
    fn add(&self, block: &Block) -> Outcome {
        if !block.is_there() {
            self.order("add", block)?;
        }
        block.online()
    }
}

/// The block is out during `meanwhile`, and put in whatever comes of that.
fn while_out_of_the_machine(
    driver: &Driver,
    block: &Block,
    meanwhile: impl FnOnce() -> Outcome,
) -> Outcome {
    let result = driver.remove(block).and_then(|()| meanwhile());
    let back = driver.add(block).context("putting the block in again");
    result.and(back)
}

fn removed(bench: &Bench) -> Outcome {
    let (block, driver) = (Block::find()?, Driver::load()?);
    for round in 0..2 {
        once(bench, &block, &driver).context(format!("round {round}"))?;
    }
    Ok(())
}

/// All pages of some processes lie merged in the block when it is taken out.
fn once(bench: &Bench, block: &Block, driver: &Driver) -> Outcome {
    let mut sharers = merged_inside(bench, block, PROCESSES)?;
    bench.ksm.start()?;
    while_out_of_the_machine(driver, block, || {
        frames_become(&sharers, PAGES)?;
        check_eq!(
            block.count(&sharer::frames(&sharers)?),
            0,
            "pages in a block that is not there"
        );
        sharer::verify(&mut sharers)?;
        // Who comes now is compared with all that there is.
        sharers.push(Sharer::start(PAGES, same)?);
        frames_become(&sharers, PAGES)?;
        bench.ksm.passes(2)?;
        self_check(&bench.ksm)
    })?;
    for (index, sharer) in sharers.iter_mut().enumerate() {
        sharer.write(index, 0x900 + index as u64)?;
    }
    bench.ksm.passes(2)?;
    sharer::verify(&mut sharers)?;
    self_check(&bench.ksm)?;
    sharer::finish(sharers)
}

fn removed_while_out(bench: &Bench) -> Outcome {
    const MANY: usize = 256;
    swapping::device()?;
    let (block, driver) = (Block::find()?, Driver::load()?);
    let mut filler = Filler::make(&block)?;
    let mut crowd = Crowd::merged_in(bench, PROCESSES, MANY, || numa::map_near(0, MANY))?;
    half_out(&block, &mut filler, &mut crowd, 0)?;
    bench.ksm.start()?;
    while_out_of_the_machine(&driver, &block, || {
        let out = sharer::swapped(&crowd.sharers)?;
        check!(out > 0, "no page is out any more");
        bench.ksm.passes(2)?;
        crowd.sharers[1].write(MANY / 2, 0xa00)?;
        crowd.verify()?;
        check_eq!(
            block.count(&sharer::frames(&crowd.sharers)?),
            0,
            "pages in a block that is not there"
        );
        self_check(&bench.ksm)
    })?;
    crowd.push_out()?;
    crowd.verify()?;
    // The page that was written to is one process's own.
    frames_become(&crowd.sharers, MANY + 1)?;
    self_check(&bench.ksm)?;
    crowd.finish()
}

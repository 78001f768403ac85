// SPDX-License-Identifier: GPL-2.0

//! Functions of swapksm's that may fail at any call do so at every other one (shims/injectable.c lists them), and a disk
//! that fails to write every other page.

use std::fs;
use std::path::Path;

use super::common::{frames_become, same};
use super::faults_common::{in_order, prepare};
use super::swapping::{self, Crowd};
use crate::case::{fail, skip, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::inject::{Function, Scope};
use crate::ktap;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/functions",
        "every other call of a function fails, one function after the other",
        functions,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/swap_writes",
        "every other write to the swap disk fails",
        swap_writes,
    )
    .room(Room::Faults),
];

const PAGES: usize = 12;
/// Percent.
const EVERY_OTHER: u32 = 50;

/// What each function fails with (0: NULL or false), and whether the scene below must come to it.
const FUNCTIONS: &[(&str, i32, bool)] = &[
    // Only where nodes are met from another side than that of their pages.
    ("swapksm_folio_trylock", 0, false),
    ("swapksm_items_alloc", 0, true),
    ("swapksm_mm_read_trylock", 0, true),
    ("swapksm_object_alloc", 0, true),
    ("swapksm_page_try_get", 0, true),
    // Only where two pages of one large folio are merged.
    ("swapksm_split", 0, false),
    // Only for a process that swapksm does not know.
    ("swapksm_swapin_copy", 0, false),
    ("swapksm_break_range", libc::ENOMEM, true),
    ("swapksm_merge_first", libc::EBUSY, true),
    ("swapksm_merge_into", libc::EBUSY, true),
    ("swapksm_space_insert", libc::ENOMEM, true),
    ("swapksm_space_subscribe", libc::ENOMEM, true),
];

fn functions(bench: &Bench) -> Outcome {
    let mut injection = prepare(bench, Scope::Task)?;
    for &(name, errno, must) in FUNCTIONS {
        let function = Function::choose(name, errno)?;
        let mut crowd = Crowd::merged(bench, 3, PAGES)?;
        injection.by_chance("fail_function", EVERY_OTHER)?;
        injection.count("fail_function")?;
        for round in 0..3 {
            scene(bench, &mut crowd, round).context(name)?;
        }
        injection.calm()?;
        in_order(bench).context(name)?;
        let times = injection.counted("fail_function")?;
        drop(function);
        ktap::tell(&format!("{name}: {times} times"));
        check!(times > 0 || !must, "{name} did not fail a single time");
        bench.ksm.start()?;
        let later: Vec<Sharer> = (0..2)
            .map(|_| Sharer::start(PAGES, same))
            .collect::<Outcome<_>>()?;
        frames_become(&later, PAGES).context(format!("when {name} works again"))?;
        sharer::finish(later)?;
        crowd.verify().context(name)?;
        in_order(bench).context(name)?;
        crowd.finish().context(name)?;
        bench.ksm.reset().context(name)?;
    }
    Ok(())
}

/// A bit of everything; what may be refused for want of memory may be refused here.
fn scene(bench: &Bench, crowd: &mut Crowd, round: u64) -> Outcome {
    let mut newcomer = Sharer::start_in(|| Region::map(2 * PAGES), false, same)?;
    refusable(
        newcomer.try_advise(0, 2 * PAGES, libc::MADV_MERGEABLE)?,
        "MADV_MERGEABLE",
    )?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    crowd.group().reclaim(crowd.all() * PAGE)?;
    for (index, sharer) in crowd.sharers.iter_mut().enumerate() {
        sharer.touch(index)?;
        sharer.write(PAGES - 1 - index, 0x800 + round)?;
    }
    let unmerged = newcomer.try_advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    refusable(unmerged, "MADV_UNMERGEABLE")?;
    newcomer.finish()?;
    crowd.verify()
}

fn refusable(errno: i32, what: &str) -> Outcome {
    match errno {
        0 | libc::ENOMEM | libc::EAGAIN => Ok(()),
        errno => {
            let error = std::io::Error::from_raw_os_error(errno);
            fail(format!("{what}: {error}"))
        }
    }
}

fn swap_writes(bench: &Bench) -> Outcome {
    let mut injection = prepare(bench, Scope::Task)?;
    let device = swapping::device()?;
    let name = device.rsplit('/').next().unwrap_or("");
    let switch = format!("/sys/block/{name}/make-it-fail");
    if !Path::new(&switch).exists() {
        return skip("this kernel cannot have disks fail (CONFIG_FAIL_MAKE_REQUEST)");
    }
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    // This process is in the group, too; what it reads back may not fail.
    sys::lock_all().context("mlockall")?;
    injection.by_chance("fail_make_request", EVERY_OTHER)?;
    injection.count("fail_make_request")?;
    fs::write(&switch, "1").context(&switch)?;
    for _ in 0..5 {
        crowd.group().reclaim(crowd.all() * PAGE)?;
    }
    injection.calm()?;
    fs::write(&switch, "0").context(&switch)?;
    let times = injection.counted("fail_make_request")?;
    ktap::tell(&format!("writes to {device} failed {times} times"));
    check!(times > 0, "no write has failed");
    in_order(bench)?;
    crowd.verify()?;
    bench.ksm.counter_becomes("pages_shared", PAGES as i64)?;
    crowd.push_out().context("when the disk works again")?;
    crowd.verify()?;
    in_order(bench)?;
    crowd.finish()
}

// SPDX-License-Identifier: GPL-2.0

//! More than one NUMA node.

use super::common::{frames_become, same};
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::check_eq;
use crate::pagemap;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "numa/across",
        "merge_across_nodes 1 merges pages of both nodes",
        across,
    )
    .room(Room::Numa),
    Case::new(
        "numa/within",
        "merge_across_nodes 0 merges only within a node",
        within,
    )
    .room(Room::Numa),
    Case::new(
        "numa/busy_while_merged",
        "merge_across_nodes cannot be changed while pages are merged",
        busy,
    )
    .room(Room::Numa),
    Case::new(
        "numa/moved_to_other_node",
        "merged pages that migrate are merged within their new node",
        moved,
    )
    .room(Room::Numa),
];

const PAGES: usize = 64;

/// Skips unless there are two nodes.
pub fn two_nodes() -> Outcome {
    match std::path::Path::new("/sys/devices/system/node/node1").exists() {
        true => Ok(()),
        false => skip("this machine has one NUMA node"),
    }
}

/// Maps pages that come from `node` only.
pub fn map_on(node: usize) -> Outcome<Region> {
    map_pages_on(node, PAGES)
}

/// Maps any number of pages that come from `node` only.
pub fn map_pages_on(node: usize, pages: usize) -> Outcome<Region> {
    map_by(libc::MPOL_BIND, node, pages)
}

/// Maps any number of pages that come from `node` if it has any.
pub fn map_near(node: usize, pages: usize) -> Outcome<Region> {
    map_by(libc::MPOL_PREFERRED, node, pages)
}

/// Moves all that a process (0: the calling one) has on one node to another, as far as the kernel can.
pub fn migrate(pid: i32, from: usize, to: usize) -> Outcome {
    let masks = [1u64 << from, 1u64 << to];
    let [from, to] = [0, 1].map(|index| std::ptr::from_ref(&masks[index]) as usize);
    let arguments = [pid as usize, 64, from, to, 0, 0];
    sys::syscall(libc::SYS_migrate_pages, arguments)
        .context("migrate_pages")
        .map(drop)
}

fn map_by(policy: i32, node: usize, pages: usize) -> Outcome<Region> {
    let region = Region::map(pages)?;
    let (mask, policy) = (1u64 << node, policy as usize);
    let mask = std::ptr::from_ref(&mask) as usize;
    sys::syscall(
        libc::SYS_mbind,
        [region.addr(), region.len(), policy, mask, 64, 0],
    )
    .context("mbind")?;
    Ok(region)
}

/// Starts a process with pages on `node` that may go elsewhere later.
pub fn start_on(node: usize) -> Outcome<Sharer> {
    let map = || {
        let region = map_on(node)?;
        region.fill(same);
        let policy = libc::MPOL_DEFAULT as usize;
        sys::syscall(
            libc::SYS_mbind,
            [region.addr(), region.len(), policy, 0, 0, 0],
        )
        .context("mbind")?;
        Ok(region)
    };
    Sharer::start_in(map, true, same)
}

/// Node of every page of a process, as the kernel tells.
pub fn nodes(sharer: &Sharer) -> Outcome<Vec<i32>> {
    move_pages(sharer, None, 0)
}

/// Moves every page of a process to `node` (all mappings of it), tells the new nodes.
pub fn move_to(sharer: &Sharer, node: i32) -> Outcome<Vec<i32>> {
    const MPOL_MF_MOVE_ALL: usize = 4;
    let node = if sabotage::is(Sabotage::NoMove) {
        0
    } else {
        node
    };
    move_pages(sharer, Some(node), MPOL_MF_MOVE_ALL)
}

fn move_pages(sharer: &Sharer, node: Option<i32>, flags: usize) -> Outcome<Vec<i32>> {
    let count = sharer.pages();
    let pages: Vec<usize> = (0..count)
        .map(|index| sharer.addr() + index * PAGE)
        .collect();
    let targets = node.map(|node| vec![node; count]);
    let mut status = vec![-1; count];
    let to = targets
        .as_ref()
        .map_or(0, |targets| targets.as_ptr() as usize);
    let arguments = [
        sharer.pid() as usize,
        count,
        pages.as_ptr() as usize,
        to,
        status.as_mut_ptr() as usize,
        flags,
    ];
    sys::syscall(libc::SYS_move_pages, arguments).context("move_pages")?;
    Ok(status)
}

/// Two processes on node 0 and two on node 1, all of the same content.
fn four() -> Outcome<Vec<Sharer>> {
    two_nodes()?;
    let sharers: Vec<Sharer> = (0..4)
        .map(|number| Sharer::start_in(|| map_on(number / 2), true, same))
        .collect::<Outcome<_>>()?;
    for (number, sharer) in sharers.iter().enumerate() {
        check_eq!(
            nodes(sharer)?,
            vec![number as i32 / 2; PAGES],
            "nodes of process {number}"
        );
    }
    Ok(sharers)
}

fn across(bench: &Bench) -> Outcome {
    let sharers = four()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

fn within(bench: &Bench) -> Outcome {
    two_nodes()?;
    bench.ksm.set("merge_across_nodes", 0)?;
    let sharers = four()?;
    bench.ksm.start()?;
    frames_become(&sharers, 2 * PAGES)?;
    bench.ksm.passes(3)?;
    frames_become(&sharers, 2 * PAGES)?;
    for (number, sharer) in sharers.iter().enumerate() {
        check_eq!(
            nodes(sharer)?,
            vec![number as i32 / 2; PAGES],
            "nodes of process {number} after merging"
        );
    }
    bench
        .ksm
        .counter_becomes("pages_shared", 2 * PAGES as i64)?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    sharer::finish(sharers)
}

fn busy(bench: &Bench) -> Outcome {
    let sharers = four()?;
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    let refused = bench
        .ksm
        .try_set("merge_across_nodes", "0")
        .err()
        .and_then(|error| error.raw_os_error());
    check_eq!(
        refused,
        Some(libc::EBUSY),
        "setting merge_across_nodes while pages are merged"
    );
    bench.ksm.set("run", 2)?;
    bench.ksm.set("merge_across_nodes", 0)?;
    sharer::finish(sharers)
}

fn moved(bench: &Bench) -> Outcome {
    two_nodes()?;
    bench.ksm.set("merge_across_nodes", 0)?;
    let sharers = [0, 0, 1]
        .into_iter()
        .map(start_on)
        .collect::<Outcome<Vec<_>>>()?;
    bench.ksm.start()?;
    frames_become(&sharers[..2], PAGES)?;
    bench.ksm.stop()?;
    check_eq!(
        move_to(&sharers[0], 1)?,
        vec![1; PAGES],
        "nodes after move_pages"
    );
    check_eq!(
        sharers[0].frames()?,
        sharers[1].frames()?,
        "frames of both processes right after the move"
    );
    bench.ksm.start()?;
    frames_become(&sharers, PAGES)?;
    let frames = sharer::frames(&sharers)?;
    check_eq!(pagemap::distinct(&frames), PAGES, "frames of all three");
    sharer::finish(sharers)
}

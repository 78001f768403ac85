// SPDX-License-Identifier: GPL-2.0

//! Pages that the kernel moves, or tries to.

use std::fs;

use super::super::numa;
use super::scene::{empty, is_taken, live, sharers, After, Scene, PAGES, SHARED, TAKEN};
use crate::case::{skip, Bench, Context, Outcome};
use crate::pagemap;
use crate::pipe_pages::PipePages;
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sys::{self, PAGE};
use crate::{check, check_eq};

/// Moves the pages that are taken to the other node, or only tells where they are. The kernel's status of each.
fn move_taken(scene: &Scene, to: Option<&[i32]>) -> Outcome<Vec<i32>> {
    const MPOL_MF_MOVE_ALL: usize = 4;
    let pages: Vec<usize> = TAKEN
        .into_iter()
        .flatten()
        .map(|index| scene.region.page(index) as usize)
        .collect();
    let mut status = vec![-1; pages.len()];
    let to = match to {
        Some(_) if sabotage::is(Sabotage::NoMove) => 0,
        Some(nodes) => nodes.as_ptr() as usize,
        None => 0,
    };
    let arguments = [
        0,
        pages.len(),
        pages.as_ptr() as usize,
        to,
        status.as_mut_ptr() as usize,
        MPOL_MF_MOVE_ALL,
    ];
    sys::syscall(libc::SYS_move_pages, arguments).context("move_pages")?;
    Ok(status)
}

/// The other node for each page.
fn targets(nodes: &[i32]) -> Vec<i32> {
    nodes.iter().map(|node| 1 - node).collect()
}

pub fn migrate(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let mut scene = Scene::set(bench)?;
    let before = pagemap::frames(&scene.place().pagemap()?);
    let goal = targets(&move_taken(&scene, None)?);
    check_eq!(
        move_taken(&scene, Some(&goal))?,
        goal,
        "nodes after move_pages"
    );
    let (ours, theirs) = (scene.place().truth()?, scene.others().truth()?);
    let taken = |index: usize| is_taken(index);
    let shared = |index: usize| SHARED.contains(&index);
    empty(&ours, taken).context("right after move_pages")?;
    empty(&theirs, taken).context("the other process right after move_pages")?;
    // The walk that moved them has said so: there is nothing to doubt.
    sharers(&ours, shared).context("right after move_pages")?;
    sharers(&theirs, |_| true).context("the other process right after move_pages")?;
    live(&ours, |index| !taken(index)).context("pages that were not moved")?;
    live(&theirs, |index| !taken(index)).context("the other's that were not moved")?;
    let after = pagemap::frames(&scene.place().pagemap()?);
    check_eq!(after.len(), PAGES, "pages present after move_pages");
    for index in 0..PAGES {
        check_eq!(
            before[index] != after[index],
            taken(index),
            "whether page {index} has moved"
        );
    }
    check_eq!(
        &after[SHARED],
        &scene.other.frames()?[..],
        "frames of the other process"
    );
    scene.settled(After::Kept, After::Ended)?;
    sharers(&scene.others().truth()?, |_| true).context("the other process after sync")?;
    scene.verify()?;
    scene.finish()
}

pub fn there_and_back(bench: &Bench) -> Outcome {
    numa::two_nodes()?;
    let mut scene = Scene::set(bench)?;
    let before = pagemap::frames(&scene.place().pagemap()?);
    let nodes = move_taken(&scene, None)?;
    let pipe = PipePages::splice(&scene.region, 0..PAGES)?;
    // Each of them is taken out of all page tables, found to be in use, and put back.
    let status = move_taken(&scene, Some(&targets(&nodes)))?;
    check!(
        status
            .iter()
            .zip(&nodes)
            .all(|(status, node)| *status < 0 || status == node),
        "pages that a pipe refers to have moved: {status:?}"
    );
    let (ours, theirs) = (scene.place().truth()?, scene.others().truth()?);
    empty(&ours, is_taken).context("right after move_pages")?;
    empty(&theirs, is_taken).context("the other process right after move_pages")?;
    sharers(&ours, |index| SHARED.contains(&index)).context("right after move_pages")?;
    sharers(&theirs, |_| true).context("the other process right after move_pages")?;
    check_eq!(
        pagemap::frames(&scene.place().pagemap()?),
        before,
        "frames after a move that failed"
    );
    scene.settled(After::Kept, After::Ended)?;
    sharers(&scene.others().truth()?, |_| true).context("the other process after sync")?;
    drop(pipe);
    let goal = targets(&nodes);
    check_eq!(
        move_taken(&scene, Some(&goal))?,
        goal,
        "nodes once the pipe is gone"
    );
    scene.place().truth()?;
    scene.settled(After::Kept, After::Ended)?;
    scene.verify()?;
    scene.finish()
}

const COMPACT: &str = "/proc/sys/vm/compact_memory";

pub fn compaction(bench: &Bench) -> Outcome {
    const ATTEMPTS: usize = 5;
    if fs::metadata(COMPACT).is_err() {
        return skip("no memory compaction in this kernel");
    }
    // What earlier attempts had stays, so that the next finds other frames.
    let mut fillers = Vec::new();
    for _ in 0..ATTEMPTS {
        let (moved, filler) = compact(bench)?;
        if moved > 0 {
            return Ok(());
        }
        fillers.push(filler);
        // The next begins with the scanner at rest.
        bench.ksm.stop()?;
    }
    skip("compaction found none of our pages worth moving")
}

/// How many of our pages compaction moves, and what has made it move them.
fn compact(bench: &Bench) -> Outcome<(usize, Region)> {
    // Compaction moves pages to higher frames where others are already, not to empty blocks. Single free frames are given
    // out first: ours come from the lower half of the filler's, and there is room between what stays of the upper half.
    const FILLER: usize = 48 << 20;
    let filler = Region::map(FILLER / PAGE)?;
    (0..filler.pages()).for_each(|index| filler.poke(index, 0, 1));
    let frames = pagemap::frames(&filler.pagemap()?);
    let mut sorted = frames.clone();
    sorted.sort_unstable();
    let middle = sorted[sorted.len() / 2];
    let free = |which: &dyn Fn(u64) -> bool| {
        let mut chosen = (0..filler.pages()).filter(|&index| which(frames[index]));
        chosen.try_for_each(|index| filler.advise_pages(index..index + 1, libc::MADV_DONTNEED))
    };
    free(&|frame| frame < middle && frame % 2 == 0).context("making single free frames")?;
    let mut scene = Scene::set(bench)?;
    free(&|frame| frame >= middle && frame % 16 != 0).context("making holes")?;
    let shared = |index: usize| SHARED.contains(&index);
    let before = pagemap::frames(&scene.place().pagemap()?);
    let mut moved = 0;
    for _ in 0..3 {
        fs::write(COMPACT, "1").context(COMPACT)?;
        let (ours, theirs) = (scene.place().truth()?, scene.others().truth()?);
        sharers(&ours, shared).context("right after compaction")?;
        sharers(&theirs, |_| true).context("the other process right after compaction")?;
        let now = pagemap::frames(&scene.place().pagemap()?);
        check_eq!(now.len(), PAGES, "pages present after compaction");
        let has_moved = |index: usize| now[index] != before[index];
        empty(&ours, has_moved).context("pages that have moved")?;
        empty(&theirs, has_moved).context("the other's pages that have moved")?;
        moved = (0..PAGES).filter(|&index| has_moved(index)).count();
        scene.bench().ksm.sync()?;
        sharers(&scene.place().truth()?, shared).context("after sync")?;
        sharers(&scene.others().truth()?, |_| true).context("the other process after sync")?;
        scene.verify()?;
    }
    for (file, count) in [
        ("pages_shared", SHARED.len()),
        ("pages_sharing", SHARED.len()),
    ] {
        check_eq!(bench.ksm.number(file)?, count as i64, "{file}");
    }
    scene.finish()?;
    Ok((moved, filler))
}

// SPDX-License-Identifier: GPL-2.0

//! Pages that the kernel moves, or tries to.

use super::super::fragments::{self, Fragments};
use super::super::numa;
use super::scene::{empty, is_taken, live, sharers, After, Scene, PAGES, SHARED, TAKEN};
use crate::case::{skip, Bench, Context, Outcome};
use crate::pagemap;
use crate::pipe_pages::PipePages;
use crate::sabotage::{self, Sabotage};
use crate::sys;
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

pub fn compaction(bench: &Bench) -> Outcome {
    const ATTEMPTS: usize = 5;
    fragments::available()?;
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
fn compact(bench: &Bench) -> Outcome<(usize, Fragments)> {
    let filler = Fragments::make()?;
    let mut scene = Scene::set(bench)?;
    filler.open()?;
    let shared = |index: usize| SHARED.contains(&index);
    let before = pagemap::frames(&scene.place().pagemap()?);
    let mut moved = 0;
    for _ in 0..3 {
        fragments::compact()?;
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

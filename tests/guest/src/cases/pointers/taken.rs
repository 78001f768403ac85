// SPDX-License-Identifier: GPL-2.0

//! System calls of a process that take pages away from itself.

use super::super::common::same;
use super::scene::{
    empty, ended, is_taken, live, passes_until, sharers, After, Place, Scene, PAGES, SHARED, TAKEN,
};
use crate::case::{Bench, Context, Outcome};
use crate::pagemap::{self, FLAG_KSM};
use crate::probe::{self, State};
use crate::region::{self, Region};
use crate::sharer::Sharer;
use crate::sys::PAGE;
use crate::userfault::{self, Faults};
use crate::worker::Worker;
use crate::{check, check_eq};

/// The address of page `index`.
fn address(scene: &Scene, index: usize) -> usize {
    scene.region.page(index) as usize
}

pub fn munmap(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    scene.take(|scene, range| {
        scene.seeds[range.clone()].fill(None);
        region::unmap(address(scene, range.start), range.len() * PAGE)
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Ended)?;
    scene.finish()
}

pub fn map_over(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    scene.take(|scene, range| {
        // SAFETY: replaces pages of our own region, to which nothing refers.
        let addr = unsafe {
            libc::mmap(
                scene.region.page(range.start).cast(),
                range.len() * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        check_eq!(
            addr as usize,
            address(scene, range.start),
            "where mmap mapped"
        );
        scene.seeds[range].fill(Some(0));
        Ok(())
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Ended)?;
    scene.finish()
}

pub fn mremap(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    let mut moved = Vec::new();
    scene.take(|scene, range| {
        let part = Region::adopt(address(scene, range.start), range.len());
        let part = part.move_away(range.len())?;
        let items = Place::of(&part).truth()?;
        ended(&items, |_| true).context("at the new place")?;
        let seeds: Vec<_> = scene.seeds[range.clone()].to_vec();
        scene.seeds[range].fill(None);
        moved.push((part, seeds));
        Ok(())
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Ended)?;
    for (part, seeds) in &moved {
        part.verify(|index| seeds[index].unwrap_or(0))?;
    }
    scene.finish()?;
    for (part, seeds) in &moved {
        part.verify(|index| seeds[index].unwrap_or(0))
            .context("after two more passes")?;
    }
    Ok(())
}

pub fn dontneed(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    scene.take(|scene, range| {
        scene.seeds[range.clone()].fill(Some(0));
        scene
            .region
            .advise_pages(range, libc::MADV_DONTNEED)
            .context("MADV_DONTNEED")
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Ended)?;
    scene.finish()
}

pub fn free(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    scene.take(|scene, range| {
        scene
            .region
            .advise_pages(range, libc::MADV_FREE)
            .context("MADV_FREE")
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Kept, After::Ended)?;
    scene.verify()?;
    // The only one that is left: its page may be dropped now, but until it is, it is the sharer's.
    let Scene { region, other, .. } = scene;
    other.finish()?;
    bench.ksm.sync()?;
    region
        .advise_pages(SHARED, libc::MADV_FREE)
        .context("MADV_FREE by the last sharer")?;
    let place = Place::of(&region);
    let items = place.truth()?;
    empty(&items, |index| SHARED.contains(&index))?;
    bench.ksm.sync()?;
    sharers(&place.truth()?, |index| SHARED.contains(&index)).context("the last sharers")?;
    check_eq!(
        bench.ksm.number("pages_shared")?,
        SHARED.len() as i64,
        "pages_shared"
    );
    check_eq!(bench.ksm.number("pages_sharing")?, 0, "pages_sharing");
    for index in SHARED {
        region.verify_page(index, same(index))?;
    }
    Ok(())
}

pub fn write(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    let before = pagemap::frames(&scene.place().pagemap()?);
    for range in TAKEN {
        for index in range {
            let seed = 0x7700_0000 + index as u64;
            scene.region.write(index, seed);
            scene.seeds[index] = Some(seed);
            let item = scene.place().truth()?[index];
            check_eq!(
                item.live(),
                !SHARED.contains(&index),
                "whether page {index} has a pointer after the write"
            );
        }
    }
    let after = pagemap::frames(&scene.place().pagemap()?);
    for index in 0..PAGES {
        let copied = SHARED.contains(&index) && is_taken(index);
        check_eq!(
            before[index] != after[index],
            copied,
            "whether page {index} was copied"
        );
    }
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Kept)?;
    scene.finish()
}

pub fn write_many(bench: &Bench) -> Outcome {
    const COUNT: usize = 2048;
    probe::available()?;
    let mut other = Sharer::start(COUNT, same)?;
    // Keeps deferred work going: without anybody who waits for it, it is done for many pages at once.
    let mut hurry = Worker::start("hurry", |steps| {
        steps.step(0)?;
        loop {
            bench.ksm.sync()?;
        }
    })?;
    hurry.arrived()?;
    let region = Region::map(COUNT)?;
    region.fill(same);
    region.mergeable()?;
    let place = Place::of(&region);
    passes_until(bench, "all pages are merged", || {
        let items = place.items()?;
        Ok(items
            .iter()
            .all(|item| item.state == State::Stable && item.live()))
    })?;
    // One after another, while deferred work is done: it may look at a page that is just being copied.
    hurry.go(0)?;
    for index in 0..COUNT {
        region.poke(index, 0, !region.peek(index, 0));
    }
    empty(&place.truth()?, |_| true).context("right after the writes")?;
    drop(hurry);
    bench.ksm.sync()?;
    ended(&place.truth()?, |_| true).context("after sync")?;
    check_eq!(
        bench.ksm.number("pages_sharing")?,
        0,
        "pages_sharing after every page was written to"
    );
    sharers(&Place::of_sharer(&other).truth()?, |_| true).context("the other process")?;
    other.verify()?;
    other.finish()
}

pub fn write_after_fork(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    let (region, seeds) = (&scene.region, scene.seeds.clone());
    let mut child = Worker::start("child", |steps| {
        steps.step(0)?;
        region.verify(|index| seeds[index].unwrap_or(0))
    })?;
    child.arrived()?;
    scene.place().all_live().context("after the fork")?;
    scene.take(|scene, range| {
        for index in range {
            let seed = 0x7800_0000 + index as u64;
            scene.region.write(index, seed);
            scene.seeds[index] = Some(seed);
        }
        Ok(())
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Ended)?;
    child.finish()?;
    scene.finish()
}

pub fn unmergeable(bench: &Bench) -> Outcome {
    let scene = Scene::set(bench)?;
    for range in TAKEN {
        scene
            .region
            .advise_pages(range, libc::MADV_UNMERGEABLE)
            .context("MADV_UNMERGEABLE")?;
    }
    let items = scene.place().truth()?;
    empty(&items, |index| TAKEN[0].contains(&index))?;
    live(&items, |index| !TAKEN[0].contains(&index))?;
    let frames = pagemap::frames(&scene.place().pagemap()?);
    check_eq!(
        pagemap::count_flag(&frames[TAKEN[0].clone()], FLAG_KSM)?,
        0,
        "merged pages among those unmerged"
    );
    scene.rest_is_live()?;
    scene.settled(After::Ended, After::Kept)?;
    scene.finish()
}

pub fn uffd_move(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    let faults = Faults::open(userfault::FEATURE_MOVE, "UFFDIO_MOVE")?;
    let target = Region::map(PAGES)?;
    faults.register(&target, userfault::MODE_MISSING)?;
    let mut seeds = vec![None; PAGES];
    scene.take(|scene, range| {
        let (to, from) = (
            target.page(range.start) as u64,
            address(scene, range.start) as u64,
        );
        let mut words = [to, from, (range.len() * PAGE) as u64, 0, 0];
        let result = faults.ioctl(userfault::MOVE, &mut words);
        if SHARED.contains(&range.start) {
            check!(result.is_err(), "UFFDIO_MOVE has moved merged pages");
            return Ok(());
        }
        result.context("UFFDIO_MOVE")?;
        for index in range {
            seeds[index] = scene.seeds[index].replace(0);
        }
        Ok(())
    })?;
    scene.rest_is_live()?;
    scene.settled(After::Kept, After::Ended)?;
    for (index, seed) in seeds.iter().enumerate() {
        if let Some(seed) = *seed {
            target.verify_page(index, seed)?;
        }
    }
    scene.finish()
}

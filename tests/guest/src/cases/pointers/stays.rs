// SPDX-License-Identifier: GPL-2.0

//! What changes page tables and takes no page away: no pointer may go, or at least no item may end.

use std::fs;

use super::super::common::same;
use super::scene::{ended, passes_until, sharers, After, Place, Scene, SHARED, TAKEN};
use crate::case::{skip, Bench, Context, Outcome};
use crate::pagemap;
use crate::pipe_pages::PipePages;
use crate::probe::{self, State};
use crate::region::Region;
use crate::sharer::Sharer;
use crate::sys::{self, PAGE};
use crate::userfault::{self, Faults};
use crate::worker::Worker;
use crate::{check, check_eq};

/// Nothing has changed at all, now and after deferred work.
fn untouched(scene: &Scene) -> Outcome {
    scene.place().all_live()?;
    scene.others().all_live().context("the other process")?;
    scene.settled(After::Kept, After::Kept)?;
    scene.place().all_live().context("after sync")?;
    scene
        .others()
        .all_live()
        .context("the other process after sync")
}

pub fn fork(bench: &Bench) -> Outcome {
    let mut scene = Scene::set(bench)?;
    let (region, seeds) = (&scene.region, scene.seeds.clone());
    let mut child = Worker::start("child", |steps| {
        steps.step(0)?;
        region.verify(|index| seeds[index].unwrap_or(0))
    })?;
    child.arrived()?;
    untouched(&scene).context("after the fork")?;
    let copy = Place {
        pid: child.pid(),
        ..scene.place()
    };
    ended(&copy.truth()?, |_| true).context("the child")?;
    child.finish()?;
    untouched(&scene).context("after the child's exit")?;
    scene.verify()?;
    scene.finish()
}

pub fn mprotect(bench: &Bench) -> Outcome {
    let scene = Scene::set(bench)?;
    for protection in [
        libc::PROT_READ,
        libc::PROT_NONE,
        libc::PROT_READ | libc::PROT_WRITE,
    ] {
        for range in TAKEN {
            let addr = scene.region.page(range.start).cast();
            // SAFETY: pages of our own region, which nothing touches while they are forbidden.
            sys::check(unsafe { libc::mprotect(addr, range.len() * PAGE, protection) }.into())
                .context("mprotect")?;
        }
        untouched(&scene).context(format!("protection {protection}"))?;
    }
    scene.finish()
}

pub fn soft_dirty(bench: &Bench) -> Outcome {
    let page = Region::map(1)?;
    page.write(0, 1);
    if !page.pagemap()?[0].soft_dirty() {
        return skip("this kernel does not track soft-dirty pages");
    }
    let scene = Scene::set(bench)?;
    let file = "/proc/self/clear_refs";
    fs::write(file, "4").context(file)?;
    let marked = |entries: Vec<pagemap::Entry>| entries.iter().any(|entry| entry.soft_dirty());
    check!(
        !marked(scene.place().pagemap()?) && !marked(page.pagemap()?),
        "a page is soft-dirty when all marks have just been cleared"
    );
    untouched(&scene)?;
    // Referenced bits, which go through the reverse mapping for nobody.
    fs::write(file, "1").context(file)?;
    untouched(&scene).context("referenced bits")?;
    scene.finish()
}

pub fn uffd_write_protect(bench: &Bench) -> Outcome {
    let scene = Scene::set(bench)?;
    let faults = Faults::open(userfault::FEATURE_PAGEFAULT_FLAG_WP, "write protection")?;
    faults.register(&scene.region, userfault::MODE_WP)?;
    untouched(&scene).context("registered")?;
    for mode in [1, 0] {
        for range in TAKEN {
            let mut words = [
                scene.region.page(range.start) as u64,
                (range.len() * PAGE) as u64,
                mode,
            ];
            faults
                .ioctl(userfault::WRITEPROTECT, &mut words)
                .context("UFFDIO_WRITEPROTECT")?;
        }
        untouched(&scene).context(format!("write protection {mode}"))?;
    }
    scene.finish()
}

pub fn newcomer(bench: &Bench) -> Outcome {
    // It is there before our pages are: a fork would make it a sharer of them.
    let mut newcomer = Sharer::start_in(|| Region::map(SHARED.len()), false, same)?;
    let scene = Scene::set(bench)?;
    let frames = scene.other.frames()?;
    newcomer.advise(0, SHARED.len(), libc::MADV_MERGEABLE)?;
    let place = Place::of_sharer(&newcomer);
    passes_until(bench, "the third process is merged", || {
        sharers(&scene.place().truth()?, |index| SHARED.contains(&index))?;
        sharers(&scene.others().truth()?, |_| true).context("the other process")?;
        place.truth().context("the third process")?;
        Ok(newcomer.frames()? == frames)
    })?;
    sharers(&place.truth()?, |_| true).context("the third process")?;
    check_eq!(
        bench.ksm.number("pages_sharing")?,
        2 * SHARED.len() as i64,
        "pages_sharing"
    );
    newcomer.finish()?;
    bench.ksm.sync()?;
    check_eq!(
        bench.ksm.number("pages_sharing")?,
        SHARED.len() as i64,
        "pages_sharing without the third process"
    );
    scene.finish()
}

pub fn merge_fails(bench: &Bench) -> Outcome {
    probe::available()?;
    // Two pages with equal bytes; one is referred to by a pipe, so that a merge gives up after write-protecting it.
    const COUNT: usize = 8;
    let seed = |index| 0x3300_0000 + (index % COUNT) as u64;
    let region = Region::map(2 * COUNT)?;
    region.fill(seed);
    let pipe = PipePages::splice(&region, 0..2 * COUNT)?;
    region.mergeable()?;
    let place = Place::of(&region);
    let mut rounds = 0;
    passes_until(
        bench,
        "eight passes over pages that cannot be merged",
        || {
            let items = place.truth()?;
            rounds += 1;
            for (index, item) in items.iter().enumerate().filter(|_| rounds > 2) {
                check!(
                    matches!(item.state, State::Volatile | State::Unstable),
                    "page {index} has lost its item to a merge that failed: {item:?}"
                );
            }
            Ok(rounds > 8)
        },
    )?;
    check_eq!(
        pagemap::distinct(&pagemap::frames(&place.pagemap()?)),
        2 * COUNT,
        "frames while the pipe has the pages"
    );
    check_eq!(bench.ksm.number("pages_shared")?, 0, "pages_shared");
    drop(pipe);
    passes_until(bench, "the pages are merged", || {
        place.truth()?;
        Ok(pagemap::distinct(&pagemap::frames(&place.pagemap()?)) == COUNT)
    })?;
    region.verify(seed)
}

// SPDX-License-Identifier: GPL-2.0

//! Pages that reclaim takes, or tries to.

use std::ffi::CString;
use std::fs;

use super::super::swapping;
use super::scene::{empty, ended, is_taken, live, sharers, Scene, PAGES, SHARED, TAKEN};
use crate::case::{Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::pipe_pages::PipePages;
use crate::sys::{self, PAGE};
use crate::wait;
use crate::{check, check_eq, pagemap};

/// Reclaim has come over shared pages: each of them is a sharer still, and its neighbours are true.
fn sharers_stay(scene: &Scene) -> Outcome {
    for after in ["right after the call", "after sync"] {
        let ours = scene.place().truth().context(after)?;
        sharers(&ours, |index| SHARED.contains(&index)).context(after)?;
        let theirs = scene.others().truth().context(after)?;
        sharers(&theirs, |_| true)
            .context("the other process")
            .context(after)?;
        scene.bench().ksm.sync()?;
    }
    for (file, count) in [
        ("pages_pending", 0),
        ("pages_shared", SHARED.len()),
        ("pages_sharing", SHARED.len()),
    ] {
        check_eq!(scene.bench().ksm.number(file)?, count as i64, "{file}");
    }
    Ok(())
}

/// Reclaims until all shared pages of both are out.
fn push_out(scene: &Scene, group: &Group) -> Outcome {
    wait::until("all shared pages are out", || {
        group.reclaim(4 * PAGES * PAGE)?;
        let ours = scene.place().pagemap()?;
        let theirs = scene.others().pagemap()?;
        let out = ours[SHARED]
            .iter()
            .chain(&theirs)
            .filter(|entry| entry.swapped());
        let out = out.count();
        Ok((out == 2 * SHARED.len(), out))
    })
}

pub fn no_swap(bench: &Bench) -> Outcome {
    let group = Group::enter("pointers")?;
    let mut scene = Scene::set(bench)?;
    for range in TAKEN {
        scene
            .region
            .advise_pages(range, libc::MADV_PAGEOUT)
            .context("MADV_PAGEOUT")?;
    }
    sharers_stay(&scene).context("MADV_PAGEOUT")?;
    group.reclaim(4 * PAGES * PAGE)?;
    sharers_stay(&scene).context("memory.reclaim")?;
    check_eq!(
        pagemap::frames(&scene.place().pagemap()?).len(),
        PAGES,
        "pages present"
    );
    scene.verify()?;
    scene.finish()
}

pub fn pageout(bench: &Bench) -> Outcome {
    swapping::device()?;
    let mut scene = Scene::set(bench)?;
    for range in TAKEN {
        scene
            .region
            .advise_pages(range, libc::MADV_PAGEOUT)
            .context("MADV_PAGEOUT")?;
    }
    let items = scene.place().truth()?;
    let entries = scene.place().pagemap()?;
    empty(&items, |index| entries[index].swapped()).context("pages that are out")?;
    live(&items, |index| !is_taken(index)).context("nothing was done to it")?;
    let out = |index: &usize| entries[*index].swapped();
    let own = TAKEN[1..].iter().cloned().flatten();
    let (all, gone) = (own.clone().count(), own.filter(out).count());
    check!(
        gone * 2 > all,
        "only {gone} of {all} pages of our own are out"
    );
    sharers_stay(&scene)?;
    let items = scene.place().truth()?;
    ended(&items, |index| out(&index) && !SHARED.contains(&index)).context("after sync")?;
    scene.verify()?;
    scene.finish()
}

pub fn reclaim(bench: &Bench) -> Outcome {
    swapping::device()?;
    let group = Group::enter("pointers")?;
    let mut scene = Scene::set(bench)?;
    push_out(&scene, &group)?;
    let shared = |index: usize| SHARED.contains(&index);
    empty(&scene.place().truth()?, shared).context("pages that are out")?;
    empty(&scene.others().truth()?, |_| true).context("the other's pages that are out")?;
    sharers_stay(&scene).context("out")?;
    scene.verify()?;
    let (ours, theirs) = (scene.place().truth()?, scene.others().truth()?);
    empty(&ours, shared).context("back, but not scanned")?;
    empty(&theirs, |_| true).context("the other's, back, but not scanned")?;
    sharers_stay(&scene).context("back")?;
    check_eq!(
        &pagemap::frames(&scene.place().pagemap()?)[SHARED],
        &scene.other.frames()?[..],
        "frames after coming back"
    );
    scene.finish()
}

pub fn fails(bench: &Bench) -> Outcome {
    swapping::device()?;
    let group = Group::enter("pointers")?;
    let mut scene = Scene::set(bench)?;
    let before = pagemap::frames(&scene.place().pagemap()?);
    let pipe = PipePages::splice(&scene.region, SHARED)?;
    // Unmapped, written out, and then found to be in use: they stay in the swap cache.
    push_out(&scene, &group)?;
    empty(&scene.place().truth()?, |index| SHARED.contains(&index)).context("unmapped pages")?;
    sharers_stay(&scene)?;
    let items = scene.place().truth()?;
    check!(
        items[SHARED].iter().all(|item| item.page == Some(true)),
        "pages that a pipe refers to have left memory: {items:?}"
    );
    scene.verify()?;
    sharers_stay(&scene).context("back")?;
    check_eq!(
        &pagemap::frames(&scene.place().pagemap()?)[SHARED],
        &before[SHARED],
        "frames after coming back"
    );
    drop(pipe);
    scene.finish()
}

pub fn full(bench: &Bench) -> Outcome {
    swapping::device()?;
    let group = Group::enter("pointers")?;
    let mut scene = Scene::set(bench)?;
    let limit = "/sys/fs/cgroup/guest-tests-pointers/memory.swap.max";
    fs::write(limit, "0").context(limit)?;
    for _ in 0..3 {
        group.reclaim(4 * PAGES * PAGE)?;
        sharers_stay(&scene)?;
    }
    check_eq!(
        pagemap::frames(&scene.place().pagemap()?).len(),
        PAGES,
        "pages present although swap is full"
    );
    fs::write(limit, "max").context(limit)?;
    push_out(&scene, &group)?;
    sharers_stay(&scene).context("once swap is free")?;
    scene.verify()?;
    scene.finish()
}

pub fn swapoff(bench: &Bench) -> Outcome {
    let device = CString::new(swapping::device()?).expect("a device name has no zero byte");
    let group = Group::enter("pointers")?;
    let mut scene = Scene::set(bench)?;
    push_out(&scene, &group)?;
    sharers_stay(&scene).context("out")?;
    // SAFETY: a string that outlives the call.
    sys::check(unsafe { libc::swapoff(device.as_ptr()) }.into()).context("swapoff")?;
    let now = sharers_stay(&scene).context("after swapoff");
    // SAFETY: as above.
    sys::check(unsafe { libc::swapon(device.as_ptr(), 0) }.into()).context("swapon")?;
    now?;
    check_eq!(
        &pagemap::frames(&scene.place().pagemap()?)[SHARED],
        &scene.other.frames()?[..],
        "frames after swapoff"
    );
    scene.verify()?;
    scene.finish()
}

// SPDX-License-Identifier: GPL-2.0

//! What others do to merged pages fails in the middle: swapoff, moving them, breaking them, making huge pages of them, and
//! the exec of who has them.

use std::io;

use super::common::{merged_crowd, same};
use super::faults_calls::{expected, in_children, in_children_of};
use super::faults_common::{in_order, prepare};
use super::poison::{break_page_after, BROKEN};
use super::prctl;
use super::small_swap::Area;
use super::swapping::{self, Crowd};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::inject::{each, Scope, Series, Victim};
use crate::pagemap;
use crate::region::{Region, MADV_COLLAPSE, MADV_SOFT_OFFLINE};
use crate::sharer;
use crate::sys::{self, Ended};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/swapoff",
        "each failure inside swapoff in turn, of merged pages that are out",
        swapoff,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/soft_offline",
        "each failure inside MADV_SOFT_OFFLINE in turn, of a merged page",
        soft_offline,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/poison",
        "each allocation for those who share a page fails in turn while it breaks: nobody gets anything else instead",
        poison,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/collapse",
        "each failure inside MADV_COLLAPSE in turn, of pages of which some are merged",
        collapse,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/exec",
        "each failure inside exec in turn, of a process with PR_SET_MEMORY_MERGE",
        execing,
    )
    .room(Room::Faults)
    .seconds(900),
];

const PAGES: usize = 6;
/// More failures than any of these cases should find.
const MOST: u32 = 2000;
/// Bytes that are allocated for each who shares a page that breaks (`struct to_kill` in mm/memory-failure.c, from the cache
/// of this size).
const TO_KILL: u32 = 64;

fn swapoff(bench: &Bench) -> Outcome {
    let _injection = prepare(bench, Scope::Task)?;
    let mut area = Area::new(&swapping::device()?, true);
    let this = Victim::this()?;
    each("swapoff", Series::new(100, MOST), |nth| {
        let mut crowd = Crowd::merged(bench, 3, PAGES)?;
        crowd.push_out()?;
        this.arm(nth)?;
        let result = area.try_off();
        let reached = this.disarm()?;
        in_order(bench)?;
        match result {
            Ok(()) => (),
            Err(error) if reached && expected(&error) => {
                crowd.sharers[0]
                    .verify()
                    .context("after a swapoff that failed")?;
                area.off().context("once more")?;
            }
            Err(error) => return fail(format!("swapoff, failure reached: {reached}: {error}")),
        }
        let back = pagemap::distinct(&sharer::frames(&crowd.sharers)?);
        area.on()?;
        check_eq!(back, PAGES, "frames of all processes after swapoff");
        crowd.verify()?;
        in_order(bench)?;
        crowd.finish()?;
        Ok(reached)
    })
}

fn soft_offline(bench: &Bench) -> Outcome {
    in_children(bench, "MADV_SOFT_OFFLINE", 1, |scene, nth, goal| {
        scene.region.mergeable()?;
        scene.merge(goal)?;
        let ((), reached) =
            scene.call(nth, |region| region.advise_pages(2..3, MADV_SOFT_OFFLINE))?;
        let frames = pagemap::frames(&scene.region.pagemap()?);
        check!(
            frames[2] != goal[2],
            "the page is still in the frame that went offline"
        );
        scene.region.verify(same)?;
        Ok(reached)
    })
}

/// Who breaks the page dies of it, so that failures are ordered of whoever handles a broken page.
fn poison(bench: &Bench) -> Outcome {
    // Only what is allocated for those who share the page: the kernel allocates much besides, and never twice the same.
    let mut injection = prepare(bench, Scope::Module)?;
    each("a page that breaks", Series::new(3, MOST), |nth| {
        let mut sharers = merged_crowd(bench, 3, BROKEN + 2)?;
        let broken = break_page_after(&sharers, libc::MADV_HWPOISON, || {
            bench.ksm.stop()?;
            injection.order("failslab", (nth - 1) * TO_KILL + 1)
        });
        let reached = injection.ordered("failslab")?;
        // Whoever could not be noted for want of memory is not killed at once.
        if !reached {
            broken?;
        }
        in_order(bench)?;
        for sharer in &mut sharers {
            sharer.touch(BROKEN + 1).context("a good page")?;
        }
        for sharer in sharers {
            sharer.dies_touching(BROKEN, libc::SIGBUS)?;
        }
        in_order(bench)?;
        Ok(reached)
    })
}

fn collapse(bench: &Bench) -> Outcome {
    in_children(bench, "MADV_COLLAPSE", 2, |scene, nth, goal| {
        // The first pages are those of the others.
        let content = |index| match index {
            0..PAGES => same(index),
            _ => 0x1000 + index as u64,
        };
        let huge = Region::map_huge(1)?;
        huge.fill(content);
        huge.mergeable()?;
        scene.bench.ksm.start()?;
        wait::until(
            "the first pages are merged with those of the others",
            || {
                let frames = pagemap::frames(&huge.pagemap()?);
                Ok((frames.starts_with(goal), frames.len()))
            },
        )?;
        scene.bench.ksm.stop()?;
        let ((), reached) = scene.call(nth, |_| huge.advise(MADV_COLLAPSE))?;
        let frames = pagemap::frames(&huge.pagemap()?);
        check!(
            frames.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "there is no huge page after MADV_COLLAPSE has succeeded"
        );
        huge.verify(content)?;
        Ok(reached)
    })
}

/// What a process that could not exec ends with if its memory is not what it was; else with the error.
const SPOILT: i32 = 255;

fn execing(bench: &Bench) -> Outcome {
    // Not what the new image does.
    let inside = Scope::Function("__x64_sys_execve");
    in_children_of(bench, "exec", 60, inside, |scene, nth, goal| {
        prctl::merge_any(true)?;
        scene.region.mergeable()?;
        scene.merge(goal)?;
        let Some(child) = sys::fork().context("fork")? else {
            replace(&scene.region, nth)
        };
        let victim = Victim::thread(child)?;
        // It keeps what is left of its order until somebody asks for its end.
        sys::wait_for_end(child).context("waitid")?;
        let reached = victim.disarm()?;
        let ended = sys::waitpid(child, false).context("waitpid")?;
        let (_, ended) = ended.expect("it has ended");
        let allowed = match ended {
            Ended::Code(0) => true,
            // Without memory for them the arguments are too many (copy_strings() in fs/exec.c), or the program is none
            // (load_elf_binary() in fs/binfmt_elf.c).
            Ended::Code(libc::E2BIG | libc::ENOEXEC | libc::EIO) => reached,
            Ended::Code(errno) => reached && expected(&io::Error::from_raw_os_error(errno)),
            // Once the old image is gone there is nothing to come back to.
            Ended::Signal(signal) => reached && [libc::SIGKILL, libc::SIGSEGV].contains(&signal),
        };
        check!(
            allowed,
            "failure reached: {reached}; who was to exec ended with {ended:?} (an errno, or {SPOILT} if it has lost its memory)"
        );
        scene.region.verify(same)?;
        Ok(reached)
    })
}

/// The calling process becomes another program, or fails at it.
fn replace(region: &Region, nth: u32) -> ! {
    let program = c"/bin/true";
    let arguments = [program.as_ptr(), std::ptr::null()];
    let Ok(victim) = Victim::this() else {
        sys::exit(SPOILT)
    };
    if victim.arm(nth).is_err() {
        sys::exit(SPOILT)
    }
    // SAFETY: a null-terminated array of strings that outlive the call.
    unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) };
    let errno = io::Error::last_os_error().raw_os_error();
    sys::exit(match region.verify(same) {
        Ok(()) => errno.unwrap_or(SPOILT),
        Err(_) => SPOILT,
    })
}

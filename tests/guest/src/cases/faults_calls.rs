// SPDX-License-Identifier: GPL-2.0

//! System calls of a merged process fail in the middle: whatever they may fail at, one after the other.
//!
//! A call that failed is repeated and must then work; the content of all pages stays what it was, and the process is
//! merged like any other.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::common::{merged_crowd, same};
use super::faults_common::{in_order, prepare};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::inject::{each, Scope, Series, Victim};
use crate::ksm::DIRECTORY;
use crate::pagemap;
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::wait;
use crate::worker::Worker;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "faults/madvise",
        "each failure inside MADV_MERGEABLE in turn, the first of a process",
        mergeable,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/prctl",
        "each failure inside PR_SET_MEMORY_MERGE in turn",
        merge_any,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/unmergeable",
        "each failure inside MADV_UNMERGEABLE in turn, on merged pages",
        unmergeable,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/fork",
        "each failure inside fork in turn, of a process with merged pages",
        fork,
    )
    .room(Room::Faults)
    .seconds(900),
    Case::new(
        "faults/mremap",
        "each failure inside mremap in turn, of merged pages",
        mremap,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/munmap",
        "each failure inside munmap in turn, of the middle of merged pages",
        munmap,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/run_2",
        "each failure in turn while writing 2 to run unmerges everything",
        run_2,
    )
    .room(Room::Faults)
    .seconds(300),
    Case::new(
        "faults/dev_ksm",
        "each failure in turn while /dev/ksm is opened and memory registered and removed",
        dev_ksm,
    )
    .room(Room::Faults)
    .seconds(300),
];

const PAGES: usize = 6;
/// Processes that stand by, merged, all the time.
const OTHERS: usize = 2;
/// More failures than any of these cases should find.
const MOST: u32 = 2000;

/// A process's pages, and who fails.
pub(super) struct Scene<'a> {
    pub bench: &'a Bench,
    pub region: Region,
    victim: Victim,
}

impl Scene<'_> {
    /// Lets the scanner work until the pages lie in the frames of the others'.
    pub fn merge(&self, goal: &[u64]) -> Outcome {
        self.bench.ksm.start()?;
        wait::until("the pages are merged with those of the others", || {
            let frames = pagemap::frames(&self.region.pagemap()?);
            Ok((frames == goal, (frames.len(), pagemap::distinct(&frames))))
        })?;
        self.bench.ksm.stop()
    }

    /// Runs `call` with its `nth` failure ordered, and again without if it has failed. Whether the failure was reached.
    pub fn call<T>(
        &self,
        nth: u32,
        mut call: impl FnMut(&Region) -> io::Result<T>,
    ) -> Outcome<(T, bool)> {
        self.victim.arm(nth)?;
        let result = call(&self.region);
        let reached = self.victim.disarm()? && nth > 0;
        match result {
            Ok(value) => Ok((value, reached)),
            Err(error) if reached && expected(&error) => {
                Ok((call(&self.region).context("the call repeated")?, true))
            }
            Err(error) => fail(format!(
                "the call failed, failure reached: {reached}: {error}"
            )),
        }
    }
}

/// Errors that a call without memory, or whose arguments could not be copied, may end with.
pub(super) fn expected(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::EAGAIN | libc::EFAULT)
    )
}

/// Tries `one` in processes of their own, with failure after failure. Two other processes have the same pages, merged.
pub(super) fn in_children(
    bench: &Bench,
    what: &str,
    least: u32,
    one: impl Fn(&mut Scene<'_>, u32, &[u64]) -> Outcome<bool>,
) -> Outcome {
    in_children_of(bench, what, least, Scope::Task, one)
}

/// The same with those failures only that are in `scope`.
pub(super) fn in_children_of(
    bench: &Bench,
    what: &str,
    least: u32,
    scope: Scope,
    one: impl Fn(&mut Scene<'_>, u32, &[u64]) -> Outcome<bool>,
) -> Outcome {
    let _injection = prepare(bench, scope)?;
    let mut others = merged_crowd(bench, OTHERS, PAGES)?;
    bench.ksm.stop()?;
    each(what, Series::new(least, MOST), |nth| {
        // Whoever takes the last but one sharer's place may get new frames.
        let goal = others[0].frames()?;
        let mut worker = Worker::start(what, |steps| {
            let region = Region::map(PAGES)?;
            region.fill(same);
            let victim = Victim::this()?;
            let reached = one(
                &mut Scene {
                    bench,
                    region,
                    victim,
                },
                nth,
                &goal,
            )?;
            steps.step(reached.into()).map(drop)
        })?;
        let reached = worker.arrived()? == 1;
        in_order(bench)?;
        worker.finish()?;
        crate::sharer::verify(&mut others)?;
        Ok(reached)
    })?;
    crate::sharer::finish(others)
}

fn mergeable(bench: &Bench) -> Outcome {
    in_children(bench, "MADV_MERGEABLE", 1, |scene, nth, goal| {
        let ((), reached) = scene.call(nth, |region| region.advise(libc::MADV_MERGEABLE))?;
        scene.merge(goal)?;
        scene.region.verify(same)?;
        Ok(reached)
    })
}

fn merge_any(bench: &Bench) -> Outcome {
    in_children(bench, "PR_SET_MEMORY_MERGE", 1, |scene, nth, goal| {
        let (_, reached) = scene.call(nth, |_| sys::prctl(67, [1, 0, 0, 0]))?;
        scene.merge(goal)?;
        scene.region.verify(same)?;
        Ok(reached)
    })
}

fn unmergeable(bench: &Bench) -> Outcome {
    in_children(
        bench,
        "MADV_UNMERGEABLE",
        PAGES as u32,
        |scene, nth, goal| {
            scene.region.mergeable()?;
            scene.merge(goal)?;
            let ((), reached) = scene.call(nth, |region| region.advise(libc::MADV_UNMERGEABLE))?;
            let frames = pagemap::frames(&scene.region.pagemap()?);
            check!(
                frames.iter().all(|frame| !goal.contains(frame)),
                "pages are still merged after MADV_UNMERGEABLE has succeeded"
            );
            scene.region.verify(same)?;
            Ok(reached)
        },
    )
}

fn fork(bench: &Bench) -> Outcome {
    in_children(bench, "fork", 1, |scene, nth, goal| {
        scene.region.mergeable()?;
        scene.merge(goal)?;
        let (child, reached) = scene.call(nth, |region| match sys::fork()? {
            // It never gets to the victim, which is its parent.
            None => sys::exit(i32::from(look_and_write(region).is_err())),
            Some(pid) => Ok(pid),
        })?;
        let ended = sys::waitpid(child, false).context("waitpid")?;
        check!(
            ended == Some((child, sys::Ended::Code(0))),
            "the child did not find what was in memory at the fork: {ended:?}"
        );
        scene.region.verify(same)?;
        Ok(reached)
    })
}

/// What a forked child does with its copy.
fn look_and_write(region: &Region) -> Outcome {
    region.write(0, 0x500);
    (1..PAGES).try_for_each(|index| region.verify_page(index, same(index)))
}

fn mremap(bench: &Bench) -> Outcome {
    in_children(bench, "mremap", 6, |scene, nth, goal| {
        scene.region.mergeable()?;
        scene.merge(goal)?;
        let target = Region::map(1)?;
        let from = scene.region.page(2) as usize;
        let (_, reached) = scene.call(nth, |_| {
            let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;
            sys::syscall(
                libc::SYS_mremap,
                [from, PAGE, PAGE, flags, target.addr(), 0],
            )
        })?;
        target.verify_page(0, same(2))?;
        target.write(0, 0x600);
        for index in (0..PAGES).filter(|&index| index != 2) {
            scene.region.verify_page(index, same(index))?;
        }
        target.verify_page(0, 0x600)?;
        Ok(reached)
    })
}

fn munmap(bench: &Bench) -> Outcome {
    in_children(bench, "munmap", 3, |scene, nth, goal| {
        scene.region.mergeable()?;
        scene.merge(goal)?;
        let from = scene.region.page(2) as usize;
        let (_, reached) = scene.call(nth, |_| {
            sys::syscall(libc::SYS_munmap, [from, PAGE, 0, 0, 0, 0])
        })?;
        for index in (0..PAGES).filter(|&index| index != 2) {
            scene.region.verify_page(index, same(index))?;
        }
        Ok(reached)
    })
}

fn run_2(bench: &Bench) -> Outcome {
    let _injection = prepare(bench, Scope::Task)?;
    let victim = Victim::this()?;
    let path = format!("{DIRECTORY}/run");
    each(
        "writing 2 to run",
        Series::new(3 * PAGES as u32, MOST),
        |nth| {
            let mut sharers = merged_crowd(bench, 3, PAGES)?;
            bench.ksm.stop()?;
            let run = File::options().write(true).open(&path).context(&path)?;
            victim.arm(nth)?;
            let result = run.write_at(b"2", 0);
            let reached = victim.disarm()?;
            match result {
                Ok(_) => (),
                Err(error) if reached && expected(&error) => {
                    bench.ksm.set("run", 2).context("again")?
                }
                Err(error) => return fail(format!("failure reached: {reached}: {error}")),
            }
            super::common::frames_become(&sharers, 3 * PAGES)?;
            bench.ksm.counter_becomes("pages_sharing", 0)?;
            crate::sharer::verify(&mut sharers)?;
            in_order(bench)?;
            crate::sharer::finish(sharers)?;
            Ok(reached)
        },
    )
}

/// Requests of /dev/ksm, as in shims/uapi/linux/ksm.h.
pub(super) const CREATE_SHARED_MEMORY_AREA: usize = 0xab01;
pub(super) const REGISTER_MEMORY_REGION: usize = 1 << 30 | 24 << 16 | 0xab20;
pub(super) const REMOVE_MEMORY_REGION: usize = 0xab21;

/// `struct ksm_memory_region`.
#[repr(C)]
struct MemoryRegion {
    npages: u32,
    pad: u32,
    addr: u64,
    reserved_bits: u64,
}

/// Opens /dev/ksm.
pub(super) fn open_device() -> io::Result<usize> {
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as usize;
    let (at, path) = (libc::AT_FDCWD as usize, c"/dev/ksm".as_ptr() as usize);
    sys::syscall(libc::SYS_openat, [at, path, flags, 0, 0, 0])
}

/// Registers all of a region with an area.
pub(super) fn register(area: &OwnedFd, region: &Region) -> io::Result<usize> {
    let memory = MemoryRegion {
        npages: region.pages() as u32,
        pad: 0,
        addr: region.addr() as u64,
        reserved_bits: 0,
    };
    ioctl(area, REGISTER_MEMORY_REGION, &raw const memory as usize)
}

fn dev_ksm(bench: &Bench) -> Outcome {
    // One call after the other, each failing at its n-th place.
    for (call, (what, least)) in [
        ("open", 2),
        ("creating an area", 2),
        ("registering", 2),
        ("removing", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("/dev/ksm: {what}");
        in_children(bench, &what, least, |scene, nth, goal| {
            let mut reached = false;
            let nth_of = |number: usize| if number == call { nth } else { 0 };
            let mut call =
                |number: usize, request: &mut dyn FnMut(&Region) -> io::Result<usize>| {
                    let (value, failed) = scene.call(nth_of(number), request)?;
                    reached |= failed && number == call;
                    Ok::<usize, crate::case::Stop>(value)
                };
            let device = call(0, &mut |_| open_device())?;
            let device = own(device);
            let area = call(1, &mut |_| ioctl(&device, CREATE_SHARED_MEMORY_AREA, 0))?;
            let area = own(area);
            call(2, &mut |region| register(&area, region))?;
            scene.merge(goal)?;
            call(3, &mut |_| ioctl(&area, REMOVE_MEMORY_REGION, 0))?;
            let frames = pagemap::frames(&scene.region.pagemap()?);
            check!(
                frames.iter().all(|frame| !goal.contains(frame)),
                "pages are still merged after their region was removed"
            );
            scene.region.verify(same)?;
            Ok(reached)
        })?;
    }
    Ok(())
}

pub(super) fn ioctl(fd: &OwnedFd, request: usize, argument: usize) -> io::Result<usize> {
    let fd = fd.as_raw_fd() as usize;
    sys::syscall(libc::SYS_ioctl, [fd, request, argument, 0, 0, 0])
}

/// A descriptor that a system call has just returned.
pub(super) fn own(fd: usize) -> OwnedFd {
    // SAFETY: it is new, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

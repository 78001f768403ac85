// SPDX-License-Identifier: GPL-2.0

//! Pages that others than page tables refer to.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use super::common::{frames_become, joins, merged_crowd, same};
use crate::case::{skip, Bench, Case, Context, Outcome};
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sabotage::{self, Sabotage};
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "pins/io_uring_buffers",
        "pages registered with io_uring are not merged until released",
        registered,
    ),
    Case::new(
        "pins/register_merged",
        "registering merged pages gives the process its own",
        register_merged,
    ),
    Case::new(
        "pins/vmsplice",
        "pages in a pipe are not merged, the pipe keeps its content",
        vmsplice,
    ),
    Case::new(
        "pins/process_vm_writev",
        "writing another process's merged page changes that process only",
        vm_writev,
    ),
    Case::new(
        "pins/direct_read",
        "O_DIRECT reads into pages under merging never get lost",
        direct_read,
    )
    .room(crate::case::Room::Swap),
];

const PAGES: usize = 32;

/// An io_uring, for the pins of its registered buffers.
pub(super) struct Ring(OwnedFd);

impl Ring {
    /// Makes one; skips where there is none.
    pub(super) fn new() -> Outcome<Ring> {
        // struct io_uring_params, all zero: 120 bytes.
        let mut parameters = [0u64; 15];
        let call = sys::syscall(
            libc::SYS_io_uring_setup,
            [1, parameters.as_mut_ptr() as usize, 0, 0, 0, 0],
        );
        match call {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(fd) => Ok(Ring(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
            Err(error) => skip(format!("no io_uring here: {error}")),
        }
    }

    /// `IORING_REGISTER_BUFFERS`: pins the region for long.
    pub(super) fn register(&self, region: &Region) -> Outcome {
        if sabotage::is(Sabotage::NoPin) {
            return Ok(());
        }
        let vector = libc::iovec {
            iov_base: region.addr() as *mut _,
            iov_len: region.len(),
        };
        let vector = std::ptr::from_ref(&vector) as usize;
        sys::syscall(
            libc::SYS_io_uring_register,
            [self.0.as_raw_fd() as usize, 0, vector, 1, 0, 0],
        )
        .context("IORING_REGISTER_BUFFERS")
        .map(drop)
    }
}

fn registered(bench: &Bench) -> Outcome {
    let others = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    let ring = Ring::new()?;
    ring.register(&region)?;
    region.mergeable()?;
    let before = pagemap::frames(&region.pagemap()?);
    bench.ksm.passes(4)?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        before,
        "frames while they are pinned"
    );
    drop(ring);
    joins(
        "the pages are merged once nobody pins them",
        &others[0],
        || region.pagemap(),
    )?;
    region.verify(same)?;
    sharer::finish(others)
}

fn register_merged(bench: &Bench) -> Outcome {
    let others = merged_crowd(bench, 2, PAGES)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    joins("the region is merged", &others[0], || region.pagemap())?;
    let ring = Ring::new()?;
    ring.register(&region)?;
    let pinned = pagemap::frames(&region.pagemap()?);
    check_eq!(
        pagemap::count_flag(&pinned, FLAG_KSM)?,
        0,
        "pinned pages that are merged"
    );
    bench.ksm.passes(4)?;
    check_eq!(
        pagemap::frames(&region.pagemap()?),
        pinned,
        "frames while they are pinned"
    );
    region.fill(|_| 0xd1);
    region.verify(|_| 0xd1)?;
    sharer::finish(others)
}

fn vmsplice(bench: &Bench) -> Outcome {
    const COUNT: usize = 8;
    let others = merged_crowd(bench, 2, COUNT)?;
    let region = Region::map(COUNT)?;
    region.fill(same);
    let mut ends = [0; 2];
    // SAFETY: two ints for two descriptors.
    sys::check(unsafe { libc::pipe(ends.as_mut_ptr()) }.into()).context("pipe")?;
    // SAFETY: both descriptors are new and ours.
    let (mut from, to) = unsafe { (File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    let vector = libc::iovec {
        iov_base: region.addr() as *mut _,
        iov_len: region.len(),
    };
    // SAFETY: one vector over our own region, which lives until the pipe is read.
    let sent = unsafe { libc::vmsplice(to.as_raw_fd(), &vector, 1, 0) };
    check_eq!(sent, region.len() as isize, "bytes sent by vmsplice");
    region.mergeable()?;
    bench.ksm.passes(4)?;
    // Merged or not, the pipe refers to what was in the pages when they were sent.
    let copy = Region::map(COUNT)?;
    // SAFETY: whole pages of our own mapping, nothing else refers to them.
    let bytes = unsafe { std::slice::from_raw_parts_mut(copy.page(0).cast::<u8>(), copy.len()) };
    from.read_exact(bytes).context("reading the pipe")?;
    copy.verify(same)
        .context("content that went through the pipe")?;
    joins(
        "the pages are merged once the pipe is empty",
        &others[0],
        || region.pagemap(),
    )?;
    region.verify(same)?;
    sharer::finish(others)
}

fn vm_writev(bench: &Bench) -> Outcome {
    let mut sharers = Sharer::crowd(2, PAGES, same)?;
    let victim = crate::worker::Worker::start("victim", |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        region.verify(|_| 0xabcd)
    });
    let mut victim = victim?;
    let addr = victim.arrived()? as usize;
    bench.ksm.start()?;
    wait::until("all three are merged", || {
        let frames = pagemap::frames(&pagemap::of(victim.pid(), addr, PAGES)?);
        Ok((
            frames == sharers[0].frames()? && frames == sharers[1].frames()?,
            (),
        ))
    })?;
    let source = Region::map(1)?;
    source.write(0, 0xabcd);
    for index in 0..PAGES {
        let local = libc::iovec {
            iov_base: source.page(0).cast(),
            iov_len: PAGE,
        };
        let remote = libc::iovec {
            iov_base: (addr + index * PAGE) as *mut _,
            iov_len: PAGE,
        };
        // SAFETY: one local page of ours, one page of the child's region.
        let done = unsafe { libc::process_vm_writev(victim.pid(), &local, 1, &remote, 1, 0) };
        check_eq!(done, PAGE as isize, "bytes written by process_vm_writev");
    }
    victim.finish()?;
    sharer::verify(&mut sharers)?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

/// A disk to read from: the swap disk, whose content at the end nobody changes while little is swapped.
fn disk() -> Outcome<String> {
    let swaps = fs::read_to_string("/proc/swaps").context("/proc/swaps")?;
    match swaps.lines().skip(1).find_map(|line| {
        line.split_whitespace()
            .next()
            .filter(|name| name.starts_with("/dev/vd"))
    }) {
        Some(name) => Ok(name.to_owned()),
        None => skip("no swap disk to read from with O_DIRECT"),
    }
}

fn direct_read(bench: &Bench) -> Outcome {
    let path = disk()?;
    let disk = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .context(&path)?;
    let mut others = merged_crowd(bench, 2, PAGES)?;
    bench.ksm.set("sleep_millisecs", 0)?;
    let region = Region::map(PAGES)?;
    region.mergeable()?;
    // The first page of the disk holds the swap signature and the device's size: no page of ours looks like it.
    let expected = Region::map(1)?;
    // SAFETY: one page of our own mapping.
    let bytes = unsafe { std::slice::from_raw_parts_mut(expected.page(0).cast::<u8>(), PAGE) };
    disk.read_exact_at(bytes, 0)
        .context("reading the first page of the disk")?;
    let (bytes, mut rounds) = (&*bytes, 0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        region.fill(same);
        // Let some of the pages become merged, others not.
        std::thread::sleep(Duration::from_millis(rounds % 8 * 10));
        for index in 0..PAGES {
            // SAFETY: one page of our own mapping.
            let place =
                unsafe { std::slice::from_raw_parts_mut(region.page(index).cast::<u8>(), PAGE) };
            disk.read_exact_at(place, 0)
                .context("O_DIRECT read into a page under merging")?;
            check!(
                *place == *bytes,
                "page {index} does not hold what was read, in round {rounds}"
            );
        }
        rounds += 1;
    }
    check!(rounds > 3, "only {rounds} rounds in 5 s");
    sharer::verify(&mut others)?;
    sharer::finish(others)
}

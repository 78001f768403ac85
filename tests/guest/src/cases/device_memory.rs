// SPDX-License-Identifier: GPL-2.0

//! Merged pages that go to the memory of a device, as a GPU's driver has it: the kernel migrates them with what merges
//! them, no CPU can read them there, and whoever touches one gets it back by a fault.

use std::ffi::CString;
use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::common::{frames_become, same, self_check};
use super::takeover;
use crate::case::{fail, skip, Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap::{self, FLAG_KSM};
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys;
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "device/there_and_back",
        "merged pages that a device has are not read meanwhile, and shared when they come back",
        there_and_back,
    ),
    Case::new(
        "device/unmerged_there",
        "MADV_UNMERGEABLE and run 2 bring back what a device has",
        unmerged_there,
    ),
    Case::new(
        "device/moved_there",
        "what a device has comes back for all after mremap, and for a fork whose parent has ended",
        moved_there,
    ),
    Case::new(
        "device/ends_there",
        "processes end or unmap while a device has what they share",
        ends_there,
    ),
];

const PAGES: usize = 64;

/// `HMM_DMIRROR_MIGRATE_TO_DEV` of lib/test_hmm_uapi.h.
const MIGRATE_TO_DEVICE: libc::Ioctl = 0xc028_4802_u32 as libc::Ioctl;

/// `struct hmm_dmirror_cmd`: copies what the device has then to `ptr`.
#[repr(C)]
struct Command {
    addr: u64,
    ptr: u64,
    npages: u64,
    cpages: u64,
    faults: u64,
}

const PATH: &str = "/dev/swapksm-hmm";

/// The device of lib/test_hmm.c, mirroring the calling process.
pub struct Device(File);

impl Device {
    /// One that mirrors the calling process.
    fn open(bench: &Bench) -> Outcome<Device> {
        Device::make(bench)?;
        Device::mirroring()
    }

    /// Loads the driver unless it is there, and makes its file: it stays, as processes that are started later have that
    /// open, too.
    pub fn make(bench: &Bench) -> Outcome {
        const DRIVER: &str = "test_hmm.ko";
        if !bench.ours() {
            return skip("ksmd of the kernel's own reads such pages: an oops in memcmp()");
        }
        if !Path::new(DRIVER).exists() {
            return skip(
                "no driver of a device with memory of its own for this kernel (tests/hmm)",
            );
        }
        match takeover::insmod(DRIVER, c"") {
            None | Some(libc::EEXIST) => {}
            Some(errno) => return fail(format!("cannot load {DRIVER}: error {errno}")),
        }
        let devices = fs::read_to_string("/proc/devices").context("/proc/devices")?;
        let number = devices
            .lines()
            .find_map(|line| line.trim().strip_suffix(" HMM_DMIRROR"));
        let Some(major) = number.and_then(|text| text.parse::<u32>().ok()) else {
            return fail("the driver has no device");
        };
        let path = CString::new(PATH).or_else(|_| fail("a name with a zero byte"))?;
        let _ = fs::remove_file(PATH);
        let (mode, number) = (libc::S_IFCHR | 0o600, libc::makedev(major, 0));
        // SAFETY: a string that outlives the call.
        sys::check(unsafe { libc::mknod(path.as_ptr(), mode, number) }.into())
            .context(PATH)
            .map(drop)
    }

    /// The same where it has been made.
    pub fn mirroring() -> Outcome<Device> {
        let file = File::options().read(true).write(true).open(PATH);
        Ok(Device(file.context(PATH)?))
    }

    /// Moves a region of the calling process there, all of it. The scanner, which may have a page in its hands, stands still.
    fn take(&self, bench: &Bench, region: &Region) -> Outcome {
        bench.ksm.stop()?;
        let copy = Region::map(region.pages())?;
        let mut errno = 0;
        wait::until("all pages are in the device", || {
            errno = self.migrate(region, 0..region.pages(), &copy);
            let there = region
                .pagemap()?
                .iter()
                .filter(|entry| entry.swapped())
                .count();
            Ok((there == region.pages(), (errno, there)))
        })?;
        match errno {
            0 => copy.verify(same).context("what the device has"),
            // Some had come before, and the driver has forgotten where.
            libc::ENOENT => Ok(()),
            _ => fail(format!("HMM_DMIRROR_MIGRATE_TO_DEV: error {errno}")),
        }
    }

    /// Asks for pages of a region, and for a copy of what the device has then; an errno, or 0.
    pub fn migrate(&self, region: &Region, pages: Range<usize>, copy: &Region) -> i32 {
        assert!(pages.len() <= copy.pages(), "no room for the copy");
        let mut command = Command {
            addr: region.page(pages.start) as u64,
            ptr: copy.addr() as u64,
            npages: pages.len() as u64,
            cpages: 0,
            faults: 0,
        };
        // SAFETY: the driver writes to the command and to `copy`, which has room for as many pages.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), MIGRATE_TO_DEVICE, &raw mut command) };
        sys::check(done.into()).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
    }
}

/// A region of ours, merged with that of others.
fn merged(bench: &Bench, others: usize) -> Outcome<(Region, Vec<Sharer>)> {
    let sharers = Sharer::crowd(others, PAGES, same)?;
    let region = Region::map(PAGES)?;
    region.fill(same);
    region.mergeable()?;
    bench.ksm.start()?;
    bench
        .ksm
        .counter_becomes("pages_sharing", (others * PAGES) as i64)?;
    frames_become(&sharers, PAGES)?;
    Ok((region, sharers))
}

fn there_and_back(bench: &Bench) -> Outcome {
    let device = Device::open(bench)?;
    let (region, mut sharers) = merged(bench, 2)?;
    device.take(bench, &region)?;
    check_eq!(
        sharer::frames(&sharers)?.len(),
        0,
        "pages that others have in memory"
    );
    // The scanner meets equal pages meanwhile.
    bench.ksm.start()?;
    sharers.push(Sharer::start(PAGES, same)?);
    bench.ksm.passes(3)?;
    self_check(&bench.ksm)?;
    sharers[2].verify()?;
    // One reads, one writes, the others come later.
    sharers[0].verify()?;
    for index in 0..PAGES {
        sharers[1].write(index, 0x4400 + index as u64)?;
    }
    region.verify(same)?;
    sharer::verify(&mut sharers)?;
    for index in 0..PAGES {
        sharers[1].write(index, same(index))?;
    }
    frames_become(&sharers, PAGES)?;
    self_check(&bench.ksm)?;
    sharer::finish(sharers)
}

/// A sharer that is no longer one would be in nobody's reverse mapping: the page could not come back for the others.
fn unmerged_there(bench: &Bench) -> Outcome {
    let device = Device::open(bench)?;
    let (region, mut sharers) = merged(bench, 3)?;
    device.take(bench, &region)?;
    sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    let merged = pagemap::count_flag(&sharers[0].frames()?, FLAG_KSM)?;
    check_eq!(merged, 0, "merged pages of who wants none");
    sharers[1].verify()?;
    device.take(bench, &region)?;
    bench.ksm.set("run", 2)?;
    bench.ksm.counter_becomes("pages_shared", 0)?;
    region.verify(same)?;
    sharer::verify(&mut sharers)?;
    let frames = sharer::frames(&sharers)?;
    check_eq!(
        pagemap::count_flag(&frames, FLAG_KSM)?,
        0,
        "merged pages after run 2"
    );
    sharer::finish(sharers)
}

/// Their mappings are new to the scanner, and must be in the reverse mapping when somebody wants the page back.
fn moved_there(bench: &Bench) -> Outcome {
    let device = Device::open(bench)?;
    let (region, mut sharers) = merged(bench, 2)?;
    device.take(bench, &region)?;
    let moved = region.move_away(PAGES)?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    self_check(&bench.ksm)?;
    sharers[0].verify()?;
    moved.verify(same)?;
    frames_become(&sharers, PAGES)?;
    device.take(bench, &moved)?;
    // A fork of what is there.
    let fork = Sharer::over(&moved, (0..PAGES).map(same).collect())?;
    drop(moved);
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    self_check(&bench.ksm)?;
    sharers[1].verify()?;
    sharers.push(fork);
    sharer::verify(&mut sharers)?;
    frames_become(&sharers, PAGES)?;
    sharer::finish(sharers)
}

fn ends_there(bench: &Bench) -> Outcome {
    let device = Device::open(bench)?;
    let (region, mut sharers) = merged(bench, 3)?;
    device.take(bench, &region)?;
    bench.ksm.start()?;
    drop(sharers.remove(0));
    bench.ksm.passes(2)?;
    self_check(&bench.ksm)?;
    sharers[0].verify()?;
    frames_become(&sharers, PAGES)?;
    device.take(bench, &region)?;
    bench.ksm.start()?;
    drop(region);
    bench.ksm.passes(2)?;
    sharer::verify(&mut sharers)?;
    frames_become(&sharers, PAGES)?;
    sharers[0].advise(0, PAGES, libc::MADV_UNMERGEABLE)?;
    sharer::finish(sharers)?;
    bench.ksm.counter_becomes("pages_shared", 0)
}

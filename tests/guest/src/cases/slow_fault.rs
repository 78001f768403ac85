// SPDX-License-Identifier: GPL-2.0

//! A process whose page fault lasts as long as it likes, with the lock of a mapping: nobody else waits for it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use super::common::{frames_become, merged_crowd, same};
use super::takeover::Helper;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};
use crate::wait;
use crate::worker::{Steps, Worker};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "abuse/slow_fault",
    "a process that waits for a file system with a mapping locked keeps nobody else from being merged",
    slow_fault,
)
.room(Room::Plain)
.seconds(180)];

const PAGES: usize = 32;
const DEVICE: &str = "/dev/swapksm-slowfault";
const PARAMETERS: &str = "/sys/module/slowfault/parameters";

/// How many are in a page fault that lasts.
fn faults() -> Outcome<i64> {
    procfs::number(&format!("{PARAMETERS}/waiting"))
}

/// All who wait go on when it is dropped.
struct Waiting;

impl Waiting {
    fn end(&self) -> Outcome {
        let file = format!("{PARAMETERS}/let_go");
        fs::write(&file, "1").context(file)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Opens pages to merging while another of its threads is in a page fault that lasts.
fn stuck(steps: &mut Steps) -> Outcome {
    let region = Region::map(PAGES)?;
    region.fill(same);
    let file = File::options().read(true).write(true).open(DEVICE);
    let file = file.context(DEVICE)?;
    let fd = file.as_raw_fd() as usize;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    let slow = sys::syscall(
        libc::SYS_mmap,
        [0, PAGE, protection as usize, flags as usize, fd, 0],
    )
    .context("mmap")?;
    // SAFETY: it was just mapped.
    unsafe { (slow as *const u8).read_volatile() };
    let writer = std::thread::spawn(move || {
        // SAFETY: as above; it stays until the process ends.
        unsafe { (slow as *mut u8).write_volatile(1) }
    });
    wait::until("the page fault lasts", || {
        let waiting = faults()?;
        Ok((waiting > 0, waiting))
    })?;
    region.mergeable()?;
    steps.step(region.addr() as u64)?;
    if writer.join().is_err() {
        return fail("the thread with the page fault panicked");
    }
    region.verify(same)?;
    steps.step(0).map(drop)
}

fn slow_fault(bench: &Bench) -> Outcome {
    let _driver = Helper::load(c"slowfault", c"")?;
    let mut worker = Worker::start("process whose page fault lasts", stuck)?;
    let waiting = Waiting;
    let addr = worker.arrived()? as usize;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    bench.ksm.passes(2)?;
    // Whoever wants the engine gets it.
    bench.ksm.set("run", 2)?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    bench.ksm.start()?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES)?;
    check_eq!(faults()?, 1, "page faults that last");
    waiting.end()?;
    worker.step(0)?;
    let merged = || -> Outcome<bool> {
        let own = pagemap::frames(&pagemap::of(worker.pid(), addr, PAGES)?);
        Ok(own == sharers[0].frames()?)
    };
    wait::until("its pages are merged when the page fault is over", || {
        Ok((merged()?, ()))
    })?;
    check!(faults()? == 0, "a page fault lasts still");
    worker.finish()?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

// SPDX-License-Identifier: GPL-2.0

//! A process whose page fault lasts as long as it likes, with the lock of a mapping: nobody else waits for it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

use kvm_ioctls::Kvm;

use super::common::{frames_become, merged_crowd, same};
use super::takeover::Helper;
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::ksm::Ksm;
use crate::kvm::machine;
use crate::pagemap;
use crate::procfs;
use crate::region::Region;
use crate::sharer::{self, Sharer};
use crate::sys::{self, PAGE};
use crate::wait;
use crate::worker::{Steps, Worker};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "abuse/slow_fault",
        "a process that waits for a file system with its mappings locked keeps nobody else from being merged",
        slow_fault,
    )
    .room(Room::Plain)
    .seconds(180),
    Case::new(
        "abuse/slow_start",
        "a KVM guest whose start waits for a file system keeps nobody else from being merged",
        slow_start,
    )
    .room(Room::Kvm)
    .seconds(180),
];

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

/// A page whose first write lasts.
struct SlowPage {
    addr: usize,
    writer: JoinHandle<()>,
}

impl SlowPage {
    /// Maps it, and begins to write to it.
    fn begin() -> Outcome<SlowPage> {
        let file = File::options().read(true).write(true).open(DEVICE);
        let file = file.context(DEVICE)?;
        let fd = file.as_raw_fd() as usize;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let addr = sys::syscall(
            libc::SYS_mmap,
            [0, PAGE, protection as usize, flags as usize, fd, 0],
        )
        .context("mmap")?;
        // SAFETY: it was just mapped.
        unsafe { (addr as *const u8).read_volatile() };
        let writer = thread::spawn(move || {
            // SAFETY: as above; it stays until the process ends.
            unsafe { (addr as *mut u8).write_volatile(1) }
        });
        wait::until("the page fault lasts", || {
            let waiting = faults()?;
            Ok((waiting > 0, waiting))
        })?;
        Ok(SlowPage { addr, writer })
    }

    /// Waits for the end of the write.
    fn end(self) -> Outcome {
        join(self.writer)
    }
}

/// Waits for a thread.
fn join<T>(thread: JoinHandle<T>) -> Outcome<T> {
    thread
        .join()
        .or_else(|_| fail("a thread that should have waited panicked"))
}

/// Waits until so many threads of a process wait where no signal reaches them.
fn threads_wait(pid: i32, count: usize) -> Outcome {
    wait::until(&format!("{count} threads wait"), || {
        let mut waiting = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("its threads")? {
            let stat = task.context("a thread")?.path().join("stat");
            let text = fs::read_to_string(&stat).context(stat.display())?;
            waiting += usize::from(text.contains(") D "));
        }
        Ok((waiting == count, waiting))
    })
}

/// Opens pages to merging while another of its threads is in a page fault that lasts; then a third waits for that one with
/// the lock of the mm.
fn stuck(steps: &mut Steps) -> Outcome {
    let region = Region::map(PAGES)?;
    region.fill(same);
    let slow = SlowPage::begin()?;
    region.mergeable()?;
    steps.step(region.addr() as u64)?;
    let addr = slow.addr;
    let changer = thread::spawn(move || sys::madvise(addr, PAGE, libc::MADV_DONTFORK));
    steps.step(0)?;
    slow.end()?;
    join(changer)?.context("MADV_DONTFORK")?;
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

    worker.step(0)?;
    threads_wait(worker.pid(), 2)?;
    bench.ksm.passes(2)?;
    // Unmerging all has to wait for the process; it has the engine meanwhile no more than the process has.
    let unmerging = thread::spawn(|| Ksm.try_set("run", "2"));
    bench.ksm.counter_becomes("run", 2)?;
    let asking = thread::spawn(|| Ksm.text("nodes_swapped"));
    wait::until("who wants the engine has it", || {
        Ok((asking.is_finished(), ()))
    })?;
    join(asking)??;
    check!(
        !unmerging.is_finished(),
        "all was unmerged without the process's lock"
    );
    check_eq!(faults()?, 1, "page faults that last");
    waiting.end()?;
    join(unmerging)?.context("writing 2 to run")?;
    bench.ksm.counter_becomes("pages_sharing", 0)?;
    frames_become(&sharers, 3 * PAGES)?;
    bench.ksm.start()?;

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

/// Starts a KVM guest while another of its threads is in a page fault that lasts: KVM wants all invalidations, and waits
/// with a lock that all who want them need.
fn starting(steps: &mut Steps) -> Outcome {
    let slow = SlowPage::begin()?;
    let starter = thread::spawn(|| Kvm::new().and_then(|kvm| kvm.create_vm()));
    steps.step(0)?;
    slow.end()?;
    match join(starter)? {
        Ok(_) => Ok(()),
        Err(error) => fail(format!("KVM_CREATE_VM: {error}")),
    }
}

fn slow_start(bench: &Bench) -> Outcome {
    machine::available()?;
    let _driver = Helper::load(c"slowfault", c"")?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let mut worker = Worker::start("process that starts a KVM guest", starting)?;
    let waiting = Waiting;
    worker.arrived()?;
    threads_wait(worker.pid(), 2)?;
    // Nobody can be told of its invalidations now; those who are told already are merged.
    sharers.push(Sharer::start(PAGES, same)?);
    bench.ksm.passes(2)?;
    for sharer in &mut sharers[..2] {
        sharer.write(0, 0x510)?;
    }
    frames_become(&sharers[..2], PAGES)?;
    frames_become(&sharers, 2 * PAGES)?;
    check_eq!(faults()?, 1, "page faults that last");
    waiting.end()?;
    // The last one's first page has still its own content.
    frames_become(&sharers, PAGES + 1)?;
    worker.finish()?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)
}

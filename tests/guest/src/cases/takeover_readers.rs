// SPDX-License-Identifier: GPL-2.0

//! Files that are read without a pause while swapksm comes and goes.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::{frames_become, merged_crowd};
use super::swapping::Crowd;
use super::takeover::{begin, load, remove, unload, PATCH};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::ksm::DIRECTORY;
use crate::procfs::KERNELS_KEYS;
use crate::sharer::{self, Sharer};
use crate::wait;
use crate::worker::Worker;

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "takeover/readers",
        "ksm_stat of merged processes is read without a pause while swapksm is loaded and unloaded",
        readers,
    )
    .room(Room::Takeover)
    .seconds(300),
    Case::new(
        "takeover/waiting_for_sync",
        "processes that wait for what is pending go on when it is done by who hands back",
        waiting_for_sync,
    )
    .room(Room::Takeover)
    .seconds(600),
];

const PAGES: usize = 128;
const CYCLES: usize = 5;

/// Who wrote what was read.
#[derive(Default)]
struct Reads {
    kernel: u64,
    swapksm: u64,
}

impl Reads {
    /// One text: all of the kernel's lines, then none or all of ours.
    fn add(&mut self, text: &str) -> Outcome {
        let lines: Vec<&str> = text.lines().collect();
        let is_whole = lines.len() >= KERNELS_KEYS.len()
            && lines
                .iter()
                .zip(KERNELS_KEYS)
                .all(|(line, key)| line.starts_with(key));
        let ours = lines.get(KERNELS_KEYS.len()..).unwrap_or_default();
        let are_ours = ours.iter().all(|line| line.starts_with("swapksm_"));
        check!(is_whole && are_ours, "ksm_stat says {text:?}");
        match ours {
            [] => self.kernel += 1,
            [.., last] if last.starts_with("swapksm_swapin_miss_hash ") => self.swapksm += 1,
            _ => return fail(format!("ksm_stat is cut: {text:?}")),
        }
        Ok(())
    }
}

fn readers(bench: &Bench) -> Outcome {
    begin()?;
    let mut crowd = Crowd::merged(bench, 3, PAGES)?;
    let pids: Vec<i32> = crowd.sharers.iter().map(Sharer::pid).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Outcome<Reads> {
            let mut reads = Reads::default();
            while !over.load(Ordering::Relaxed) {
                for pid in &pids {
                    let path = format!("/proc/{pid}/ksm_stat");
                    reads.add(&fs::read_to_string(&path).context(&path)?)?;
                }
            }
            Ok(reads)
        });
        let cycles = (0..CYCLES)
            .try_for_each(|number| cycle(bench, &mut crowd).context(format!("cycle {number}")));
        over.store(true, Ordering::Relaxed);
        let reads = match reader.join() {
            Ok(reads) => reads?,
            Err(_) => return fail("the reader panicked"),
        };
        cycles?;
        check!(
            reads.kernel > 0 && reads.swapksm > 0,
            "{} reads of the kernel's file, {} of swapksm's",
            reads.kernel,
            reads.swapksm
        );
        Ok(())
    })?;
    crowd.finish()
}

/// Loaded, merged, pushed out, unloaded, read back.
fn cycle(bench: &Bench, crowd: &mut Crowd) -> Outcome {
    load()?;
    bench.ksm.start()?;
    frames_become(&crowd.sharers, PAGES)?;
    bench.ksm.stop()?;
    crowd.push_out()?;
    unload()?;
    crowd.verify()
}

/// Handing back ends what is still merged, in its own context, after the reaper has gone to sleep; then it takes the files
/// away, which waits for who reads one of them.
fn waiting_for_sync(bench: &Bench) -> Outcome {
    /// Processes whose pages there are to end, and pages of each: what that takes is when readers come.
    const PROCESSES: usize = 4;
    const PAGES: usize = 2048;
    const READERS: usize = 3;
    begin()?;
    for number in 0..CYCLES {
        load()?;
        let mut sharers = merged_crowd(bench, PROCESSES, PAGES)?;
        let readers: Vec<Worker> = (0..READERS).map(|_| reader()).collect::<Outcome<_>>()?;
        let asked = fs::write(format!("{PATCH}/enabled"), "0");
        let gone = wait::until("swapksm has handed back", || {
            Ok((!Path::new(PATCH).exists(), ()))
        });
        // A signal ends their waiting, and so lets everybody go on.
        drop(readers);
        asked.context("writing 0 to enabled")?;
        gone.context(format!("cycle {number}"))?;
        remove(c"swapksm")?;
        sharer::verify(&mut sharers)?;
        sharer::finish(sharers)?;
    }
    Ok(())
}

/// A process that reads `sync` again and again, until it is dropped.
fn reader() -> Outcome<Worker> {
    let mut worker = Worker::start("reader of sync", |steps| {
        steps.step(0)?;
        loop {
            // It comes and goes.
            let _ = fs::read(format!("{DIRECTORY}/sync"));
        }
    })?;
    worker.arrived()?;
    worker.go(0)?;
    Ok(worker)
}

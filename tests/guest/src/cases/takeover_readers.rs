// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/ksm_stat` while swapksm comes and goes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::common::frames_become;
use super::swapping::Crowd;
use super::takeover::{begin, load, unload};
use crate::case::{fail, Bench, Case, Context, Outcome, Room};
use crate::check;
use crate::procfs::KERNELS_KEYS;
use crate::sharer::Sharer;

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "takeover/readers",
    "ksm_stat of merged processes is read without a pause while swapksm is loaded and unloaded",
    readers,
)
.room(Room::Takeover)
.seconds(300)];

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

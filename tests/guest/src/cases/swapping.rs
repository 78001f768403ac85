// SPDX-License-Identifier: GPL-2.0

//! Steps that the swap cases have in common.

use std::fs;

use super::common::{merged_crowd_in, same};
use crate::case::{skip, Bench, Context, Outcome};
use crate::cgroup::Group;
use crate::check_eq;
use crate::procfs;
use crate::region::Region;
use crate::setting::Setting;
use crate::sharer::{self, Sharer};
use crate::sys::PAGE;
use crate::wait;

/// Processes with equal merged pages in a control group of their own.
pub struct Crowd {
    /// The processes; they end before the group goes.
    pub sharers: Vec<Sharer>,
    group: Group,
    pages: usize,
}

impl Crowd {
    /// Starts `count` processes of `pages` equal pages, merged; the scanner is stopped afterwards.
    pub fn merged(bench: &Bench, count: usize, pages: usize) -> Outcome<Crowd> {
        Crowd::merged_in(bench, count, pages, || Region::map(pages))
    }

    /// The same over regions that `map` makes.
    pub fn merged_in(
        bench: &Bench,
        count: usize,
        pages: usize,
        map: impl Fn() -> Outcome<Region>,
    ) -> Outcome<Crowd> {
        Crowd::around(bench, pages, || merged_crowd_in(bench, count, pages, map))
    }

    /// The same with processes that `start` starts, each with `pages` pages, and has merged.
    pub fn around(
        bench: &Bench,
        pages: usize,
        start: impl FnOnce() -> Outcome<Vec<Sharer>>,
    ) -> Outcome<Crowd> {
        device()?;
        let group = Group::enter("swap")?;
        let sharers = start()?;
        bench.ksm.stop()?;
        Ok(Crowd {
            sharers,
            group,
            pages,
        })
    }

    /// All pages of all processes.
    pub fn all(&self) -> usize {
        self.sharers.len() * self.pages
    }

    /// The control group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The control group, and the processes.
    pub fn parts(&mut self) -> (&Group, &mut [Sharer]) {
        (&self.group, &mut self.sharers)
    }

    /// Pushes everything out.
    pub fn push_out(&self) -> Outcome {
        self.push_out_to(self.all())
    }

    /// Pushes pages out until `goal` page-table entries name swap.
    pub fn push_out_to(&self, goal: usize) -> Outcome {
        wait::until(
            &format!("{goal} of {} pages are swapped out", self.all()),
            || {
                let out = sharer::swapped(&self.sharers)?;
                if out < goal {
                    let merged = (goal - out).div_ceil(self.sharers.len());
                    self.group.reclaim(merged.max(32) * PAGE)?;
                }
                let out = sharer::swapped(&self.sharers)?;
                Ok((out >= goal, out))
            },
        )
    }

    /// Pushes everything out, of the swap cache too, where pages stay that are being written. Only ours can tell.
    pub fn push_all_out(&self, bench: &Bench, goal: usize) -> Outcome {
        self.push_out_to(goal)?;
        wait::until("no merged page is in memory any more", || {
            self.group.reclaim(self.pages * PAGE)?;
            let (nodes, pages) = (
                bench.ksm.number("nodes_swapped")?,
                bench.ksm.number("pages_shared")?,
            );
            Ok((nodes == pages, format!("{nodes} of {pages}")))
        })
    }

    /// Lets every process compare its pages byte by byte, which brings them in.
    pub fn verify(&mut self) -> Outcome {
        sharer::verify(&mut self.sharers)
    }

    /// The processes alone; the group stays until they have ended.
    pub fn into_sharers(self) -> Vec<Sharer> {
        self.sharers
    }

    /// Ends all processes after a last comparison.
    pub fn finish(self) -> Outcome {
        sharer::finish(self.sharers)
    }
}

/// Name of the swap device in use; skips without one.
pub fn device() -> Outcome<String> {
    let swaps = fs::read_to_string("/proc/swaps").context("/proc/swaps")?;
    match swaps
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().next())
    {
        Some(name) => Ok(name.to_owned()),
        None => skip("no swap is on"),
    }
}

/// Sets `vm.page-cluster`: how many pages, as a power of two, are read at once.
pub fn page_cluster(value: u32) -> Outcome<Setting> {
    Setting::set("/proc/sys/vm/page-cluster", value)
}

/// Has all CPUs put the pages they have just got on the lists that reclaim takes from: whatever merged a page may have
/// done so on another CPU.
pub fn drain_lru() -> Outcome {
    const COMPACT: &str = "/proc/sys/vm/compact_memory";
    fs::write(COMPACT, "1").context(COMPACT)
}

/// Whether zswap takes what goes to swap.
pub fn zswap() -> bool {
    let text = fs::read_to_string("/sys/module/zswap/parameters/enabled");
    text.is_ok_and(|text| text.trim() == "Y")
}

/// Skips unless a page that went to swap leaves memory at once: a disk's stay in the swap cache until they are written,
/// and after that until reclaim comes by again.
pub fn synchronous() -> Outcome {
    if zswap() || device()?.contains("zram") {
        return Ok(());
    }
    skip("this swap device writes in the background")
}

/// How often something has happened at swap-in, to all and to one process.
pub struct SwapIns {
    file: &'static str,
    pid: i32,
    all: i64,
    own: i64,
}

impl SwapIns {
    /// Reads what `file` of sysfs says, and the same line of the process.
    pub fn now(bench: &Bench, file: &'static str, pid: i32) -> Outcome<SwapIns> {
        Ok(SwapIns {
            file,
            pid,
            all: bench.ksm.number(file)?,
            own: procfs::ksm_stat(pid, &format!("swapksm_{file}"))?,
        })
    }

    /// What came since: of all processes, which must all be this one's.
    pub fn since(&self, bench: &Bench) -> Outcome<i64> {
        let now = SwapIns::now(bench, self.file, self.pid)?;
        let (all, own) = (now.all - self.all, now.own - self.own);
        check_eq!(own, all, "{} of the process, and of all", self.file);
        Ok(all)
    }
}

/// Starts one more process of the same content, opened to merging.
pub fn newcomer(pages: usize) -> Outcome<Sharer> {
    Sharer::start(pages, same)
}

// SPDX-License-Identifier: GPL-2.0

//! Unprivileged processes that make merging as hard as they can: the others are merged all the same, and the kernel's
//! memory stays theirs and comes back.

use std::time::{Duration, Instant};

use super::common::{frames_become, same};
use super::takeover::slab;
use crate::case::{Bench, Case, Context, Outcome};
use crate::cgroup::Group;
use crate::check;
use crate::ktap;
use crate::procfs;
use crate::region::Region;
use crate::runner;
use crate::sharer::{self, Sharer};
use crate::slow;
use crate::sys::{self, HUGE, PAGE};
use crate::wait;
use crate::worker::{Steps, Worker};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "abuse/sparse_mapping",
        "a mergeable mapping of 32 TiB neither stalls the scanner nor takes memory",
        sparse_mapping,
    )
    .seconds(240),
    Case::new(
        "abuse/memory_limit",
        "what is kept for a process that touches a page here and there stays below its cgroup's limit and comes back",
        memory_limit,
    )
    .seconds(240),
    Case::new(
        "abuse/many_mappings",
        "a million mergeable mappings do not stall the scanner",
        many_mappings,
    )
    .seconds(900),
    Case::new(
        "abuse/register_and_die",
        "processes that become mergeable and die in a loop do not stall the scanner, and nothing is left of them",
        register_and_die,
    )
    .seconds(300),
    Case::new(
        "abuse/restless_mappings",
        "a process that changes its mappings all the time does not stall the scanner",
        restless,
    )
    .seconds(240),
    Case::new(
        "abuse/equal_hashes",
        "pages made to have the hash of others' pages do not keep these from being merged",
        equal_hashes,
    ),
];

/// Pages that each of two honest processes has.
const PAGES: usize = 128;
/// Passes of the scanner in which two honest processes must be merged: one that was under way when they came, one for the
/// first look at their pages, one to merge them, one more for pages that wait in a per-CPU batch, and one that ends
/// before this is noticed.
const PASSES: i64 = 5;
/// Pause between two passes: long, so that few go by between two looks at the page tables.
const PAUSE_MS: u64 = 100;
/// Bytes of memory that anything else in the machine may take or give back meanwhile.
const NOISE: i64 = 24 << 20;

/// A user who may do nothing special.
const NOBODY: u32 = 65534;

/// Makes the calling process that user's.
pub fn become_nobody() -> Outcome {
    // SAFETY: plain system calls.
    sys::check(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }.into()).context("setresgid")?;
    // SAFETY: as above.
    sys::check(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }.into()).context("setresuid")?;
    Ok(())
}

/// Starts a process of that user.
pub fn unprivileged(name: &str, body: impl FnOnce(&mut Steps) -> Outcome) -> Outcome<Worker> {
    Worker::start(name, |steps| {
        become_nobody()?;
        body(steps)
    })
}

/// Bytes of memory that are free or could be. An idle CPU keeps some tens of MiB of free pages that nobody counts as free.
fn available() -> Outcome<i64> {
    let available = procfs::field("/proc/meminfo", "MemAvailable")? << 10;
    Ok(available + procfs::pages_on_cpus()? * PAGE as i64)
}

/// Two honest processes come and are merged within [`PASSES`], although `others` pages are there to be scanned, too.
pub fn honest_are_merged(bench: &Bench, others: i64) -> Outcome {
    bench.ksm.set("sleep_millisecs", PAUSE_MS)?;
    let sharers = Sharer::crowd(2, PAGES, same)?;
    let [passes, scanned] = [
        bench.ksm.number("full_scans")?,
        bench.ksm.number("pages_scanned")?,
    ];
    frames_become(&sharers, PAGES).context("honest processes")?;
    let passes = bench.ksm.number("full_scans")? - passes;
    let scanned = bench.ksm.number("pages_scanned")? - scanned;
    check!(
        passes <= PASSES,
        "it took {passes} passes until honest processes were merged, at most {PASSES} are expected"
    );
    // Every second pass may go uncounted while there are new processes all the time.
    let most = (2 * passes + 2) * (others + 2 * PAGES as i64);
    check!(
        scanned <= most,
        "it took {scanned} pages scanned until honest processes were merged, at most {most} are expected"
    );
    let start = Instant::now();
    bench.ksm.stop()?;
    bench.ksm.sync()?;
    let took = start.elapsed();
    check!(
        took < wait::patience(),
        "it took {took:?} to stop the scanner"
    );
    bench.ksm.start()?;
    sharer::finish(sharers)
}

/// Waits until the machine has as much memory as `before`, but for [`NOISE`].
fn memory_returns(before: i64) -> Outcome {
    wait::until("memory comes back", || {
        let missing = before - available()?;
        Ok((
            missing < NOISE,
            format!("{} KiB are missing", missing >> 10),
        ))
    })
}

/// Maps `len` bytes of which nothing is reserved.
fn map_sparse(len: usize) -> Outcome<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping that replaces none.
    let addr = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    let addr = sys::check(addr as libc::c_long).context(format!("mmap of {len} bytes"))?;
    sys::madvise(addr, len, libc::MADV_NOHUGEPAGE).context("MADV_NOHUGEPAGE")?;
    Ok(addr)
}

/// Writes a word to the page at `addr`.
fn touch(addr: usize, word: u64) {
    // SAFETY: callers name pages of mappings of their own.
    unsafe { (addr as *mut u64).write_volatile(word) };
}

/// Maps `count` times `step` bytes, mergeable, and writes its number, from 1, to the first page of each. Returns the address.
pub fn map_touched(count: usize, step: usize) -> Outcome<usize> {
    let addr = map_sparse(count * step)?;
    sys::madvise(addr, count * step, libc::MADV_MERGEABLE).context("MADV_MERGEABLE")?;
    for index in 0..count {
        touch(addr + index * step, index as u64 + 1);
    }
    Ok(addr)
}

fn sparse_mapping(bench: &Bench) -> Outcome {
    const SPAN: usize = 32 << 40;
    const TOUCHED: usize = 256;
    let memory = available()?;
    let group = Group::enter("abuse")?;
    let mut abuser = unprivileged("process with a sparse mapping", |steps| {
        map_touched(TOUCHED, SPAN / TOUCHED)?;
        steps.step(0).map(drop)
    })?;
    abuser.arrived()?;
    group.leave()?;
    let kernel = group.stat("kernel")?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    honest_are_merged(bench, TOUCHED as i64)?;
    // 20 KiB for 2 MiB in which a page is touched, and a little for all.
    let grown = group.stat("kernel")? - kernel;
    let most = TOUCHED as i64 * (24 << 10) + (1 << 20);
    runner::log(&format!(
        "kernel memory of the group grew by {} KiB",
        grown >> 10
    ));
    check!(
        grown <= most,
        "scanning {TOUCHED} pages took {grown} bytes of kernel memory, at most {most} are expected"
    );
    abuser.finish()?;
    memory_returns(memory)
}

fn memory_limit(bench: &Bench) -> Outcome {
    const LIMIT: i64 = 64 << 20;
    /// 16 MiB of pages, 16 MiB of page tables, 80 MiB of items.
    const TOUCHED: usize = 4096;
    let memory = available()?;
    let group = Group::enter("abuse")?;
    group.set("memory.max", LIMIT)?;
    let mut abuser = unprivileged("process that touches a page here and there", |steps| {
        let addr = map_touched(TOUCHED, HUGE)?;
        steps.step(0)?;
        for index in 0..TOUCHED {
            // SAFETY: written above.
            let word = unsafe { ((addr + index * HUGE) as *const u64).read_volatile() };
            check!(word == index as u64 + 1, "WRONG CONTENT of page {index}");
        }
        Ok(())
    })?;
    abuser.arrived()?;
    // The honest ones are in no group of limits.
    group.leave()?;
    bench.ksm.start()?;
    bench.ksm.passes(2)?;
    honest_are_merged(bench, TOUCHED as i64)?;
    let missing = memory - available()?;
    let charged = group.number("memory.current")?;
    runner::log(&format!(
        "{} KiB charged, {} KiB missing in the machine",
        charged >> 10,
        missing >> 10
    ));
    check!(
        charged <= LIMIT,
        "{charged} bytes are charged to a group that may have {LIMIT}"
    );
    check!(
        missing <= LIMIT + NOISE,
        "{missing} bytes are missing in the machine, the group may have {LIMIT}"
    );
    abuser.finish().context("the process at its limit")?;
    wait::until("the group has next to nothing", || {
        let kernel = group.stat("kernel")?;
        Ok((kernel < 2 << 20, kernel))
    })?;
    memory_returns(memory)
}

/// Mappings of all processes of `abuse/many_mappings`: fewer where the kernel keeps notes on each object.
fn million() -> usize {
    1_000_000 / slow::factor() as usize
}
/// What one process has of them: a little less than an unprivileged user may have (`vm.max_map_count`).
const EACH: usize = 62_500;

/// Makes [`EACH`] mergeable mappings; some pages are touched. Returns how many.
fn shatter() -> Outcome<usize> {
    const TOUCH_EVERY: usize = 256;
    // Every other huge page's first page differs from what surrounds it, and so does what is between two of those.
    let base = map_sparse((EACH + 1) * HUGE)?;
    sys::madvise(base, (EACH + 1) * HUGE, libc::MADV_MERGEABLE).context("MADV_MERGEABLE")?;
    let mut touched = 0;
    for count in 0..EACH / 2 {
        let addr = base + (2 * count + 1) * HUGE;
        if count % TOUCH_EVERY == 0 {
            touch(addr, count as u64 + 1);
            touched += 1;
        }
        // SAFETY: a page of our own mapping, which nobody writes to again.
        sys::check(unsafe { libc::mprotect(addr as *mut _, PAGE, libc::PROT_READ) }.into())
            .context("mprotect")?;
    }
    Ok(touched)
}

/// A process that stays as long as its parent does.
fn idle_copy() -> Outcome<i32> {
    if let Some(pid) = sys::fork().context("fork")? {
        return Ok(pid);
    }
    // Whoever outlives the parent is killed with the case's process group.
    let _ = sys::prctl(libc::PR_SET_PDEATHSIG, [libc::SIGKILL as u64, 0, 0, 0]);
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

fn many_mappings(bench: &Bench) -> Outcome {
    let memory = available()?;
    let before = slab("vm_area_struct")?;
    let copies = million() / EACH - 1;
    let mut abuser = unprivileged("process with many mappings", |steps| {
        let touched = shatter()?;
        let mut pids = Vec::new();
        for _ in 0..copies {
            pids.push(idle_copy()?);
        }
        steps.step((touched * (1 + copies)) as u64)?;
        for pid in pids {
            sys::kill(pid, libc::SIGKILL);
            sys::waitpid(pid, false).context("waitpid")?;
        }
        Ok(())
    })?;
    // As long as the machine needs for it; the case's own limit is longer.
    let touched = abuser.arrived_within(slow::limit(Duration::from_secs(600)))?;
    let made = (1 + copies) * EACH;
    if let (Some(before), Some(now)) = (before, slab("vm_area_struct")?) {
        check!(
            now - before >= made as i64,
            "{made} mappings were to be made, and the kernel has {} more",
            now - before
        );
    }
    ktap::tell(&format!(
        "{made} mergeable mappings of {} processes",
        1 + copies
    ));
    bench.ksm.start()?;
    honest_are_merged(bench, touched as i64)?;
    let start = Instant::now();
    abuser.finish()?;
    runner::log(&format!("the processes ended in {:?}", start.elapsed()));
    memory_returns(memory)
}

/// Objects in use of the caches that a mergeable process has something in.
fn objects() -> Outcome<Vec<(&'static str, i64)>> {
    const CACHES: [&str; 7] = [
        "mm_struct",
        "anon_vma",
        "swapksm_space",
        "swapksm_chunk",
        "swapksm_sharer",
        "ksm_rmap_item",
        "ksm_mm_slot",
    ];
    let mut found = Vec::new();
    for name in CACHES {
        if let Some(count) = slab(name)? {
            found.push((name, count));
        }
    }
    Ok(found)
}

fn register_and_die(bench: &Bench) -> Outcome {
    const LOOPS: usize = 2;
    const MAPPED: usize = 16;
    /// What ordinary activity may add.
    const SLACK: i64 = 60;
    // What is allocated once.
    sharer::finish(super::common::merged_crowd(bench, 2, PAGES)?)?;
    bench.ksm.sync()?;
    let memory = available()?;
    let before = objects()?;
    let group = Group::enter("abuse")?;
    let limit = Duration::from_secs(bench.stress_seconds.min(20));
    let mut abusers = Vec::new();
    for number in 0..LOOPS {
        abusers.push(unprivileged("process whose children die", |steps| {
            steps.step(0)?;
            let end = Instant::now() + limit;
            let mut deaths = 0;
            while Instant::now() < end {
                deaths += 1;
                let child = match sys::fork().context("fork")? {
                    Some(pid) => pid,
                    None => {
                        let born = Region::map(MAPPED).and_then(|region| {
                            region.mergeable()?;
                            region.fill(|index| same(index) + number as u64 * deaths % 2);
                            Ok(region.release())
                        });
                        // Some live long enough to be scanned, some are killed while they are.
                        std::thread::sleep(Duration::from_millis(deaths % 16));
                        sys::exit(i32::from(born.is_err()))
                    }
                };
                if deaths % 3 == 0 {
                    sys::kill(child, libc::SIGKILL);
                }
                sys::waitpid(child, false).context("waitpid")?;
            }
            steps.step(deaths).map(drop)
        })?);
    }
    group.leave()?;
    for abuser in &mut abusers {
        abuser.arrived()?;
        abuser.go(0)?;
    }
    let end = Instant::now() + limit;
    while Instant::now() < end {
        honest_are_merged(bench, (LOOPS * MAPPED * 16) as i64)?;
    }
    let mut deaths = 0;
    for mut abuser in abusers {
        deaths += abuser.arrived()?;
        abuser.finish()?;
    }
    runner::log(&format!("{deaths} processes became mergeable and died"));
    bench.ksm.sync()?;
    wait::until("nothing is left of the processes that died", || {
        let left: Vec<_> = before
            .iter()
            .zip(objects()?)
            .map(|((name, before), (_, after))| (*name, after - before))
            .collect();
        Ok((left.iter().all(|(_, more)| *more < SLACK), left))
    })?;
    wait::until("the group has next to nothing", || {
        let kernel = group.stat("kernel")?;
        Ok((kernel < 2 << 20, kernel))
    })?;
    memory_returns(memory)
}

fn restless(bench: &Bench) -> Outcome {
    let limit = Duration::from_secs(bench.stress_seconds.min(20));
    let mut abuser = unprivileged("restless process", |steps| {
        steps.step(0)?;
        let region = Region::map(512)?;
        region.fill(|index| index as u64 + 1);
        let end = Instant::now() + limit;
        let mut rounds = 0;
        while Instant::now() < end {
            region.mergeable()?;
            let other = Region::map(64)?;
            other.mergeable()?;
            other.fill(same);
            region.unmergeable()?;
            rounds += 1;
        }
        steps.step(rounds).map(drop)
    })?;
    abuser.arrived()?;
    bench.ksm.start()?;
    abuser.go(0)?;
    let end = Instant::now() + limit;
    while Instant::now() < end {
        honest_are_merged(bench, 512 + 64)?;
    }
    runner::log(&format!("{} rounds of changes", abuser.arrived()?));
    abuser.finish()
}

/// Factors of XXH64.
const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// The number that gives 1 when multiplied with `odd`.
const fn inverse(odd: u64) -> u64 {
    let mut found = odd;
    let mut bits = 3;
    while bits < 64 {
        found = found.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(found)));
        bits *= 2;
    }
    found
}

/// Changes a page so that XXH64 gives the same for it with one in two seeds: the change to one word flips one bit of the
/// accumulator, whatever that holds, and the change to the next word of the same lane takes it back, if the bit has become
/// what `sign` says. With the other seeds it is the other sign.
fn disguise(page: *mut u64, word: usize, sign: bool) {
    let flip = (1u64 << 63).wrapping_mul(inverse(PRIME_2));
    let back = (1u64 << 30)
        .wrapping_mul(PRIME_1)
        .wrapping_mul(inverse(PRIME_2));
    let back = if sign { back } else { back.wrapping_neg() };
    for (word, change) in [(word, flip), (word + 4, back)] {
        // SAFETY: callers name words of a page of their own.
        unsafe {
            let at = page.add(word);
            at.write_volatile(at.read_volatile().wrapping_add(change));
        }
    }
}

fn equal_hashes(bench: &Bench) -> Outcome {
    const CONTENTS: usize = 4;
    /// For each content, pages that differ from it; half of them have its hash, if the hash is XXH64.
    const DISGUISES: usize = 64;
    let mut abuser = unprivileged("process with pages of equal hash", |steps| {
        // Two of each, so that they are merged: what is merged stands longest.
        let region = Region::map(2 * CONTENTS * DISGUISES)?;
        for index in 0..region.pages() {
            let number = index / 2 % DISGUISES;
            region.write(index, same(index / 2 / DISGUISES));
            disguise(region.page(index), number / 2 * 8, number % 2 == 0);
        }
        region.mergeable()?;
        steps.step(0).map(drop)
    })?;
    abuser.arrived()?;
    bench.ksm.start()?;
    bench.ksm.passes(3)?;
    let honest = Sharer::crowd(2, CONTENTS, same)?;
    frames_become(&honest, CONTENTS).context("pages that others have disguised theirs as")?;
    sharer::finish(honest)?;
    abuser.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_are_inverse() {
        for odd in [1, 3, PRIME_1, PRIME_2] {
            assert_eq!(odd.wrapping_mul(inverse(odd)), 1);
        }
    }
}

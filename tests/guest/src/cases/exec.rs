// SPDX-License-Identifier: GPL-2.0

//! Exec of processes with merged pages.

use std::ffi::CString;
use std::process::ExitCode;

use super::common::{frames_become, merged_crowd, same};
use super::prctl;
use crate::case::{fail, Bench, Case, Context, Outcome};
use crate::check_eq;
use crate::pagemap;
use crate::region::Region;
use crate::sharer;
use crate::wait;
use crate::worker::{Steps, Worker};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "exec/merge_any_kept",
        "PR_SET_MEMORY_MERGE survives exec and works in the new image",
        kept,
    ),
    Case::new(
        "exec/madvise_ends",
        "what madvise opened ends with the old image, others stay merged",
        ends,
    ),
    Case::new(
        "exec/repeated",
        "a merged process that execs again and again",
        repeated,
    ),
];

const PAGES: usize = 64;

/// Replaces the calling process by `part` of this program.
pub fn exec(part: &str, steps: &Steps) -> Outcome {
    let [from, to] = steps.descriptors();
    let words = [
        "guest-tests",
        "image",
        part,
        &from.to_string(),
        &to.to_string(),
    ];
    let words: Vec<CString> = words
        .iter()
        .map(|word| CString::new(*word).expect("no zero bytes"))
        .collect();
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: a null-terminated array of strings that outlive the call.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    Err(std::io::Error::last_os_error()).context("exec")
}

/// The new image's side.
pub fn image(part: &str, from: i32, to: i32) -> ExitCode {
    let mut steps = Steps::inherited(from, to);
    let outcome = match part {
        "merge-any" => new_image(&mut steps, true),
        "plain" => new_image(&mut steps, false),
        "exits" => super::pointers::image(&mut steps),
        "race" => super::races::image(&mut steps),
        _ => fail(format!("there is no part '{part}'")),
    };
    steps.done(&outcome);
    ExitCode::from(u8::from(outcome.is_err()))
}

/// Maps pages, tells where, and verifies them when told.
fn new_image(steps: &mut Steps, merge_any: bool) -> Outcome {
    check_eq!(prctl::is_on()?, merge_any, "PR_GET_MEMORY_MERGE after exec");
    let region = Region::map(PAGES)?;
    region.fill(same);
    steps.step(region.addr() as u64)?;
    region.verify(same)
}

fn kept(bench: &Bench) -> Outcome {
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let goal = sharers[0].frames()?;
    let mut worker = Worker::start("exec'd process", |steps| {
        prctl::merge_any(true)?;
        let region = Region::map(PAGES)?;
        region.fill(same);
        steps.step(region.addr() as u64)?;
        exec("merge-any", steps)
    })?;
    let pid = worker.pid();
    let merged = |addr| {
        wait::until("the process is merged with the others", || {
            Ok((pagemap::frames(&pagemap::of(pid, addr, PAGES)?) == goal, ()))
        })
    };
    merged(worker.arrived()? as usize).context("before exec")?;
    let addr = worker.step(0)? as usize;
    merged(addr).context("after exec")?;
    worker.finish()?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    sharer::finish(sharers)
}

fn ends(bench: &Bench) -> Outcome {
    let sharers = merged_crowd(bench, 2, PAGES)?;
    let mut worker = Worker::start("exec'd process", |steps| {
        let region = Region::map(PAGES)?;
        region.fill(same);
        region.mergeable()?;
        steps.step(region.addr() as u64)?;
        exec("plain", steps)
    })?;
    worker.arrived()?;
    bench
        .ksm
        .counter_becomes("pages_sharing", 2 * PAGES as i64)?;
    let addr = worker.step(0)? as usize;
    bench
        .ksm
        .counter_becomes("pages_sharing", PAGES as i64)
        .context("after exec")?;
    bench.ksm.passes(2)?;
    let frames = pagemap::frames(&pagemap::of(worker.pid(), addr, PAGES)?);
    check_eq!(
        pagemap::count_flag(&frames, pagemap::FLAG_KSM)?,
        0,
        "merged pages of the new image"
    );
    worker.finish()?;
    sharer::finish(sharers)
}

fn repeated(bench: &Bench) -> Outcome {
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    for _ in 0..5 {
        let mut worker = Worker::start("exec'd process", |steps| {
            prctl::merge_any(true)?;
            let region = Region::map(PAGES)?;
            region.fill(same);
            exec("merge-any", steps)
        })?;
        worker.arrived()?;
        // No wait: exec and exit meet the scanner wherever it is.
        worker.finish()?;
        sharer::verify(&mut sharers)?;
    }
    frames_become(&sharers, PAGES)?;
    bench.ksm.counter_becomes("pages_sharing", PAGES as i64)?;
    sharer::finish(sharers)
}

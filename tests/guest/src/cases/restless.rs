// SPDX-License-Identifier: GPL-2.0

//! Memory that its process has invalidated all the time: the scanner does not wait for it much longer than it would have
//! looked at it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::abuse::{honest_are_merged, map_touched, unprivileged};
use super::starve;
use crate::case::{Bench, Case, Outcome};
use crate::check;
use crate::ktap;
use crate::procfs;
use crate::slow;
use crate::sys::{self, HUGE};
use crate::wait;

/// The cases.
pub const CASES: &[Case] = &[Case::new(
    "abuse/restless_pages",
    "who invalidates a page in every 2 MiB without rest has the scanner wait for him no longer than for others",
    restless_pages,
)
.seconds(240)];

const THREADS: usize = 3;

fn restless_pages(bench: &Bench) -> Outcome {
    // Pages, each with a chunk of the scanner's to itself: fewer where each takes longer.
    let chunks = 2048 / slow::factor() as usize;
    // Times that the scanner may go to sleep in a pass over all of them: as often as it looks at pages three at a time, and
    // for other reasons.
    let most = chunks as i64 / 2;
    bench.only_ours("a scanner that waits for pages that are being invalidated")?;
    let mut abuser = unprivileged("process with restless pages", |steps| {
        let addr = map_touched(chunks, HUGE)?;
        steps.step(0)?;
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while !end.load(Relaxed) {
                        // Nothing is freed as long as nobody needs memory.
                        let _ = sys::madvise(addr, chunks * HUGE, libc::MADV_FREE);
                    }
                });
            }
            let result = steps.step(0);
            end.store(true, Relaxed);
            result.map(drop)
        })
    })?;
    abuser.arrived()?;
    bench.ksm.start()?;
    // The process is known, and told of, before it is restless.
    bench.ksm.passes(2)?;
    abuser.step(0)?;
    let sleeps = || {
        let thread = starve::find("swapksmd")?;
        procfs::field(&format!("/proc/{thread}/status"), "voluntary_ctxt_switches")
    };
    let before = (bench.ksm.number("full_scans")?, sleeps()?);
    wait::until("two passes over restless pages", || {
        let slept = sleeps()? - before.1;
        let passes = bench.ksm.number("full_scans")? - before.0 + 1;
        check!(
            slept <= passes * most,
            "the scanner slept {slept} times in {passes} passes over {chunks} restless pages"
        );
        let state = format!("{slept} times asleep in {passes} passes");
        if passes > 2 {
            ktap::tell(&state);
        }
        Ok((passes > 2, state))
    })?;
    honest_are_merged(bench, chunks as i64)?;
    abuser.finish()
}

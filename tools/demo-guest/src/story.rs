// SPDX-License-Identifier: GPL-2.0

//! The story: what is done to the processes, step by step.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use demo_guest::record::Merger::{Nobody, Stock, Swapksm};

use crate::crowd::{Crowd, PROCESSES};
use crate::kernel;
use crate::peer::Peer;
use crate::witness::Witness;
use crate::worker::{COMMON, WRITTEN};
use crate::Result;

const STEPS: usize = 12;

/// How long the scanner may need for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// A state is left standing so long that it can be seen in the plot.
const REST: Duration = Duration::from_secs(1);
/// How often the program that pushes takes another piece at most: it would be most of the memory then.
const PUSHES: usize = 100;

/// The scanner's settings, the same for both: it is to be in a hurry.
const SETTINGS: &[(&str, &str)] = &[
    ("pages_to_scan", "4000"),
    ("sleep_millisecs", "20"),
    ("smart_scan", "0"),
];

/// From the first step to the last.
pub fn tell() -> Result {
    stay_in_memory();
    for (file, value) in SETTINGS {
        kernel::set_ksm(file, value)?;
    }
    let mut crowd = Crowd::start()?;
    let mut witness = Witness::start(&crowd, STEPS)?;
    let (crowd, witness) = (&mut crowd, &mut witness);

    witness.begin(
        "fill",
        "8 processes fill 72 MiB each, 56 MiB of it the same in all: more than the machine has",
        Nobody,
    )?;
    crowd.all("fill")?;
    finish(witness, 0)?;

    witness.begin("load", "swapksm takes over from the running kernel", Nobody)?;
    ksmctl(&["load", "swapksm.ko"])?;
    finish(witness, 0)?;

    witness.begin(
        "merge",
        "the processes read their data, swapksm merges what is the same",
        Swapksm,
    )?;
    kernel::set_ksm("run", "1")?;
    merge_all(crowd, COMMON)?;
    finish(witness, 0)?;

    witness.begin(
        "write",
        "each process writes to a quarter of the common pages: they are copied",
        Swapksm,
    )?;
    crowd.all("write")?;
    finish(witness, 0)?;

    witness.begin(
        "swap out",
        "nobody scans any more; another program needs the memory: merged pages go to swap",
        Swapksm,
    )?;
    kernel::set_ksm("run", "0")?;
    push_out(witness)?;
    finish(witness, 0)?;

    witness.begin(
        "read back",
        "the processes read everything: merged pages come back still merged",
        Swapksm,
    )?;
    crowd.in_turn("read")?;
    finish(witness, 0)?;

    witness.begin("verify", "every process compares every byte", Swapksm)?;
    let verified = crowd.all("verify")?;
    finish(witness, verified)?;

    witness.begin(
        "unload",
        "samepage merging goes back to the kernel: everything is unmerged",
        Nobody,
    )?;
    ksmctl(&["unload"])?;
    finish(witness, 0)?;

    witness.begin(
        "stock merge",
        "the kernel's own samepage merging works as before",
        Stock,
    )?;
    kernel::set_ksm("run", "1")?;
    merge_all(crowd, COMMON - COMMON.div_ceil(WRITTEN))?;
    finish(witness, 0)?;

    witness.begin(
        "stock out",
        "for comparison the same again: nobody scans, another program needs the memory",
        Stock,
    )?;
    kernel::set_ksm("run", "0")?;
    push_out(witness)?;
    finish(witness, 0)?;

    witness.begin(
        "stock back",
        "everything is read back: each process gets copies of its own",
        Stock,
    )?;
    crowd.in_turn("read")?;
    finish(witness, 0)?;

    witness.begin(
        "stock verify",
        "every process compares every byte again",
        Stock,
    )?;
    let verified = crowd.all("verify")?;
    finish(witness, verified)?;
    witness.end()
}

/// Leaves the state standing for a moment, then notes it.
fn finish(witness: &Witness, verified_bytes: u64) -> Result {
    sleep(REST);
    witness.done(verified_bytes)
}

/// Has pages read, which brings them in from swap, until `pages` of them are shared by all processes.
fn merge_all(crowd: &mut Crowd, pages: usize) -> Result {
    let goal = (pages * (PROCESSES - 1)) as u64;
    let began = Instant::now();
    loop {
        crowd.in_turn("read")?;
        let sharing = kernel::ksm("pages_sharing");
        if sharing >= goal {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!(
                "after {} s only {sharing} of {goal} pages were merged",
                PATIENCE.as_secs()
            ));
        }
        sleep(Duration::from_millis(200));
    }
}

/// Lets another program take memory until most of the crowd's is in swap, then ends it.
fn push_out(witness: &Witness) -> Result {
    let before = witness.look()?.anonymous;
    let mut other = Peer::start(&["pressure"])?;
    witness.watch_other(other.pid());
    for _ in 0..PUSHES {
        other.order("more")?;
        other.answer()?;
        if witness.look()?.anonymous < before / 5 {
            break;
        }
    }
    sleep(REST);
    witness.other_ends(other)
}

fn ksmctl(arguments: &[&str]) -> Result {
    let output = Command::new("./ksmctl").args(arguments).output();
    let output = output.map_err(|error| format!("cannot run ./ksmctl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "ksmctl {} failed: {}",
        arguments.join(" "),
        said.trim_end()
    ))
}

/// The witness must not be slowed down by what it watches. Failure does no harm.
fn stay_in_memory() {
    // SAFETY: The call takes no pointers.
    unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
}

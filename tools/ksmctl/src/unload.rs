// SPDX-License-Identifier: GPL-2.0

//! `ksmctl unload`

use std::time::Duration;

use crate::failure::{both, Failure, Outcome};
use crate::files;
use crate::kmsg;
use crate::knobs::Knobs;
use crate::lock;
use crate::machine::Machine;
use crate::openers;
use crate::run;
use crate::transition::{self, Goal};
use crate::unmerge::{unmerge, Obstacle};

const MODULE: &str = "swapksm";
/// The livepatch itself holds the module once.
const HELD_BY_PATCH: i64 = 1;
const STEP: Duration = Duration::from_millis(50);
/// The kernel lets go of the module a little after the last task has changed over.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// What it means when the module cannot go in the end.
const LEFT: &str = "samepage merging is the kernel's again, but the module could not be unloaded";

/// Gives samepage merging back to the kernel.
///
/// Everything merged is unmerged first, as far as there is memory for it; what is left stays shared until written to.
/// Then every task is changed over and the module unloaded; settings and scanner are as before.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds that changing over may take before it is undone
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// Runs the command.
pub fn run(machine: &Machine, options: &Options) -> Outcome<String> {
    machine.need_root("unload a module")?;
    let _lock = lock::take(machine, "unload")?;
    if !machine.is_loaded() {
        return Err(
            Failure::new("swapksm is not loaded").remedy("`ksmctl status` tells who merges")
        );
    }
    if !machine.has(files::PATCH) {
        // It has been given back before; the module was left.
        remove(machine)?;
        return Ok("swapksm is unloaded; samepage merging was the kernel's already\n".to_owned());
    }
    refuse_open_files(machine)?;
    let mut log = kmsg::Since::now(machine);
    let knobs = Knobs::save(machine)?;
    empty(machine, &knobs)?;
    hand_back(machine, Duration::from_secs(options.timeout), &knobs)?;
    let restored = knobs.restore(machine).map_err(|failure| {
        failure.means("samepage merging is the kernel's own again, with one difference")
    });
    for record in log.records().iter().filter(|record| record.is_warning()) {
        if let Some(text) = record.of_swapksm() {
            machine.system.tell(text);
        }
    }
    both(remove(machine), restored)?;
    Ok(format!(
        "samepage merging is the kernel's own again ({})\n",
        run::meaning(&knobs.run)
    ))
}

/// An open file would keep the module after everything else has gone back.
fn refuse_open_files(machine: &Machine) -> Outcome {
    if machine
        .number(files::REFCNT)
        .is_none_or(|count| count <= HELD_BY_PATCH)
    {
        return Ok(());
    }
    Err(held(machine, "not unloaded")
        .remedy("end these processes, or have them close it, then try again"))
}

fn held(machine: &Machine, meaning: &str) -> Failure {
    let who = openers::find(machine);
    let by = if who.is_empty() {
        "by nobody that /proc shows".to_owned()
    } else {
        format!("by {}", who.join(", "))
    };
    Failure::new(format!(
        "{meaning}: /dev/ksm or an area of it is held open {by}"
    ))
}

/// Unmerges as much as can be.
fn empty(machine: &Machine, knobs: &Knobs) -> Outcome {
    let obstacle = match unmerge(machine) {
        Ok(()) => return Ok(()),
        Err(obstacle) => obstacle,
    };
    if let Obstacle::Memory(text) = &obstacle {
        machine.system.tell(&format!(
            "{text}: going on; some pages will stay shared until they are written to or freed"
        ));
        return Ok(());
    }
    Err(obstacle
        .into_failure()
        .means("not unloaded")
        .after_undoing(knobs.restore_run(machine)))
}

/// Has every task change over to the kernel's functions, or none.
fn hand_back(machine: &Machine, limit: Duration, knobs: &Knobs) -> Outcome {
    let go = || {
        transition::start(machine, Goal::Kernel, limit)?;
        transition::wait(machine, Goal::Kernel, limit)
    };
    go().or_else(|failure| {
        let failure = failure.means("not unloaded");
        let kept = keep(machine, limit);
        if kept.is_err() && is_given_back(machine) {
            // It was too late to turn round: on to the end.
            return Ok(());
        }
        // Also if some tasks have not turned round yet: the files are the module's until the last one has gone back.
        Err(failure.after_undoing(both(kept, knobs.restore_run(machine))))
    })
}

/// Has the last task gone back? What shows of the patch goes a little later, its files before their directory.
fn is_given_back(machine: &Machine) -> bool {
    let mut waited = Duration::ZERO;
    while machine.has(files::PATCH) {
        let is_on_its_way = machine.number(files::TRANSITION) == Some(1)
            || machine
                .read(files::ENABLED)
                .is_ok_and(|enabled| enabled == "1");
        if is_on_its_way || waited >= RELEASE_LIMIT {
            return false;
        }
        machine.system.pause(STEP);
        waited += STEP;
    }
    true
}

/// Turns the tasks round, so that the module stays in charge.
fn keep(machine: &Machine, limit: Duration) -> Outcome {
    transition::start(machine, Goal::Module, limit)?;
    transition::wait(machine, Goal::Module, limit).map_err(|failure| {
        failure
            .means("staying in charge has not ended")
            .remedy("the kernel goes on with it by itself; `ksmctl status` tells when it has ended")
    })
}

/// Unloads the module, which is no longer in charge.
pub fn remove(machine: &Machine) -> Outcome {
    let mut waited = Duration::ZERO;
    loop {
        match machine.system.remove(MODULE) {
            Ok(()) => return Ok(()),
            // EINTR: a signal, while another module is being loaded.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR))
                    && waited < RELEASE_LIMIT => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                return Err(held(machine, LEFT).remedy(
                    "end these processes, or have them close it, then `ksmctl unload` again",
                ))
            }
            Err(error) => {
                return Err(Failure::new(format!("{LEFT}: {error}"))
                    .remedy("`dmesg` has the kernel's reason"))
            }
        }
        machine.system.pause(STEP);
        waited += STEP;
    }
}

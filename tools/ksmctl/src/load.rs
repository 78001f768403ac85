// SPDX-License-Identifier: GPL-2.0

//! `ksmctl load`

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::kmsg;
use crate::knobs::Knobs;
use crate::machine::Machine;
use crate::module_file;
use crate::refusal;
use crate::run;
use crate::transition::{self, Goal};
use crate::unload;
use crate::unmerge::unmerge;

/// How often a scanner that somebody else starts again is stopped.
const ATTEMPTS: u32 = 3;

/// Takes samepage merging over from the kernel.
///
/// Everything merged is unmerged first (this needs memory for it), then the module is loaded and every task changed
/// over; settings and scanner are as before. Anything that fails or takes too long is undone.
#[derive(clap::Args)]
pub struct Options {
    /// The module [default: swapksm.ko here, else the one installed for this kernel]
    pub module: Option<PathBuf>,
    /// Leave the scanner stopped, even if the kernel's was running
    #[arg(long)]
    pub stopped: bool,
    /// Seconds that changing over may take before it is undone
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// Runs the command.
pub fn run(machine: &Machine, options: &Options) -> Outcome<String> {
    machine.need_root("load a module")?;
    check(machine)?;
    let file = module_file::find(machine, options.module.as_deref())?;
    let knobs = Knobs::save(machine)?;
    insert(machine, &file).map_err(|failure| failure.after_undoing(knobs.restore_run(machine)))?;
    let limit = Duration::from_secs(options.timeout);
    let wanted = if options.stopped {
        knobs.stopped()
    } else {
        knobs
    };
    settle(machine, limit, &wanted)?;
    wanted
        .restore(machine)
        .map_err(|failure| failure.means("swapksm is in charge, with one difference"))?;
    Ok(format!(
        "swapksm is in charge of samepage merging ({})\n",
        run::meaning(&wanted.run)
    ))
}

/// Can this kernel do it, and has it not been done?
fn check(machine: &Machine) -> Outcome {
    if machine.is_loaded() {
        return Err(Failure::new("swapksm is loaded already")
            .remedy("`ksmctl status` tells how it is doing"));
    }
    let missing = |what: &str, option: &str| {
        Err(
            Failure::new(format!("this kernel {what} ({option} is off)"))
                .remedy(format!("use a kernel with {option}, such as Debian's")),
        )
    };
    if !machine.has(files::LIVEPATCH) {
        return missing("cannot be patched while it runs", "CONFIG_LIVEPATCH");
    }
    if !machine.has(files::KSM) {
        return missing("has no samepage merging to take over", "CONFIG_KSM");
    }
    Ok(())
}

/// Empties the kernel's own samepage merging and loads the module.
fn insert(machine: &Machine, file: &Path) -> Outcome {
    for attempt in 1.. {
        unmerge(machine).map_err(|obstacle| obstacle.into_failure().means("not loaded"))?;
        let mut log = kmsg::Since::now(machine);
        let Err(error) = machine.system.insert(file) else {
            return Ok(());
        };
        let started_again = error.raw_os_error() == Some(libc::EBUSY) && is_running(machine);
        if attempt == ATTEMPTS || !started_again || machine.system.take_interruption() {
            return Err(refusal::explain(&error, &log.records(), file));
        }
        machine
            .system
            .tell("somebody has started the kernel's scanner again; stopping it once more");
    }
    Ok(())
}

fn is_running(machine: &Machine) -> bool {
    machine
        .read(&format!("{}/run", files::KSM))
        .is_ok_and(|run| run == run::MERGE)
}

/// Waits until the module is in charge, or has it undone.
fn settle(machine: &Machine, limit: Duration, knobs: &Knobs) -> Outcome {
    transition::wait(machine, Goal::Module, limit).map_err(|failure| {
        failure
            .means("not loaded")
            .after_undoing(turn_back(machine, limit, knobs))
    })
}

fn turn_back(machine: &Machine, limit: Duration, knobs: &Knobs) -> Outcome {
    if machine.has(files::PATCH) {
        transition::start(machine, Goal::Kernel)?;
        transition::wait(machine, Goal::Kernel, limit).map_err(|failure| {
            failure
                .means("going back has not ended")
                .remedy("the kernel goes on with it by itself; `ksmctl unload` finishes it when these tasks are idle")
        })?;
    }
    unload::remove(machine)?;
    knobs.restore_run(machine)
}

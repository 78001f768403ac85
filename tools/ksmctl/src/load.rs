// SPDX-License-Identifier: GPL-2.0

//! `ksmctl load`

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{both, Failure, Outcome};
use crate::files;
use crate::kmsg;
use crate::knobs::Knobs;
use crate::lock;
use crate::machine::Machine;
use crate::module_file;
use crate::refusal;
use crate::run;
use crate::transition::{self, Goal};
use crate::unload;
use crate::unmerge::unmerge;

/// How often a scanner that somebody else starts again is stopped.
const ATTEMPTS: u32 = 3;
/// How often, and how far apart, unmerging is repeated for pages that it leaves the first time: those of a process that is
/// just exiting, above all.
const RETRIES: u32 = 25;
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Takes samepage merging over from the kernel.
///
/// Everything merged is unmerged first (this needs memory for it), then the module is loaded and every task changed
/// over; settings and scanner are as before. Anything that fails or takes too long is undone.
#[derive(clap::Args)]
pub struct Options {
    /// The module [default: the one installed for this kernel, else swapksm.ko here if only root can have put it here]
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
    let _lock = lock::take(machine, "load")?;
    clear_away(machine);
    check(machine)?;
    let file = module_file::find(machine, options.module.as_deref())?;
    let knobs = Knobs::save(machine)?;
    insert(machine, &file).map_err(|failure| failure.after_undoing(knobs.restore_run(machine)))?;
    // At once, not when it is in charge: whoever hands back after a load that was killed, or could not be undone, carries to
    // the kernel what stands in the module's files then. What is refused now is told of below.
    let _ = knobs.stopped().restore(machine);
    let limit = Duration::from_secs(options.timeout);
    let wanted = if options.stopped {
        knobs.stopped()
    } else {
        knobs.clone()
    };
    settle(machine, limit, &knobs, &wanted)?;
    wanted
        .restore(machine)
        .map_err(|failure| failure.means("swapksm is in charge, with one difference"))?;
    Ok(format!(
        "swapksm is in charge of samepage merging ({})\n",
        run::meaning(&wanted.run)
    ))
}

/// A module that is in charge of nothing was left by a command that was killed: it is loaded anew, from the file that is
/// asked for now. One that cannot go, since somebody else is loading it at this moment, is told of by what follows.
fn clear_away(machine: &Machine) {
    if machine.is_loaded() && !machine.has(files::PATCH) {
        let _ = unload::remove(machine);
    }
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
    let (mut starts, mut leftovers) = (0, 0);
    loop {
        unmerge(machine).map_err(|obstacle| obstacle.into_failure().means("not loaded"))?;
        let mut log = kmsg::Since::now(machine);
        let Err(error) = machine.system.insert(file) else {
            return Ok(());
        };
        let records = log.records();
        let explain = || refusal::explain(&error, &records, file);
        if error.raw_os_error() != Some(libc::EBUSY) || machine.system.take_interruption() {
            return Err(explain());
        }
        if is_running(machine) {
            starts += 1;
            if starts == ATTEMPTS {
                return Err(explain());
            }
            machine
                .system
                .tell("somebody has started the kernel's scanner again; stopping it once more");
        } else if refusal::is_leftover(&records) && leftovers < RETRIES {
            if leftovers == 0 {
                machine
                    .system
                    .tell("some merged pages are still in use; waiting for them");
            }
            leftovers += 1;
            machine.system.pause(RETRY_AFTER);
        } else {
            return Err(explain());
        }
    }
}

fn is_running(machine: &Machine) -> bool {
    machine
        .read(&format!("{}/run", files::KSM))
        .is_ok_and(|run| run == run::MERGE)
}

/// Waits until the module is in charge, or has it undone.
fn settle(machine: &Machine, limit: Duration, before: &Knobs, wanted: &Knobs) -> Outcome {
    transition::wait(machine, Goal::Module, limit).map_err(|failure| {
        failure
            .means("not loaded")
            .after_undoing(turn_back(machine, limit, before, wanted))
    })
}

/// Undoes it: the switch is as it was before, and the module gone.
fn turn_back(machine: &Machine, limit: Duration, before: &Knobs, wanted: &Knobs) -> Outcome {
    if machine.has(files::PATCH) {
        transition::start(machine, Goal::Kernel, limit)
            .map_err(|failure| stay(machine, wanted, failure))?;
        transition::wait(machine, Goal::Kernel, limit).map_err(|failure| {
            let then = match before.run.as_str() {
                run::STOP => String::new(),
                run => format!("; then write {run} to {}/run, as it was before", files::KSM),
            };
            failure.means("going back has not ended").remedy(format!(
                "the kernel goes on with it by itself; `ksmctl unload` finishes it when these tasks are idle{then}"
            ))
        })?;
    }
    // The directory is the kernel's again, whether the module can go or not.
    let restored = before.restore_run(machine);
    both(unload::remove(machine), restored)
}

/// It could not even be begun to go back. Whoever is in charge then shall have the settings that were to be carried over.
fn stay(machine: &Machine, wanted: &Knobs, failure: Failure) -> Failure {
    let kept = if machine.number(files::TRANSITION) == Some(0) {
        wanted.restore(machine)
    } else {
        Ok(())
    };
    let failure = failure.means("swapksm stays in charge after all").remedy(
        "`ksmctl unload` undoes it when the files /sys/kernel/livepatch/*/transition say 0",
    );
    failure.after_undoing(kept)
}

// SPDX-License-Identifier: GPL-2.0

//! The guest's first process: sets the machine up, runs the command, looks after it, powers off.

mod after;
mod command;
mod dump;
mod filesystems;
mod kmsg;
mod modules;
mod port;
mod processes;
mod swap;
mod sys;

use std::fs;
use std::process::ExitCode;

use crate::common::frame::{Frame, LOG_COMMAND_STARTS, LOG_END};
use crate::common::job::{Job, JOB_PATH};
use port::Port;

/// Entry point as process 1. Never returns: the kernel panics when its first process ends.
pub fn main() -> ExitCode {
    match filesystems::mount_all().and_then(|()| Port::open()) {
        Ok(mut port) => serve(&mut port),
        // Without the port only the kernel log is left to say it with.
        Err(text) => kmsg::write(&format!("vmrun: cannot reach the host: {text}")),
    }
    kmsg::write(LOG_END);
    sys::power_off()
}

fn serve(port: &mut Port) {
    if let Err(text) = work(port) {
        port.send(&Frame::SetupFailed(text));
    }
    port.send(&Frame::Done);
}

fn work(port: &mut Port) -> Result<(), String> {
    let job = fs::read(JOB_PATH).map_err(|error| format!("cannot read {JOB_PATH}: {error}"))?;
    let job = Job::decode(&job)?;
    set_up(&job)?;
    kmsg::write(LOG_COMMAND_STARTS);
    port.send(&Frame::Started);
    if !job.command.is_empty() {
        command::run(&job, port)?;
        after::send_files(&job, port);
    }
    after::check(&job, port);
    Ok(())
}

fn set_up(job: &Job) -> Result<(), String> {
    // The runner must go on working while a test drives the guest out of memory.
    sys::lock_own_memory();
    filesystems::set_sysctls();
    modules::load_all(&job.modules)?;
    swap::turn_on(job)?;
    modules::load_swapksm(job.load)
}

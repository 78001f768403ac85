// SPDX-License-Identifier: GPL-2.0

//! Tasks change over from the kernel's functions to the module's, or back, one by one: when none is inside them.

use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::files;
use crate::machine::Machine;
use crate::processes;

const STEP: Duration = Duration::from_millis(50);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How many tasks a message names at most.
const NAMED: usize = 5;

/// Where the tasks go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// To the module's functions.
    Module,
    /// To the kernel's own.
    Kernel,
}

/// Sends the tasks to `goal`, or back while they are on their way. Does nothing if somebody else has, or nothing of the patch
/// is there any more. The kernel has one livepatch change over after the other: another one is waited for.
pub fn start(machine: &Machine, goal: Goal, limit: Duration) -> Outcome {
    let value = if goal == Goal::Module { "1" } else { "0" };
    let mut patience = Patience::new(limit);
    while machine.read(files::ENABLED).is_ok_and(|now| now != value) {
        let Err(error) = machine.try_write(files::ENABLED, value) else {
            break;
        };
        if error.raw_os_error() != Some(libc::EBUSY) {
            let what = format!("cannot write {value} to {}: {error}", files::ENABLED);
            return Err(Failure::new(what));
        }
        if machine.system.take_interruption() {
            return Err(Failure::new("interrupted"));
        }
        if patience.is_over() {
            return Err(
                Failure::new("another livepatch of this kernel is changing over").remedy(
                    "wait until the files /sys/kernel/livepatch/*/transition say 0, then try again",
                ),
            );
        }
        patience.wait(machine, "another livepatch is changing over", || None);
    }
    Ok(())
}

/// Waits until every task has reached `goal`, telling how far it is.
pub fn wait(machine: &Machine, goal: Goal, limit: Duration) -> Outcome {
    let mut patience = Patience::new(limit);
    loop {
        if let Some(end) = is_over(machine, goal) {
            return end;
        }
        if machine.system.take_interruption() {
            return Err(Failure::new("interrupted"));
        }
        if patience.is_over() {
            let tasks = listed(&stragglers(machine, goal));
            let what = format!(
                "after {} s some tasks have not changed over: {tasks}",
                limit.as_secs()
            );
            return Err(Failure::new(what)
                .remedy("try again when they are idle, or give more time with --timeout"));
        }
        patience.wait(machine, "changing over", || {
            let tasks = listed(&stragglers(machine, goal));
            Some(format!("waiting for {tasks}"))
        });
    }
}

/// Waiting that ends, and of which the user hears now and then.
struct Patience {
    limit: Duration,
    waited: Duration,
    told: Duration,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        let (waited, told) = (Duration::ZERO, Duration::ZERO);
        Self {
            limit,
            waited,
            told,
        }
    }

    fn is_over(&self) -> bool {
        self.waited >= self.limit
    }

    /// A little longer. `for_whom` is asked only if something is said.
    fn wait(&mut self, machine: &Machine, what: &str, for_whom: impl Fn() -> Option<String>) {
        if self.waited >= self.told + TELL_EVERY {
            self.told = self.waited;
            let (now, limit) = (self.waited.as_secs(), self.limit.as_secs());
            let whom = for_whom().map_or_else(String::new, |whom| format!(", {whom}"));
            machine
                .system
                .tell(&format!("{what}: {now} s of at most {limit}{whom}"));
        }
        machine.system.pause(STEP);
        self.waited += STEP;
    }
}

/// The tasks' names, for people.
fn listed(tasks: &[String]) -> String {
    let named = tasks[..tasks.len().min(NAMED)].join(", ");
    match tasks.len().saturating_sub(NAMED) {
        0 if tasks.is_empty() => "nobody that can be named".to_owned(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Tasks that have not reached `goal`.
pub fn stragglers(machine: &Machine, goal: Goal) -> Vec<String> {
    let still = if goal == Goal::Module { 0 } else { 1 };
    let mut tasks = Vec::new();
    for pid in processes::all(machine) {
        for thread in processes::threads(machine, pid) {
            let task = format!("{}/{pid}/task/{thread}", files::PROC);
            if machine.number(&format!("{task}/patch_state")) == Some(still) {
                let name = processes::plain_name(machine, &task);
                tasks.push(format!("{name} ({thread})"));
            }
        }
    }
    tasks
}

fn is_over(machine: &Machine, goal: Goal) -> Option<Outcome> {
    let turned_round = || Err(Failure::new("somebody else has turned the tasks round"));
    // The directory goes with the last task that has gone back.
    let enabled = match machine.read(files::ENABLED) {
        Ok(enabled) => enabled,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
            return Some(if goal == Goal::Kernel {
                Ok(())
            } else {
                turned_round()
            })
        }
        // No memory to open it: looked at again.
        Err(_) => return None,
    };
    let over = machine.number(files::TRANSITION) == Some(0);
    match (goal, enabled.as_str()) {
        (Goal::Module, "1") => over.then_some(Ok(())),
        (Goal::Kernel, "1") => over.then(turned_round),
        _ => None,
    }
}

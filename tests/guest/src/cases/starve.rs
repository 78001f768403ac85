// SPDX-License-Identifier: GPL-2.0

//! Keeping a kernel thread of swapksm's from running, to hold a moment that it would end: it is bound to a CPU on which
//! a real-time process spins.

use std::fs;
use std::time::{Duration, Instant};

use crate::case::{fail, skip, Context, Outcome};
use crate::sys;
use crate::worker::Worker;

/// The thread that ends the membership of sharers.
pub const REAPER: &str = "swapksmd_reap";

/// Where the tests run meanwhile, and where the thread is held.
const OURS: usize = 0;
const HELD: usize = 1;

/// Longest time that the CPU is taken away.
const LIMIT: Duration = Duration::from_secs(15);

/// What the scheduler would give ordinary threads on a busy CPU.
const SERVER: &str = "/sys/kernel/debug/sched/fair_server";
const RT_LIMIT: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// What is needed to hold a thread.
pub struct Starver(Worker);

impl Starver {
    /// Gets it ready. The calling process, and all that it starts from now on, stay off the CPU where threads are held.
    pub fn prepare() -> Outcome<Starver> {
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            return skip("a kernel thread can be held back only where there is a second CPU");
        }
        pin(0, OURS).context("binding the test to a CPU")?;
        // Started here, so that it is no fork of a process that has the pages in question.
        let mut spinner = Worker::start("spinner", |steps| {
            pin(0, HELD).context("binding the spinner")?;
            let priority = libc::sched_param { sched_priority: 1 };
            // SAFETY: a valid parameter.
            sys::check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &priority) }.into())
                .context("SCHED_FIFO")?;
            steps.step(0)?;
            let end = Instant::now() + LIMIT;
            while Instant::now() < end {}
            fail("the CPU was needed for too long")
        })?;
        spinner.arrived()?;
        Ok(Starver(spinner))
    }

    /// Holds the thread of that name.
    pub fn hold(mut self, name: &str) -> Outcome<Starved> {
        let thread = find(name)?;
        let mut saved = Vec::new();
        for (file, value) in [
            (format!("{SERVER}/cpu{HELD}/runtime"), "0"),
            (RT_LIMIT.to_owned(), "-1"),
        ] {
            // Kernels without one of the two have nothing to turn off.
            if let Ok(old) = fs::read_to_string(&file) {
                fs::write(&file, value).context(&file)?;
                saved.push((file, old.trim().to_owned()));
            }
        }
        pin(thread, HELD).context(format!("binding {name}"))?;
        self.0.go(0)?;
        // What the thread had begun it may have ended on the way.
        std::thread::sleep(Duration::from_millis(20));
        Ok(Starved {
            thread,
            ran: run_time(thread)?,
            saved,
            _spinner: self.0,
        })
    }
}

/// A kernel thread that does not get to run; goes on when dropped.
pub struct Starved {
    thread: i32,
    ran: u64,
    saved: Vec<(String, String)>,
    _spinner: Worker,
}

impl Starved {
    /// Fails if the thread has run after all.
    pub fn check(&self) -> Outcome {
        match run_time(self.thread)? == self.ran {
            true => Ok(()),
            false => fail("the kernel thread has run although its CPU was busy: this case has not tested what it is for"),
        }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let set = [OURS, HELD];
        let _ = bind(self.thread, &set);
        for (file, value) in &self.saved {
            let _ = fs::write(file, value);
        }
    }
}

/// Nanoseconds that a thread has run.
pub fn run_time(pid: i32) -> Outcome<u64> {
    let file = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&file).context(&file)?;
    let first = text.split_whitespace().next().unwrap_or("");
    first
        .parse()
        .or_else(|_| fail(format!("{file} holds '{}'", text.trim())))
}

/// Number of the kernel thread of that name; skips without one.
pub fn find(name: &str) -> Outcome<i32> {
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            if let Ok(pid) = entry.file_name().to_string_lossy().parse() {
                return Ok(pid);
            }
        }
    }
    skip(format!("there is no thread {name}"))
}

fn pin(pid: i32, cpu: usize) -> std::io::Result<()> {
    bind(pid, &[cpu])
}

fn bind(pid: i32, cpus: &[usize]) -> std::io::Result<()> {
    // SAFETY: the set is a plain array of bits, all zero is the empty one; the CPUs are within its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(pid, std::mem::size_of_val(&set), &set)
    };
    sys::check(result.into()).map(drop)
}

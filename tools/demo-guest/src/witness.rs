// SPDX-License-Identifier: GPL-2.0

//! Writes down what the kernel says, several times a second and at the end of every step.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use demo_guest::record::{Done, Merger, Record, Sample, Start, Step};

use crate::crowd::{Crowd, PROCESSES};
use crate::kernel::{self, Table};
use crate::memory::PAGE;
use crate::peer::Peer;
use crate::worker::{COMMON, OWN};
use crate::Result;

const EVERY: Duration = Duration::from_millis(200);

/// The one who writes.
pub struct Witness {
    scene: Arc<Scene>,
    step: String,
}

/// Who is looked at.
struct Scene {
    began: Instant,
    pids: Vec<u32>,
    /// The program that pushes the others out; 0 while there is none.
    other: AtomicU32,
    /// Held while numbers are read that belong together. False: the story is over.
    looking: Mutex<bool>,
}

impl Witness {
    /// Writes the start, and samples from now on until the program ends.
    pub fn start(crowd: &Crowd, steps: usize) -> Result<Self> {
        let scene = Scene {
            began: Instant::now(),
            pids: crowd.pids(),
            other: AtomicU32::new(0),
            looking: Mutex::new(true),
        };
        let memory = Table::read("/proc/meminfo")?;
        write(&Record::Start(Start {
            kernel: kernel::release()?,
            memory: memory.number("MemTotal"),
            swap: memory.number("SwapTotal"),
            processes: PROCESSES,
            common: (COMMON * PAGE / 1024) as u64,
            own: (OWN * PAGE / 1024) as u64,
            steps,
        }))?;
        let scene = Arc::new(scene);
        let sampled = Arc::clone(&scene);
        thread::spawn(move || {
            while sampled.tell_sample() {
                thread::sleep(EVERY);
            }
        });
        Ok(Self {
            scene,
            step: String::new(),
        })
    }

    /// A step begins.
    pub fn begin(&mut self, name: &str, text: &str, merger: Merger) -> Result {
        self.step = name.to_owned();
        let time_ms = self.scene.time_ms();
        write(&Record::Step(Step {
            time_ms,
            name: name.to_owned(),
            text: text.to_owned(),
            merger,
        }))
    }

    /// The step has ended.
    pub fn done(&self, verified_bytes: u64) -> Result {
        let rollup = |pid: &u32| Table::read(&format!("/proc/{pid}/smaps_rollup"));
        let tables = self
            .scene
            .pids
            .iter()
            .map(rollup)
            .collect::<Result<Vec<_>>>()?;
        let sum = |key: &str| tables.iter().map(|table| table.number(key)).sum();
        write(&Record::Done(Done {
            name: self.step.clone(),
            sample: self.scene.sample()?,
            pss: sum("Pss"),
            swap_pss: sum("SwapPss"),
            merged: sum("KSM"),
            verified_bytes,
        }))
    }

    /// The story has ended well.
    pub fn end(&self) -> Result {
        // The processes are about to end.
        *self.scene.hold() = false;
        write(&Record::End)
    }

    /// Numbers of this moment.
    pub fn look(&self) -> Result<Sample> {
        self.scene.sample()
    }

    /// From now on `pid` is the program that pushes the others out.
    pub fn watch_other(&self, pid: u32) {
        self.scene.other.store(pid, Relaxed);
    }

    /// Ends that program. Nobody looks while its memory is on its way back, which would be taken for the processes'.
    pub fn other_ends(&self, mut other: Peer) -> Result {
        let _still = self.scene.hold();
        other.order("free")?;
        other.answer()?;
        self.scene.other.store(0, Relaxed);
        drop(other);
        Ok(())
    }
}

impl Scene {
    fn time_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn hold(&self) -> MutexGuard<'_, bool> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a sample; false when the story is over.
    fn tell_sample(&self) -> bool {
        let looking = self.hold();
        if !*looking {
            return false;
        }
        if let Err(text) = self
            .read()
            .and_then(|sample| write(&Record::Sample(sample)))
        {
            eprintln!("demo: {text}");
        }
        true
    }

    fn sample(&self) -> Result<Sample> {
        let _looking = self.hold();
        self.read()
    }

    fn read(&self) -> Result<Sample> {
        let memory = Table::read("/proc/meminfo")?;
        let events = Table::read("/proc/vmstat")?;
        let (other, other_swap) = match self.other.load(Relaxed) {
            0 => (0, 0),
            // It may just have ended.
            pid => held(pid).unwrap_or_default(),
        };
        let mut all = 0;
        for pid in &self.pids {
            let (resident, swapped) = held(*pid)?;
            all += resident + swapped;
        }
        let in_swap = memory.number("SwapTotal") - memory.number("SwapFree");
        Ok(Sample {
            time_ms: self.time_ms(),
            anonymous: memory.number("AnonPages").saturating_sub(other),
            swapped: in_swap
                .saturating_sub(memory.number("SwapCached"))
                .saturating_sub(other_swap),
            held: all,
            other,
            pages_shared: kernel::ksm("pages_shared"),
            pages_sharing: kernel::ksm("pages_sharing"),
            swap_outs: events.number("pswpout"),
            swap_ins: events.number("pswpin"),
            swap_in_copies: events.number("ksm_swpin_copy"),
            write_copies: events.number("cow_ksm"),
        })
    }
}

/// A process's memory and swap.
fn held(pid: u32) -> Result<(u64, u64)> {
    let status = Table::read(&format!("/proc/{pid}/status"))?;
    Ok((status.number("VmRSS"), status.number("VmSwap")))
}

fn write(record: &Record) -> Result {
    let mut line =
        serde_json::to_string(record).map_err(|error| format!("cannot write a record: {error}"))?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write a record: {error}"))
}

// SPDX-License-Identifier: GPL-2.0

//! The engine's threads.

use std::{
    cell::Cell,
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        Mutex, PoisonError,
    },
    thread::JoinHandle,
    time::Instant,
};

use kernel::prelude::*;

use crate::{
    engine,
    machine::sync::{may_sleep, wake_all},
};

/// A thread of the engine that may be running.
pub(crate) struct Thread {
    main: fn(),
    stop: AtomicBool,
    running: Mutex<Option<JoinHandle<()>>>,
}

pub(crate) static SCANNER: Thread = Thread::new(engine::scan::main);
pub(crate) static REAPER: Thread = Thread::new(engine::reap::main);

thread_local! {
    static THIS: Cell<Option<&'static Thread>> = const { Cell::new(None) };
}

impl Thread {
    const fn new(main: fn()) -> Self {
        Self {
            main,
            stop: AtomicBool::new(false),
            running: Mutex::new(None),
        }
    }

    pub(crate) fn start(&'static self) -> Result {
        self.stop.store(false, SeqCst);
        let handle = std::thread::spawn(move || {
            THIS.set(Some(self));
            (self.main)();
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
        wake_all();
        let handle = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            handle.join().expect("a thread of the engine has panicked");
        }
    }
}

pub(crate) fn should_stop() -> bool {
    THIS.get().is_some_and(|thread| thread.stop.load(SeqCst))
}

pub(crate) fn is_freezing() -> bool {
    false
}

pub(crate) fn cpu_ns() -> u64 {
    0
}

pub(crate) fn try_to_freeze() {}

pub(crate) fn now_ns() -> u64 {
    static BEGIN: Mutex<Option<Instant>> = Mutex::new(None);
    let mut begin = BEGIN.lock().unwrap_or_else(PoisonError::into_inner);
    begin.get_or_insert_with(Instant::now).elapsed().as_nanos() as u64
}

pub(crate) fn cond_resched() {
    may_sleep();
    std::thread::yield_now();
}

pub(crate) struct FirstVictim;

impl FirstVictim {
    pub(crate) fn new() -> Self {
        Self
    }
}

impl Drop for FirstVictim {
    fn drop(&mut self) {}
}

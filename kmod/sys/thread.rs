// SPDX-License-Identifier: GPL-2.0

//! The module's kernel threads (`shims/thread.h`).

use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::{error::from_err_ptr, ffi::c_void, prelude::*};

use super::{assert_prototypes, bindings as b};
use crate::engine;

/// A thread of ours that may be running.
pub(crate) struct Thread {
    which: b::swapksm_thread,
    task: AtomicPtr<b::task_struct>,
}

/// Scans and merges.
pub(crate) static SCANNER: Thread = Thread::new(b::swapksm_thread_SWAPKSM_THREAD_SCAN);
/// Finishes what invalidations have begun.
pub(crate) static REAPER: Thread = Thread::new(b::swapksm_thread_SWAPKSM_THREAD_REAP);

impl Thread {
    const fn new(which: b::swapksm_thread) -> Self {
        Self {
            which,
            task: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Starts it. May sleep.
    pub(crate) fn start(&self) -> Result {
        // SAFETY: Process context.
        let task = from_err_ptr(unsafe { b::swapksm_thread_start(self.which) })?;
        self.task.store(task, Ordering::Relaxed);
        Ok(())
    }

    /// Stops it, if it runs, and waits until it has ended. May sleep.
    pub(crate) fn stop(&self) {
        let task = self.task.swap(core::ptr::null_mut(), Ordering::Relaxed);
        if !task.is_null() {
            // SAFETY: Started by `start`, and stopped only here.
            unsafe { b::swapksm_thread_stop(task) };
        }
    }
}

/// Shall the calling thread of ours end?
pub(crate) fn should_stop() -> bool {
    // SAFETY: Called by our kernel threads.
    unsafe { b::swapksm_thread_should_stop() }
}

/// Is the calling thread asked to stand still for suspend?
pub(crate) fn is_freezing() -> bool {
    // SAFETY: Any context.
    unsafe { b::swapksm_thread_freezing() }
}

/// CPU time of the calling thread in nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    // SAFETY: Any process context.
    unsafe { b::swapksm_thread_cpu_ns() }
}

/// Lets the freezer have the calling thread if it asks for it. May sleep.
pub(crate) fn try_to_freeze() {
    // SAFETY: Called by our kernel threads, which hold no lock there.
    unsafe { b::swapksm_try_to_freeze() };
}

/// Time since boot in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: Any context.
    unsafe { b::swapksm_now_ns() }
}

/// Lets others run if they want to. May sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Callers hold no spinlock.
    unsafe { b::swapksm_cond_resched() };
}

/// Has a kernel worker do `work`, where no signal to the caller interrupts it, and waits for it. May sleep.
pub(crate) fn in_worker(work: &(dyn Fn() + Sync)) {
    /// # Safety
    ///
    /// `work` points to a reference of that type.
    unsafe extern "C" fn call(work: *mut c_void) {
        // SAFETY: By the contract; `in_worker` waits until this has returned.
        let work = unsafe { *work.cast::<&(dyn Fn() + Sync)>() };
        work();
    }
    let data = core::ptr::from_ref(&work).cast_mut().cast();
    // SAFETY: `call` gets what it is to get, and `Sync` is all that calling it by reference elsewhere asks for.
    unsafe { b::swapksm_run_in_worker(Some(call), data) };
}

/// While it exists the OOM killer takes the calling task first.
pub(crate) struct FirstVictim(core::marker::PhantomData<*mut ()>);

impl FirstVictim {
    pub(crate) fn new() -> Self {
        // SAFETY: Process context; ended by the same task, since this type is not `Send`.
        unsafe { b::swapksm_first_victim_begin() };
        Self(core::marker::PhantomData)
    }
}

impl Drop for FirstVictim {
    fn drop(&mut self) {
        // SAFETY: Begun by `new`.
        unsafe { b::swapksm_first_victim_end() };
    }
}

/// What the scanner does until it is told to stop.
///
/// # Safety
///
/// Called by the thread that [`SCANNER`] has started, once.
#[no_mangle]
unsafe extern "C" fn swapksm_scan_main() {
    engine::scan::main();
}

/// What the reaper does until it is told to stop.
///
/// # Safety
///
/// Called by the thread that [`REAPER`] has started, once.
#[no_mangle]
unsafe extern "C" fn swapksm_reap_main() {
    engine::reap::main();
}

assert_prototypes!(swapksm_scan_main, swapksm_reap_main);

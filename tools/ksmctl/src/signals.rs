// SPDX-License-Identifier: GPL-2.0

//! ^C or ^\, a closed terminal, a request to end: half a take-over must not stay behind.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static SEEN: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    SEEN.store(true, Relaxed);
}

/// From now on the signals that end a program are only noted. Calls that wait in the kernel return.
pub fn note_requests_to_end() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: A zeroed action is a valid one without flags; the handler only stores to an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Has one come since this was last called?
pub fn take() -> bool {
    SEEN.swap(false, Relaxed)
}

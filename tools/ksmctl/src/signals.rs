// SPDX-License-Identifier: GPL-2.0

//! ^C or ^\, a closed terminal, a request to end: half a take-over must not stay behind.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static SEEN: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    SEEN.store(true, Relaxed);
}

/// From now on the signals that end a program are only noted, unless the caller has us ignore them (`nohup`). Calls that wait
/// in the kernel return.
pub fn note_requests_to_end() {
    let handler: extern "C" fn(libc::c_int) = note;
    // SAFETY: As this is by default. A caller that ignores it would have the kernel take our children's ends.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: A zeroed action is a valid one without flags; the handler only stores to an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let known = libc::sigaction(signal, std::ptr::null(), &mut action) == 0;
            if known && action.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            action = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Has one come that nobody has asked for with [`take`] yet?
pub fn pending() -> bool {
    SEEN.load(Relaxed)
}

/// Has one come since this was last called?
pub fn take() -> bool {
    SEEN.swap(false, Relaxed)
}

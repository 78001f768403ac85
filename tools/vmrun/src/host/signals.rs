// SPDX-License-Identifier: GPL-2.0

//! ^C, a closed terminal, a request to end: the guest must not outlive the runner.

use std::mem::MaybeUninit;
use std::thread;

/// From now on SIGINT, SIGTERM and SIGHUP end the process with the shell's code for them. QEMU is
/// told by the kernel when that happens (see `qemu::Guest`), and disks have no name by then.
pub fn end_on_interrupt() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything else uses it. The mask is set
    // before there is any other thread, so that all of them inherit it.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        set.assume_init()
    };
    thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both pointers are to initialised values that outlive the call.
        if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
            eprintln!("vm: interrupted; the guest is ended");
            std::process::exit(128 + signal);
        }
    });
}

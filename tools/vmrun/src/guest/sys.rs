// SPDX-License-Identifier: GPL-2.0

//! System calls that std does not offer, each with an error that names the call and its object.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A C string from text that holds no zero byte.
pub fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

/// `mount(2)` without a device.
pub fn mount(kind: &str, target: &str, options: &str) -> Result<(), String> {
    let (c_kind, c_target, c_options) = (c_string(kind)?, c_string(target)?, c_string(options)?);
    // SAFETY: all pointers are to zero-terminated strings that live until the call returns.
    let result = unsafe {
        libc::mount(
            c_kind.as_ptr(),
            c_target.as_ptr(),
            c_kind.as_ptr(),
            0,
            c_options.as_ptr().cast(),
        )
    };
    check(result).map_err(|error| format!("cannot mount {kind} on {target}: {error}"))
}

/// `swapon(2)` with a priority: the higher one is filled first.
pub fn swap_on(device: &str, priority: i32) -> Result<(), String> {
    const SWAP_FLAG_PREFER: i32 = 0x8000;
    let c_device = c_string(device)?;
    // SAFETY: the pointer is to a zero-terminated string that lives until the call returns.
    let result = unsafe { libc::swapon(c_device.as_ptr(), SWAP_FLAG_PREFER | priority) };
    check(result).map_err(|error| format!("cannot swap on {device}: {error}"))
}

/// `finit_module(2)`; `compressed` says that the kernel has to unpack the file.
pub fn load_module(file: &File, compressed: bool) -> io::Result<()> {
    const MODULE_INIT_COMPRESSED_FILE: i32 = 4;
    let flags = if compressed {
        MODULE_INIT_COMPRESSED_FILE
    } else {
        0
    };
    // SAFETY: the descriptor is open, and the parameter string is a zero-terminated constant.
    let result = unsafe {
        libc::syscall(
            libc::SYS_finit_module,
            file.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    };
    check(if result == 0 { 0 } else { -1 })
}

/// Keeps the pages of this process in memory, those to come included. Failure does no harm.
pub fn lock_own_memory() {
    // SAFETY: the call takes no pointers.
    unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
}

/// Sends `signal` to every process but this one. Having none is no error.
pub fn signal_all(signal: i32) {
    // SAFETY: the call takes no pointers; process 1 is spared by the kernel.
    unsafe { libc::kill(-1, signal) };
}

/// One child that has ended, with its wait status; `None` when there is none now.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// A pipe: the reading end, which never waits, and the writing end, which does.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both descriptors have just been made and nobody else owns them.
    let (reader, writer) =
        unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the descriptor is open and the call takes no pointers.
    check(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((reader, writer))
}

/// A descriptor that becomes readable when a child has ended.
pub fn child_events() -> Result<File, String> {
    let set = child_signal();
    // SAFETY: `set` is initialised and outlives both calls.
    let fd = unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(format!(
            "cannot watch for ended processes: {}",
            io::Error::last_os_error()
        ));
    }
    // SAFETY: the descriptor has just been made and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Empties what `child_events` returned, so that it becomes readable anew only by a later end.
pub fn forget_child_events(mut events: &File) {
    let mut buffer = [0; 1024];
    while matches!(events.read(&mut buffer), Ok(1..)) {}
}

/// Undoes what `child_events` did to the signal mask; for a child before it becomes the command.
pub fn unblock_child_signal() {
    let set = child_signal();
    // SAFETY: `set` is initialised and outlives the call.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()) };
}

fn child_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the whole set before anything else reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        set.assume_init()
    }
}

/// `poll(2)` with a timeout in milliseconds, -1 for none. Coming back early does no harm.
pub fn poll(fds: &mut [libc::pollfd], timeout: i32) {
    // SAFETY: the array outlives the call and its length is given.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
}

/// Turns the machine off.
pub fn power_off() -> ! {
    // SAFETY: neither call takes a pointer. `reboot` returns only when it fails.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

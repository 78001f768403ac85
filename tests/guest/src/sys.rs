// SPDX-License-Identifier: GPL-2.0

//! System calls with errors as `io::Result`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Bytes of a base page.
pub const PAGE: usize = 4096;
/// Bytes of a PMD-mapped huge page.
pub const HUGE: usize = 2 << 20;

/// Turns the C convention of -1 and errno into a result.
pub fn check(value: libc::c_long) -> io::Result<usize> {
    if value == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(value as usize)
}

/// Whether `error` carries `errno`.
pub fn is_errno(error: &io::Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}

/// `madvise(2)`.
pub fn madvise(addr: usize, len: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the address is a number to the kernel; callers own the range they advise on.
    check(unsafe { libc::madvise(addr as *mut _, len, advice) }.into()).map(drop)
}

/// `prctl(2)` with up to four arguments.
pub fn prctl(option: i32, args: [u64; 4]) -> io::Result<usize> {
    // SAFETY: only options that take integers are used.
    check(unsafe { libc::prctl(option, args[0], args[1], args[2], args[3]) }.into())
}

/// `fork(2)`: `None` in the child, its process id in the parent.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: this program is single-threaded whenever it forks.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

/// `pidfd_open(2)`.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    let fd = syscall(libc::SYS_pidfd_open, [pid as usize, 0, 0, 0, 0, 0])?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Ends the calling process without running destructors of the image it was forked from.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit code.
    Code(i32),
    /// Killed by a signal.
    Signal(i32),
}

/// Waits for `pid` (-1: any child). With `nohang`, `None` while none has ended.
pub fn waitpid(pid: i32, nohang: bool) -> io::Result<Option<(i32, Ended)>> {
    let mut status = 0;
    let flags = if nohang { libc::WNOHANG } else { 0 };
    // SAFETY: status is a valid place for an int.
    let pid = check(unsafe { libc::waitpid(pid, &mut status, flags) }.into())?;
    if pid == 0 {
        return Ok(None);
    }
    let ended = if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    };
    Ok(Some((pid as i32, ended)))
}

/// `process_vm_readv(2)` of `len` bytes at `from` of a process's to the caller's own `to`; how many were read.
///
/// # Safety
///
/// The bytes at `to` are the caller's, who uses them for nothing else meanwhile.
pub unsafe fn read_memory(pid: i32, from: usize, to: usize, len: usize) -> io::Result<usize> {
    let range = |start: usize| libc::iovec {
        iov_base: start as *mut _,
        iov_len: len,
    };
    // SAFETY: what is read is an address to the kernel, what is written to is the caller's.
    check(unsafe { libc::process_vm_readv(pid, &range(to), 1, &range(from), 1, 0) } as libc::c_long)
}

/// Waits until `pid` has ended, and leaves it to be asked for.
pub fn wait_for_end(pid: i32) -> io::Result<()> {
    let (kind, flags) = (
        libc::P_PID as usize,
        (libc::WEXITED | libc::WNOWAIT) as usize,
    );
    syscall(libc::SYS_waitid, [kind, pid as usize, 0, flags, 0, 0]).map(drop)
}

/// Keeps all that the calling process has and gets in memory.
pub fn lock_all() -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) }.into()).map(drop)
}

/// Sends a signal; a process (or group) that is gone is no error.
pub fn kill(pid: i32, signal: i32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(pid, signal) };
}

/// Moves the calling thread to a CPU.
pub fn run_on(cpu: usize) -> io::Result<()> {
    let mask = 1u64 << cpu;
    let mask = std::ptr::from_ref(&mask) as usize;
    syscall(libc::SYS_sched_setaffinity, [0, 8, mask, 0, 0, 0]).map(drop)
}

/// A raw system call that libc has no wrapper for.
pub fn syscall(number: libc::c_long, a: [usize; 6]) -> io::Result<usize> {
    // SAFETY: callers pass arguments that are valid for the call they name.
    check(unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) })
}

// SPDX-License-Identifier: GPL-2.0

//! System calls with errors as `io::Result`.

use std::io;
use std::time::Duration;

/// Bytes of a base page.
pub const PAGE: usize = 4096;

fn check(value: i64) -> io::Result<i64> {
    match value {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Anonymous memory, private or shared, never a huge page; it lives until `unmap` or the end of the process.
pub fn map(bytes: usize, sharing: i32) -> io::Result<usize> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        sharing | libc::MAP_ANONYMOUS,
    );
    // SAFETY: the kernel chooses a range that nothing else uses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    check(start as i64)?;
    advise(start as usize, bytes, libc::MADV_NOHUGEPAGE)?;
    Ok(start as usize)
}

/// `munmap(2)`.
pub fn unmap(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: callers own the range and do not use it any more.
    check(unsafe { libc::munmap(start as *mut _, bytes) }.into()).map(drop)
}

/// `madvise(2)`.
pub fn advise(start: usize, bytes: usize, advice: i32) -> io::Result<()> {
    // SAFETY: callers own the range they advise on.
    check(unsafe { libc::madvise(start as *mut _, bytes, advice) }.into()).map(drop)
}

/// Brings a range into memory for good.
pub fn lock(start: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: callers own the range.
    check(unsafe { libc::mlock(start as *const _, bytes) }.into()).map(drop)
}

/// `fork(2)`: `None` in the child, its process id in the parent.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: this program has one thread.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(None),
        pid => Ok(Some(pid as i32)),
    }
}

/// Ends a forked child without running what its parent has left to run.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for a child; how it ended, in words, unless well.
pub fn wait(pid: i32) -> io::Result<Option<String>> {
    let mut status = 0;
    // SAFETY: a place for an int.
    check(unsafe { libc::waitpid(pid, &mut status, 0) }.into())?;
    Ok(match status {
        0 => None,
        _ if libc::WIFSIGNALED(status) => {
            Some(format!("was killed by signal {}", libc::WTERMSIG(status)))
        }
        _ => Some(format!("ended with code {}", libc::WEXITSTATUS(status))),
    })
}

/// Sends SIGKILL; a process that is gone is no error.
pub fn kill(pid: i32) {
    // SAFETY: plain system call.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// A pipe: reading and writing end.
pub fn pipe() -> io::Result<[i32; 2]> {
    let mut ends = [0; 2];
    // SAFETY: a place for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok(ends)
}

/// Lets others run for a while.
pub fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

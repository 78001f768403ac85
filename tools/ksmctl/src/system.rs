// SPDX-License-Identifier: GPL-2.0

//! What is asked of the kernel other than reading files.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whose a file is, and who may do what with it.
pub struct Access {
    pub user: u32,
    /// As `stat` has it, the kind of file included.
    pub mode: u32,
    /// Its file system gives nobody the rights of a file's owner: so are those mounted that a user has brought.
    pub nosuid: bool,
}

/// The kernel, or something that stands in for it in a test.
pub trait System {
    /// May this process load modules?
    fn is_root(&self) -> bool;
    /// The running kernel's release.
    fn release(&self) -> String;
    /// Where the user is.
    fn current_directory(&self) -> PathBuf;
    /// Of the file of this name, or of the link.
    fn access(&self, path: &Path) -> io::Result<Access>;
    /// Writes a setting.
    fn write(&self, path: &Path, value: &str) -> io::Result<()>;
    /// Writes a setting by another process, and calls `waiting` about ten times a second until that has ended.
    /// An `ErrorKind::Other` says what killed it.
    fn write_apart(&self, path: &Path, value: &str, waiting: &mut dyn FnMut()) -> io::Result<()>;
    /// Loads a module.
    fn insert(&self, file: &Path) -> io::Result<()>;
    /// Unloads a module.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Lets time pass.
    fn pause(&self, time: Duration);
    /// Has the user asked for an end since this was last called?
    fn take_interruption(&self) -> bool;
    /// Tells the user what is going on.
    fn tell(&self, line: &str);
}

/// The running kernel.
pub struct Linux;

impl System for Linux {
    fn is_root(&self) -> bool {
        // SAFETY: The call takes nothing and cannot fail.
        unsafe { libc::geteuid() == 0 }
    }

    fn release(&self) -> String {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        release.trim_end().to_owned()
    }

    fn current_directory(&self) -> PathBuf {
        // Not its name: what that leads to can change.
        PathBuf::from(".")
    }

    fn access(&self, path: &Path) -> io::Result<Access> {
        let file = std::fs::symlink_metadata(path)?;
        Ok(Access {
            user: file.uid(),
            mode: file.mode(),
            nosuid: is_nosuid(path)?,
        })
    }

    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        open_for_writing(path)?.write_all(value.as_bytes())
    }

    fn write_apart(&self, path: &Path, value: &str, waiting: &mut dyn FnMut()) -> io::Result<()> {
        let file = open_for_writing(path)?;
        // SAFETY: The program has one thread; the child only makes system calls.
        let child = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => write_and_exit(file.as_raw_fd(), value.as_bytes()),
            child => child,
        };
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
                0 => {
                    waiting();
                    if crate::signals::pending() {
                        // The child has heard it itself only if it was meant for the whole group, and after it began to write:
                        // it is told each time.
                        // SAFETY: It is ours and has not been waited for.
                        unsafe { libc::kill(child, libc::SIGINT) };
                    }
                }
                -1 if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted => {
                    return Err(io::Error::last_os_error())
                }
                -1 => {}
                _ => return end_of_child(status),
            }
            self.pause(Duration::from_millis(100));
        }
    }

    fn insert(&self, file: &Path) -> io::Result<()> {
        const COMPRESSED_FILE: i32 = 4;
        let compressed = file
            .extension()
            .is_some_and(|end| end == "xz" || end == "zst" || end == "gz");
        let flags = if compressed { COMPRESSED_FILE } else { 0 };
        let file = File::open(file)?;
        // SAFETY: The descriptor is open and the parameters are a constant string.
        check(unsafe {
            libc::syscall(
                libc::SYS_finit_module,
                file.as_raw_fd(),
                c"".as_ptr(),
                flags,
            )
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = CString::new(name)?;
        // SAFETY: The name is a C string that outlives the call.
        check(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn take_interruption(&self) -> bool {
        crate::signals::take()
    }

    fn tell(&self, line: &str) {
        crate::output::tell(&format!("ksmctl: {line}"));
    }
}

/// A file of sysfs: never created.
fn is_nosuid(path: &Path) -> io::Result<bool> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::uninit();
    // SAFETY: A string, and room for the answer.
    check(unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) }.into())?;
    // SAFETY: The call has filled it in.
    Ok(unsafe { answer.assume_init() }.f_flag & libc::ST_NOSUID != 0)
}

fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// In the child: one write, its error number as the exit code.
fn write_and_exit(fd: RawFd, value: &[u8]) -> ! {
    // SAFETY: The descriptor is open and the slice is its own; `_exit` runs no code of the parent's.
    unsafe {
        let written = libc::write(fd, value.as_ptr().cast(), value.len());
        libc::_exit(if written < 0 {
            *libc::__errno_location()
        } else {
            0
        })
    }
}

fn end_of_child(status: i32) -> io::Result<()> {
    if libc::WIFSIGNALED(status) {
        let text = match libc::WTERMSIG(status) {
            libc::SIGKILL => "killed, by the kernel for want of memory or by somebody".to_owned(),
            signal => format!("ended by signal {signal}"),
        };
        return Err(io::Error::other(text));
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Running the command and passing on what it writes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::dump;
use super::port::Port;
use super::sys;
use crate::common::elf;
use crate::common::frame::{Frame, REQUEST_DUMP};
use crate::common::job::{Job, WORK_DIR};

const PATH: &str = "/work:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much is read from the command at a time.
const CHUNK: usize = 128 * 1024;

/// Most that is read from a pipe after the command's end: others may hold it and go on writing.
const REST: usize = 1 << 20;

/// Runs the command to its end, its output flowing to the host, and sends its exit code.
pub fn run(job: &Job, port: &mut Port) -> Result<(), String> {
    let children = sys::child_events()?;
    let (mut stdout, stdout_end) = Outlet::open(Frame::Stdout)?;
    let (mut stderr, stderr_end) = Outlet::open(Frame::Stderr)?;
    let child = start(job, stdout_end, stderr_end)?;
    loop {
        wait_for(
            [stdout.fd(), stderr.fd(), port.fd(), children.as_raw_fd()],
            port.patience(),
        );
        sys::forget_child_events(&children);
        // The child is looked for before its output is read, so that nothing written before its
        // end is left in a pipe.
        let ended = reap_until(child);
        stdout.pass_on(port, CHUNK);
        stderr.pass_on(port, CHUNK);
        answer_requests(port);
        if let Some(status) = ended {
            stdout.pass_on(port, REST);
            stderr.pass_on(port, REST);
            port.send(&Frame::Exited(exit_code(status)));
            return Ok(());
        }
    }
}

/// The reading end of a pipe on which the command writes.
struct Outlet {
    /// `None` once the command has closed its end.
    pipe: Option<File>,
    frame: fn(Vec<u8>) -> Frame,
}

impl Outlet {
    fn open(frame: fn(Vec<u8>) -> Frame) -> Result<(Outlet, OwnedFd), String> {
        let (reader, writer) =
            sys::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        Ok((
            Outlet {
                pipe: Some(reader.into()),
                frame,
            },
            writer,
        ))
    }

    /// For `poll`, which ignores negative numbers.
    fn fd(&self) -> RawFd {
        self.pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Sends on what stands in the pipe now, up to about `limit` bytes.
    fn pass_on(&mut self, port: &mut Port, limit: usize) {
        let mut sent = 0;
        while let Some(pipe) = self.pipe.as_mut().filter(|_| sent < limit) {
            let mut data = vec![0; CHUNK];
            match pipe.read(&mut data) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    data.truncate(length);
                    port.send(&(self.frame)(data));
                    sent += length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing there now.
                Err(_) => return,
            }
        }
    }
}

fn start(job: &Job, stdout: OwnedFd, stderr: OwnedFd) -> Result<i32, String> {
    let (program, arguments) = job.command.split_first().ok_or("there is no command")?;
    let program_path = find_program(Path::new(program));
    let mut command = Command::new(&program_path);
    command
        .arg0(program)
        .args(arguments)
        .current_dir(WORK_DIR)
        .env_clear();
    command
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env("TERM", "dumb")
        .env("USER", "root");
    for pair in &job.env {
        if let Some((name, value)) = pair.to_string_lossy().split_once('=') {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    // SAFETY: both system calls may be made between fork and exec. The session of its own keeps
    // what the command sends to its process group away from this process.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            sys::unblock_child_signal();
            Ok(())
        })
    };
    let child = command
        .spawn()
        .map_err(|error| why_not(&program_path, &error))?;
    i32::try_from(child.id()).map_err(|error| error.to_string())
}

/// The program's path: the first one in `PATH`, or what was given when it holds a slash or is
/// found nowhere.
fn find_program(program: &Path) -> std::path::PathBuf {
    if program.components().count() == 1 && !program.as_os_str().to_string_lossy().contains('/') {
        for directory in PATH.split(':') {
            let candidate = Path::new(directory).join(program);
            if candidate.is_file() {
                return candidate;
            }
        }
    }
    program.to_path_buf()
}

fn why_not(program: &Path, error: &io::Error) -> String {
    let shown = program.display();
    if error.kind() == io::ErrorKind::NotFound && Path::new(WORK_DIR).join(program).exists() {
        let interpreter = interpreter(&Path::new(WORK_DIR).join(program))
            .unwrap_or_else(|| "its interpreter".into());
        return format!(
            "cannot run {shown}: the guest has no {interpreter}; link the program statically (cc -static, or \
             -C target-feature=+crt-static for Rust), or use #!/bin/sh for a script"
        );
    }
    format!("cannot run {shown}: {error}; the guest has what was named as FILE (in {WORK_DIR}) and busybox")
}

/// The loader or script interpreter that a program asks for.
fn interpreter(program: &Path) -> Option<String> {
    let bytes = fs::read(program).ok()?;
    let Some(line) = bytes.strip_prefix(b"#!") else {
        return elf::loader(&bytes);
    };
    let line = line.split(|&byte| byte == b'\n').next()?;
    String::from_utf8_lossy(line)
        .split_whitespace()
        .next()
        .map(str::to_owned)
}

/// Sleeps until one of the descriptors has something to read or is closed, at most `patience` milliseconds.
fn wait_for<const N: usize>(fds: [RawFd; N], patience: i32) {
    let mut fds = fds.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    sys::poll(&mut fds, patience);
}

/// Reaps every ended process (orphans come to process 1); the status of `child` if it is among them.
fn reap_until(child: i32) -> Option<i32> {
    let mut found = None;
    while let Some((pid, status)) = sys::reap() {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

fn answer_requests(port: &mut Port) {
    port.look();
    let mut ready = [libc::pollfd {
        fd: port.fd(),
        events: libc::POLLIN,
        revents: 0,
    }];
    sys::poll(&mut ready, 0);
    if ready[0].revents & libc::POLLIN != 0 && port.read() == Some(REQUEST_DUMP) {
        port.send(&Frame::Note(dump::everything()));
        port.send(&Frame::Dumped);
    } else if ready[0].revents & libc::POLLHUP != 0 {
        port.close();
    }
}

fn exit_code(status: i32) -> u8 {
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    u8::try_from(code).unwrap_or(255)
}

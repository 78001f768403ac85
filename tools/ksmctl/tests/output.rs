// SPDX-License-Identifier: GPL-2.0

//! The program itself when nobody reads what it says: it goes on and ends as if somebody did.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The exit code of `ksmctl` on a machine with little in it.
fn run(name: &str, command: &str, out: Stdio, err: Stdio) -> Option<i32> {
    let root: PathBuf = std::env::temp_dir().join(format!("ksmctl-{}-{name}", std::process::id()));
    let ksm = root.join("sys/kernel/mm/ksm");
    fs::create_dir_all(&ksm).expect("a directory");
    fs::write(ksm.join("run"), "0\n").expect("a file");
    let status = Command::new(env!("CARGO_BIN_EXE_ksmctl"))
        .args(["--root", root.to_str().expect("a plain name"), command])
        .stdout(out)
        .stderr(err)
        .status()
        .expect("ksmctl");
    let _ = fs::remove_dir_all(&root);
    status.code()
}

/// Something like a pipe whose reader has gone.
fn unread() -> Stdio {
    let (_reader, writer) = UnixStream::pair().expect("two sockets");
    OwnedFd::from(writer).into()
}

/// A file on a full disk.
fn full() -> Stdio {
    let file = OpenOptions::new().write(true).open("/dev/full");
    file.expect("/dev/full").into()
}

#[test]
fn an_error_that_nobody_reads() {
    for (name, err) in [("pipe", unread()), ("full", full())] {
        // Nothing is loaded; or this is not root.
        assert_eq!(run(name, "unload", Stdio::null(), err), Some(1), "{name}");
    }
}

#[test]
fn an_answer_that_nobody_reads() {
    let code = run("answer", "status", unread(), Stdio::null());
    assert_eq!(code, Some(0), "whoever closes a pipe has read enough");
    let code = run("full_answer", "status", full(), Stdio::null());
    assert_eq!(code, Some(1), "an answer that is lost is no success");
    let code = run("full_both", "status", full(), full());
    assert_eq!(code, Some(1), "even if that cannot be told");
}

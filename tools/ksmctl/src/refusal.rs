// SPDX-License-Identifier: GPL-2.0

//! Why the kernel did not load the module, from the error number and what it wrote into its log.

use std::io;
use std::path::Path;

use crate::failure::Failure;
use crate::kmsg::Record;

const REBUILD: &str =
    "build it for the kernel that runs: make module KERNEL=VERSION in a checkout of swapksm";

/// One line that says why, and one that says what to do.
pub fn explain(error: &io::Error, log: &[Record], file: &Path) -> Failure {
    let file = file.display();
    let known = log.iter().rev().find_map(|record| from_log(&record.text));
    if let Some((why, remedy)) = known {
        return Failure::new(format!("{file} was not loaded: {why}")).remedy(remedy);
    }
    let (why, remedy) = match error.raw_os_error() {
        Some(libc::EEXIST) => ("it is loaded already", "`ksmctl status` tells how it is doing"),
        Some(libc::EBUSY) => (
            "another livepatch of this kernel is changing over",
            "wait until the files /sys/kernel/livepatch/*/transition say 0, then try again",
        ),
        Some(libc::EPERM) => (
            "this kernel does not let root load it",
            "kernel lockdown (Secure Boot) wants signed modules, and kernel.modules_disabled = 1 forbids them all",
        ),
        Some(libc::EKEYREJECTED | libc::ENOKEY) => (
            "this kernel loads only modules with a signature it knows",
            "sign it with a key of this machine's (see Secure Boot and MOK in Debian's documentation)",
        ),
        Some(libc::ENOEXEC) => ("it is no module for this kernel", REBUILD),
        Some(libc::ENOMEM) => ("there is not enough memory", "free some memory, then try again"),
        _ => return other(error, log, &file.to_string()),
    };
    Failure::new(format!("{file} was not loaded: {why}")).remedy(remedy)
}

/// Was it refused for pages that unmerging had left, and may leave no more if it is repeated?
pub fn is_leftover(log: &[Record]) -> bool {
    log.iter().any(|record| {
        record.text.starts_with("swapksm: not loaded: ") && record.text.contains(LEFT)
    })
}

/// What the module's line says then (kmod/takeover.rs).
const LEFT: &str = "left merged by run 2";

/// Lines of the log that name the cause, whatever the error number.
fn from_log(line: &str) -> Option<(String, &'static str)> {
    if let Some(reason) = line.strip_prefix("swapksm: not loaded: ") {
        let reason = reason.split(';').next().unwrap_or(reason);
        if reason.contains(LEFT) {
            return Some((
                reason.to_owned(),
                "processes keep these pages: with what they write to, or when they exit, they let them go; then try again",
            ));
        }
        let remedy = "something else writes to /sys/kernel/mm/ksm/run (ksmtuned?), or processes keep pages merged: see `ksmctl status`";
        return Some((reason.to_owned(), remedy));
    }
    if let Some(magic) = line.strip_prefix("swapksm: version magic ") {
        let mut quoted = magic
            .split('\'')
            .skip(1)
            .step_by(2)
            .map(|text| text.split(' ').next().unwrap_or(text));
        let (built, running) = (quoted.next()?, quoted.next()?);
        let why = if built == running {
            format!("it was built for a kernel with other options than this {running}")
        } else {
            format!("it was built for kernel {built}, this is {running}")
        };
        return Some((why, REBUILD));
    }
    if let Some(symbol) = line.strip_prefix("swapksm: Unknown symbol ") {
        let symbol = symbol.split(' ').next()?;
        return Some((format!("this kernel does not have {symbol}"), REBUILD));
    }
    if line.contains("not found in symbol table") {
        let symbol = line.split('\'').nth(1)?;
        return Some((format!("this kernel does not have {symbol}"), REBUILD));
    }
    if line.contains("livepatch support is disabled") {
        return Some((
            "this kernel cannot be patched while it runs".to_owned(),
            "use a kernel with CONFIG_LIVEPATCH, such as Debian's",
        ));
    }
    if line.contains("not compatible with the already installed livepatches") {
        // We replace no other livepatch, so this is said only of one that has our state and a later version of it.
        let remedy = "disable the other livepatch (see /sys/kernel/livepatch) first, or load the later version";
        return Some((
            "a later version of swapksm is in charge, under another name".to_owned(),
            remedy,
        ));
    }
    None
}

/// The error itself, and the last thing the kernel said about us.
fn other(error: &io::Error, log: &[Record], file: &str) -> Failure {
    let said = log
        .iter()
        .rev()
        .find(|record| record.text.contains("swapksm") || record.text.contains("livepatch"));
    let said = said
        .map(|record| format!(" (the kernel says: {})", record.text))
        .unwrap_or_default();
    Failure::new(format!("{file} was not loaded: {error}{said}"))
        .remedy("`dmesg` has the kernel's whole log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errno: i32, log: &[&str]) -> String {
        let log: Vec<_> = log
            .iter()
            .map(|text| Record {
                level: 3,
                text: (*text).to_owned(),
            })
            .collect();
        let text = explain(
            &io::Error::from_raw_os_error(errno),
            &log,
            Path::new("swapksm.ko"),
        )
        .to_string();
        text.lines().next().unwrap().to_owned()
    }

    #[test]
    fn the_log_names_the_cause() {
        let magic = "swapksm: version magic '7.2.12+deb13-amd64 SMP preempt mod_unload modversions ' should be '7.3.4+deb13-amd64 SMP preempt mod_unload modversions '";
        assert_eq!(
            told(libc::ENOEXEC, &[magic]),
            "ksmctl: swapksm.ko was not loaded: it was built for kernel 7.2.12+deb13-amd64, this is 7.3.4+deb13-amd64"
        );
        assert_eq!(
            told(
                libc::EINVAL,
                &["livepatch: symbol 'break_ksm' not found in symbol table"]
            ),
            "ksmctl: swapksm.ko was not loaded: this kernel does not have break_ksm"
        );
        assert_eq!(
            told(
                libc::ENOENT,
                &[
                    "swapksm: Unknown symbol _RNvNtCs_x (err -2)",
                    "something else"
                ]
            ),
            "ksmctl: swapksm.ko was not loaded: this kernel does not have _RNvNtCs_x"
        );
        assert_eq!(
            told(libc::EBUSY, &["swapksm: not loaded: the kernel's own samepage merging is running; write 2 to …", "livepatch: failed"]),
            "ksmctl: swapksm.ko was not loaded: the kernel's own samepage merging is running"
        );
    }

    #[test]
    fn the_error_number_names_the_cause() {
        assert_eq!(
            told(libc::EEXIST, &[]),
            "ksmctl: swapksm.ko was not loaded: it is loaded already"
        );
        assert_eq!(
            told(libc::EIO, &["livepatch: failed to patch object 'vmlinux'"]),
            "ksmctl: swapksm.ko was not loaded: Input/output error (os error 5) (the kernel says: livepatch: failed to patch object 'vmlinux')"
        );
    }
}

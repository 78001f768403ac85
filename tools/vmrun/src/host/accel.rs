// SPDX-License-Identifier: GPL-2.0

//! KVM or translation. A `/dev/kvm` that is there may still not be able to boot this kernel, so the
//! first run tries, and the verdict is remembered until the host boots anew or its QEMU changes.

use std::fs::{self, OpenOptions};

use super::args::{Accel, RunArgs};
use super::cache::Cache;
use super::kernel::Kernel;
use super::qemu::{Engine, Qemu};
use super::run;

const DEVICE: &str = "/dev/kvm";
const WORKS: &str = "works";

/// The engine for this run.
pub fn choose(
    args: &RunArgs,
    cache: &Cache,
    kernel: &Kernel,
    qemu: &Qemu,
) -> Result<Engine, String> {
    if args.icount {
        return Ok(Engine::Icount);
    }
    let openable = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(DEVICE)
            .map(drop)
    };
    match args.accel {
        Accel::Tcg => Ok(Engine::Tcg),
        Accel::Kvm => match openable() {
            Ok(()) => Ok(Engine::Kvm),
            Err(error) => Err(format!(
                "--accel kvm: cannot open {DEVICE}: {error}; leave --accel away"
            )),
        },
        Accel::Auto if openable().is_err() => Ok(Engine::Tcg),
        Accel::Auto => remembered_or_tried(cache, kernel, qemu),
    }
}

fn remembered_or_tried(cache: &Cache, kernel: &Kernel, qemu: &Qemu) -> Result<Engine, String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let key = format!(
        "{} / {} / {}",
        boot.trim_end(),
        qemu.version,
        kernel.release
    );
    let path = cache.kvm_verdict();
    if let Some(verdict) = lookup(&fs::read_to_string(&path).unwrap_or_default(), &key) {
        return Ok(if verdict == WORKS {
            Engine::Kvm
        } else {
            Engine::Tcg
        });
    }
    eprintln!(
        "vm: trying {DEVICE} with {} (at most {} s, once after a boot of this machine)",
        kernel.release,
        run::TRIAL_SECONDS
    );
    let verdict = match run::fails_with_kvm(cache, kernel)? {
        None => WORKS.to_owned(),
        Some(reason) => {
            eprintln!("vm: {DEVICE} is there, but does not work: {reason}; QEMU's translator (TCG) is used instead");
            reason
        }
    };
    remember(&path, &key, &verdict);
    Ok(if verdict == WORKS {
        Engine::Kvm
    } else {
        Engine::Tcg
    })
}

/// The verdicts are lines `KEY: VERDICT`.
fn lookup<'a>(verdicts: &'a str, key: &str) -> Option<&'a str> {
    verdicts
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Keeps the verdicts of this boot only. A verdict that cannot be kept is found again next time.
fn remember(path: &std::path::Path, key: &str, verdict: &str) {
    let boot = key.split(" / ").next().unwrap_or_default();
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = old
        .lines()
        .filter(|line| line.starts_with(boot))
        .map(str::to_owned)
        .collect();
    lines.push(format!("{key}: {}", verdict.replace('\n', " ")));
    let partial = path.with_extension(format!("{}.part", std::process::id()));
    if fs::write(&partial, lines.join("\n") + "\n").is_ok() {
        let _ = fs::rename(&partial, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_found_by_their_whole_key() {
        let verdicts = "boot / QEMU 10 / 7.2: works\nboot / QEMU 10 / 7.3: KVM internal error\n";
        assert_eq!(lookup(verdicts, "boot / QEMU 10 / 7.2"), Some(WORKS));
        assert_eq!(
            lookup(verdicts, "boot / QEMU 10 / 7.3"),
            Some("KVM internal error")
        );
        assert_eq!(lookup(verdicts, "other / QEMU 10 / 7.3"), None);
    }

    #[test]
    fn a_new_boot_forgets_the_old_one() {
        let path = std::env::temp_dir().join(format!("vmrun-verdict-{}", std::process::id()));
        remember(&path, "b1 / q / k", WORKS);
        remember(&path, "b2 / q / k", "no");
        remember(&path, "b2 / q / l", WORKS);
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(text, "b2 / q / k: no\nb2 / q / l: works\n");
    }
}

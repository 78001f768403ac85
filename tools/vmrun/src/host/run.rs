// SPDX-License-Identifier: GPL-2.0

//! `tools/vm run`: from the arguments to a guest, and from the guest to an outcome. Also the trial boot.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::args::RunArgs;
use super::cache::{cannot, Cache};
use super::guest_log::{self, GuestLog};
use super::initramfs::{self, Contents};
use super::kernel::Kernel;
use super::outcome::{Facts, Outcome};
use super::qemu::{Disk, Engine, Machine};
use super::session::{lock, Limits, Session};
use crate::common::job::{Job, Load};
use crate::common::swap_header::swap_header;

/// Time for the checks at the end; generous, because the host may be busy.
const FINISH_LIMIT: Duration = Duration::from_secs(300);

/// How long the trial boot with KVM may take. A working one takes two seconds.
pub const TRIAL_SECONDS: u64 = 30;

/// Most lines of the guest's log that are shown when a run fails; the file has them all.
const LINES_SHOWN: usize = 400;

/// Runs the command in a guest and reports on standard error what went wrong.
pub fn run(
    args: &RunArgs,
    cache: &Cache,
    kernel: &Kernel,
    engine: Engine,
) -> Result<Outcome, String> {
    let own_files = own_files(args, cache, kernel)?;
    let job = Job {
        command: args.command.clone(),
        env: args.env.clone(),
        modules: Vec::new(),
        load: how_to_load(args, cache),
        swap_disk: args.swap.is_some(),
        zram: args.zram.unwrap_or(0),
        gets: args.gets.clone(),
        kmemleak: args.kmemleak,
    };
    let modules = kernel.modules(&module_names(args))?;
    let contents = Contents {
        job,
        modules: &modules,
        files: &args.files,
        own_files: &own_files,
    };
    let machine = Machine {
        engine,
        mem: args.mem,
        cpus: args.cpus(),
        nodes: args.numa,
        image: kernel.image(args.kaslr),
        initramfs: initramfs::build(cache, contents)?,
        disks: disks(args, cache)?,
        append: &kernel_arguments(args, kernel),
        extra: &args.qemu,
    };
    let mut end = boot(args, cache, kernel, &machine)?;
    if end.0.failed_at_boot {
        let first = keep_log(args, lock(&end.1).path());
        let reasons = end.0.outcome().reasons.join("; ");
        eprintln!(
            "vm: the guest did not come up, before swapksm was loaded ({reasons}); booting once more (the log of the first time: {})",
            first.display()
        );
        end = boot(args, cache, kernel, &machine)?;
    }
    let (facts, log) = end;
    let outcome = facts.outcome();
    report(&outcome, &lock(&log), args.verbose);
    Ok(outcome)
}

/// Where the log is that the next boot must not overwrite, because --log named it.
fn keep_log(args: &RunArgs, log: &Path) -> PathBuf {
    if args.log.is_none() {
        return log.to_owned();
    }
    let mut first = log.as_os_str().to_owned();
    first.push(".first");
    match std::fs::rename(log, &first) {
        Ok(()) => first.into(),
        Err(_) => log.to_owned(),
    }
}

/// Boots the machine and looks after it to its end.
fn boot(
    args: &RunArgs,
    cache: &Cache,
    kernel: &Kernel,
    machine: &Machine<'_>,
) -> Result<(Facts, Arc<Mutex<GuestLog>>), String> {
    let path = match &args.log {
        Some(path) => path.clone(),
        None => guest_log::new_path(&cache.logs()?),
    };
    let log = GuestLog::create(path, &args.expect_log, args.verbose)?;
    if args.verbose {
        eprintln!(
            "vm: booting {} ({}, {} MiB, {} CPUs)",
            kernel.release,
            machine.engine.name(),
            args.mem >> 20,
            args.cpus()
        );
    }
    let limits = Limits {
        boot: Duration::from_secs(args.boot_timeout),
        command: Duration::from_secs(args.timeout),
        finish: FINISH_LIMIT,
    };
    Ok(Session::start(machine, log, limits, &args.into, args.verbose)?.finish())
}

/// Does a guest come up with KVM? `None` if so, else why not.
pub fn fails_with_kvm(cache: &Cache, kernel: &Kernel) -> Result<Option<String>, String> {
    let contents = Contents {
        job: Job::default(),
        modules: &[],
        files: &[],
        own_files: &[],
    };
    let machine = Machine {
        engine: Engine::Kvm,
        mem: 512 << 20,
        cpus: 2,
        nodes: 1,
        image: kernel.image(false),
        initramfs: initramfs::build(cache, contents)?,
        disks: Vec::new(),
        append: &[],
        extra: &[],
    };
    let log = GuestLog::create(guest_log::new_path(&cache.logs()?), &[], false)?;
    let limit = Duration::from_secs(TRIAL_SECONDS);
    let limits = Limits {
        boot: limit,
        command: limit,
        finish: limit,
    };
    let nowhere = cache.logs()?;
    let (facts, _) = Session::start(&machine, log, limits, &nowhere, false)?.finish();
    let outcome = facts.outcome();
    Ok((outcome.code != 0).then(|| outcome.reasons.join("; ")))
}

/// swapksm.ko and ksmctl, as far as the run needs them.
fn own_files(args: &RunArgs, cache: &Cache, kernel: &Kernel) -> Result<Vec<PathBuf>, String> {
    if args.stock {
        return Ok(Vec::new());
    }
    let module = match &args.swapksm {
        Some(file) if file.file_name() == Some("swapksm.ko".as_ref()) => file.clone(),
        Some(file) => return Err(format!("{} is not called swapksm.ko", file.display())),
        None => cache.module(&kernel.release, args.debug_module),
    };
    if !module.exists() {
        return Err(format!(
            "there is no {}: run `make module`, or use --stock",
            module.display()
        ));
    }
    let ksmctl = cache.program("ksmctl");
    Ok(if ksmctl.exists() {
        vec![module, ksmctl]
    } else {
        vec![module]
    })
}

fn how_to_load(args: &RunArgs, cache: &Cache) -> Load {
    if args.stock || args.no_load {
        return Load::No;
    }
    // A ksmctl that knows `load` tells how it is used.
    let asked = Command::new(cache.program("ksmctl"))
        .args(["load", "--help"])
        .stdin(Stdio::null())
        .output();
    match asked {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => Load::Ksmctl,
        _ => Load::Insmod,
    }
}

fn module_names(args: &RunArgs) -> Vec<String> {
    let mut names = Vec::new();
    if args.swap.is_some() || !args.disks.is_empty() {
        names.push("virtio_blk".to_owned());
    }
    if args.zram.is_some() {
        names.push("zram".to_owned());
    }
    names.extend(args.modules.iter().cloned());
    names
}

fn kernel_arguments(args: &RunArgs, kernel: &Kernel) -> Vec<String> {
    let mut all = Vec::new();
    if kernel.has_checkers() {
        // Its reports are long, and all of KASAN's are wanted, not only the first. Pages are poisoned only if it is said
        // here: that is what finds a write through a mapping or a TLB entry that outlived its page.
        all.extend(["log_buf_len=8M", "kasan_multi_shot", "page_poison=1"].map(str::to_owned));
    } else {
        all.push("log_buf_len=1M".to_owned());
    }
    if !args.kmemleak {
        // It doubles the time to boot.
        all.push("kmemleak=off".to_owned());
    }
    all.extend(args.append.iter().cloned());
    all
}

/// The disks: those of --disk first, so that they are vda, vdb …, then the one for swap.
fn disks(args: &RunArgs, cache: &Cache) -> Result<Vec<Disk>, String> {
    let mut disks = Vec::new();
    for (index, &bytes) in args.disks.iter().enumerate() {
        disks.push(Disk {
            file: sparse_file(cache, bytes)?,
            serial: format!("disk{index}"),
        });
    }
    if let Some(bytes) = args.swap {
        let file = sparse_file(cache, bytes)?;
        let header = swap_header(bytes)
            .ok_or_else(|| format!("--swap: {bytes} bytes is no size for a swap disk"))?;
        file.write_all_at(&header, 0)
            .map_err(|error| format!("cannot write the swap disk: {error}"))?;
        disks.push(Disk {
            file,
            serial: "swap".to_owned(),
        });
    }
    Ok(disks)
}

/// A file of that size without a name: it is gone with the last process that has it open.
fn sparse_file(cache: &Cache, bytes: u64) -> Result<File, String> {
    use std::os::unix::fs::OpenOptionsExt;
    let directory = cache.disks()?;
    let failed = |error| cannot("make a disk for the guest in", &directory, &error);
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600);
    let file = options.open(&directory).map_err(failed)?;
    file.set_len(bytes).map_err(failed)?;
    Ok(file)
}

fn report(outcome: &Outcome, log: &GuestLog, verbose: bool) {
    if outcome.code == 0 {
        return;
    }
    let lines = log.recent();
    if !verbose && !lines.is_empty() {
        let skipped = lines.len().saturating_sub(LINES_SHOWN);
        eprintln!(
            "vm: the guest's log{}:",
            if skipped > 0 { ", its end" } else { "" }
        );
        for line in &lines[skipped..] {
            eprintln!("guest: {line}");
        }
    }
    for reason in &outcome.reasons {
        eprintln!("vm: {reason}");
    }
    eprintln!(
        "vm: exit code {}; the guest's whole log is in {}",
        outcome.code,
        log.path().display()
    );
}

// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::size::parse_size;

const EXIT_CODES: &str = "\
Exit codes:
  the command's own code, or 128 + N when signal N killed it; otherwise
  124  the command did not end within --timeout
  125  the runner could not do its work (bad arguments, no kernel, QEMU failed, command not found)
  126  the guest's kernel complained (BUG, WARNING, KASAN, lockdep, stall, panic …), or a check
       after the command failed (self-check, unload, lockdep, kmemleak), whatever the command said
  127  the guest ended without a result
Only the command's standard output goes to standard output. The guest's kernel log is always saved;
it is shown on standard error when the run fails.";

/// Runs a command in a fresh virtual machine with a chosen kernel.
#[derive(Parser, Debug)]
#[command(name = "tools/vm", bin_name = "tools/vm", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub request: Request,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Request {
    /// Boot a guest, run COMMAND in it, exit with its code
    #[command(after_help = EXIT_CODES, override_usage = "tools/vm run [OPTIONS] [FILE]... -- COMMAND [ARG]...")]
    Run(RunArgs),
}

/// How the guest's CPUs are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if a guest has been seen to boot with it, else TCG
    Auto,
    /// The host's CPU; needs a /dev/kvm that works
    Kvm,
    /// QEMU's translator; works everywhere
    Tcg,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Leave swapksm out: the kernel as it is shipped
    #[arg(long, conflicts_with = "no_load")]
    pub stock: bool,

    /// Put swapksm.ko and ksmctl into the working directory, but do not load them
    #[arg(long)]
    pub no_load: bool,

    /// Take the build of swapksm that has the self-check and assertions
    #[arg(long, conflicts_with = "stock")]
    pub debug_module: bool,

    /// Take this build of swapksm, whose name must be swapksm.ko
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stock", "debug_module"])]
    pub swapksm: Option<PathBuf>,

    /// The kernel: a version such as 7.2.12, a release, "debug" or "sid" [default: that of tools/prepare]
    #[arg(long, value_name = "VERSION")]
    pub kernel: Option<String>,

    /// Memory of the guest
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub mem: u64,

    /// CPUs of the guest [default: 2, or 1 with --icount]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: Option<u32>,

    /// NUMA nodes; memory and CPUs are divided among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub numa: u32,

    /// Swap on a disk of this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub swap: Option<u64>,

    /// Swap on zram of this size
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub zram: Option<u64>,

    /// A blank disk of this size: /dev/vda, /dev/vdb …
    #[arg(long = "disk", value_name = "SIZE", value_parser = parse_size)]
    pub disks: Vec<u64>,

    /// Load this module of the kernel's, and what it depends on, before the command
    #[arg(long = "module", value_name = "NAME")]
    pub modules: Vec<String>,

    /// Boot the packed image, so that the kernel moves itself to a random address (2 s more under TCG)
    #[arg(long)]
    pub kaslr: bool,

    /// Make guest time equal guest instructions (one CPU, no KVM)
    #[arg(long)]
    pub icount: bool,

    /// How the guest's CPUs are made
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,

    /// Seconds that the guest may take to come up; one that stalls before swapksm is loaded is booted once more
    #[arg(long, value_name = "SECONDS", default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..))]
    pub boot_timeout: u64,

    /// Seconds that COMMAND may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,

    /// A variable for COMMAND's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_env)]
    pub env: Vec<OsString>,

    /// After COMMAND copy this file of the guest into the directory given by --into
    #[arg(long = "get", value_name = "GUESTFILE")]
    pub gets: Vec<OsString>,

    /// Where --get puts files
    #[arg(long, value_name = "DIRECTORY", default_value = ".", requires = "gets")]
    pub into: PathBuf,

    /// More arguments for the guest's kernel
    #[arg(long = "append", value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub append: Vec<String>,

    /// One more argument for QEMU
    #[arg(long = "qemu", value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub qemu: Vec<OsString>,

    /// Lines of the guest's log that contain TEXT are no complaint
    #[arg(long = "expect-log", value_name = "TEXT")]
    pub expect_log: Vec<String>,

    /// Look for leaked kernel memory at the end (a kernel with kmemleak, such as --kernel debug)
    #[arg(long)]
    pub kmemleak: bool,

    /// Save the guest's log here [default: a new file in the cache]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,

    /// Show what is done, and the guest's log as it is written
    #[arg(long, short)]
    pub verbose: bool,

    /// Files and directories for the guest's working directory
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The command, found in the working directory or among busybox's
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl RunArgs {
    /// Number of CPUs.
    pub fn cpus(&self) -> u32 {
        self.smp
            .unwrap_or(if self.icount { 1 } else { 2.max(self.numa) })
    }
}

impl Cli {
    /// Parses and checks the process's arguments; a wrong one ends the process with 125 and a word why.
    pub fn parse_checked() -> Cli {
        let result = Cli::try_parse().and_then(|cli| {
            let Request::Run(args) = &cli.request;
            check(args).map_err(|text| Cli::command().error(ErrorKind::ArgumentConflict, text))?;
            Ok(cli)
        });
        result.unwrap_or_else(|error| {
            let _ = error.print();
            // Help and version are no failure, and no code of the runner's may look like the command's.
            std::process::exit(if error.use_stderr() {
                i32::from(super::RUNNER_FAILED)
            } else {
                0
            })
        })
    }
}

fn check(args: &RunArgs) -> Result<(), String> {
    let cpus = args.cpus();
    if args.icount && cpus != 1 {
        return Err("--icount needs a single CPU: leave --smp away".into());
    }
    if args.icount && args.accel == Accel::Kvm {
        return Err(
            "--icount counts translated instructions and cannot be had with --accel kvm".into(),
        );
    }
    if cpus % args.numa != 0 {
        return Err(format!(
            "{cpus} CPUs cannot be divided evenly among {} NUMA nodes: change --smp",
            args.numa
        ));
    }
    if args.mem < 64 << 20 {
        return Err("the guest needs at least 64M of memory: raise --mem".into());
    }
    Ok(())
}

fn parse_env(text: &str) -> Result<OsString, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.into()),
        _ => Err("write it as NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<RunArgs, String> {
        let line = ["tools/vm", "run"].iter().chain(line);
        let Request::Run(args) = Cli::try_parse_from(line)
            .map_err(|error| error.to_string())?
            .request;
        check(&args)?;
        Ok(args)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn files_and_command_are_told_apart() {
        let args = parse(&["--stock", "a", "b/c", "--", "./a", "--mem", "--", "x"]).unwrap();
        assert!(args.stock);
        assert_eq!(args.files, [PathBuf::from("a"), PathBuf::from("b/c")]);
        assert_eq!(args.command, ["./a", "--mem", "--", "x"]);
    }

    #[test]
    fn defaults() {
        let args = parse(&["--", "true"]).unwrap();
        assert_eq!(
            (args.mem, args.cpus(), args.numa, args.swap, args.zram),
            (1 << 30, 2, 1, None, None)
        );
        assert!(!args.stock && !args.no_load && !args.icount);
    }

    #[test]
    fn all_of_the_specification() {
        let line =
            "--kernel debug --mem 512M --smp 4 --numa 2 --swap 256M --zram 64M --timeout 9 f -- c";
        let args = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(args.kernel.as_deref(), Some("debug"));
        assert_eq!((args.mem, args.cpus(), args.numa), (512 << 20, 4, 2));
        assert_eq!(
            (args.swap, args.zram, args.timeout),
            (Some(256 << 20), Some(64 << 20), 9)
        );
    }

    #[test]
    fn one_cpu_under_icount_and_one_for_each_node() {
        assert_eq!(parse(&["--icount", "--", "c"]).unwrap().cpus(), 1);
        assert_eq!(parse(&["--numa", "4", "--", "c"]).unwrap().cpus(), 4);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in [
            "a b",
            "--",
            "--icount --smp 2 -- c",
            "--icount --accel kvm -- c",
            "--smp 3 --numa 2 -- c",
            "--stock --no-load -- c",
            "--mem 1M -- c",
            "--env novalue -- c",
            "--timeout 0 -- c",
            "--into d -- c",
        ] {
            assert!(
                parse(&line.split(' ').collect::<Vec<_>>()).is_err(),
                "{line}"
            );
        }
    }
}

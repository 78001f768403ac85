// SPDX-License-Identifier: GPL-2.0

//! QEMU: which one, its arguments, and a guest that runs in it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::memory_file;
use crate::common::frame::PORT_NAME;

const PROGRAM: &str = "qemu-system-x86_64";

/// Older ones crash these kernels under multi-threaded translation (seen with 7.2: self-modifying code).
const OLDEST: u32 = 10;

/// An installed QEMU.
pub struct Qemu {
    /// As it names itself, for telling one installation from another.
    pub version: String,
}

impl Qemu {
    /// Looks for a QEMU that is new enough.
    pub fn find() -> Result<Qemu, String> {
        let output = Command::new(PROGRAM).arg("--version").output();
        let output = output
            .map_err(|error| format!("cannot run {PROGRAM}: {error}; tools/prepare installs it"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().next().unwrap_or_default().to_owned();
        match major(&version) {
            Some(major) if major >= OLDEST => Ok(Qemu { version }),
            _ => Err(format!(
                "{PROGRAM} must be version {OLDEST} or newer, this one says {version:?}; tools/prepare installs a newer one"
            )),
        }
    }
}

fn major(version: &str) -> Option<u32> {
    let number = version
        .split_whitespace()
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}

/// The engine under the guest's CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The host's CPU.
    Kvm,
    /// Translation, one thread for each CPU.
    Tcg,
    /// Translation where guest time is the count of instructions.
    Icount,
}

impl Engine {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Engine::Kvm => &["-accel", "kvm"],
            Engine::Tcg => &["-accel", "tcg,thread=multi"],
            Engine::Icount => &["-accel", "tcg", "-icount", "shift=0,sleep=off"],
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Kvm => "KVM",
            Engine::Tcg => "TCG",
            Engine::Icount => "TCG with icount",
        }
    }
}

/// A disk of the guest.
pub struct Disk {
    /// Its contents; the file needs no name.
    pub file: File,
    /// What the guest reads as its serial number.
    pub serial: String,
}

/// Everything that makes a guest.
pub struct Machine<'a> {
    pub engine: Engine,
    pub mem: u64,
    pub cpus: u32,
    pub nodes: u32,
    pub image: PathBuf,
    pub initramfs: File,
    pub disks: Vec<Disk>,
    /// More arguments for the kernel.
    pub append: &'a [String],
    /// More arguments for QEMU.
    pub extra: &'a [OsString],
}

/// The kernel's arguments that every guest gets.
const KERNEL_ARGUMENTS: &[&str] = &[
    // The log to the first serial line, all of it.
    "console=ttyS0",
    "ignore_loglevel",
    "printk.devkmsg=on",
    // A kernel that cannot go on ends the guest at once; QEMU does not start it again.
    "panic=-1",
    "oops=panic",
    // Hangs are found, but a busy host is not taken for one.
    "watchdog_thresh=30",
    "softlockup_panic=1",
    "softlockup_all_cpu_backtrace=1",
    "rcupdate.rcu_cpu_stall_timeout=60",
    "unknown_nmi_panic",
    // Lets a debugger write through /proc/PID/mem, as the kernel's own KSM selftest does.
    "proc_mem.force_override=always",
    // The initramfs in memory that is never swapped.
    "rootfstype=ramfs",
    // None of these devices is there; do not look for them.
    "i8042.noaux",
    "i8042.nokbd",
];

impl Machine<'_> {
    /// QEMU's arguments; its ends of the guest's three lines are open descriptors.
    fn arguments(&self, console: RawFd, port: RawFd, monitor: RawFd) -> Vec<OsString> {
        let mut line: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| line.extend(words.iter().map(OsString::from));
        add(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "pc,usb=off,vmport=off",
        ]);
        add(self.engine.arguments());
        // With 57-bit addresses one boot of 17 showed a KASAN report in the kernel's own start.
        add(&["-cpu", "max,la57=off"]);
        let mem = format!("{}K", self.mem >> 10);
        add(&["-m", &mem]);
        add(&[
            "-smp",
            &format!("{},sockets={},maxcpus={}", self.cpus, self.nodes, self.cpus),
        ]);
        let cpus_a_node = self.cpus / self.nodes;
        for node in (0..self.nodes).filter(|_| self.nodes > 1) {
            // Pages of 4 KiB, the last node takes what does not divide.
            let share = (self.mem / u64::from(self.nodes)) & !0xf_ffff;
            let size = if node + 1 == self.nodes {
                self.mem - share * u64::from(node)
            } else {
                share
            };
            let (first, last) = (node * cpus_a_node, (node + 1) * cpus_a_node - 1);
            add(&[
                "-object",
                &format!("memory-backend-ram,id=m{node},size={}K", size >> 10),
            ]);
            add(&[
                "-numa",
                &format!("node,nodeid={node},memdev=m{node},cpus={first}-{last}"),
            ]);
        }
        add(&["-kernel", &self.image.to_string_lossy()]);
        add(&["-initrd", &descriptor_path(&self.initramfs)]);
        let mut append: Vec<&str> = KERNEL_ARGUMENTS.to_vec();
        append.extend(self.append.iter().map(String::as_str));
        add(&["-append", &append.join(" ")]);
        add(&[
            "-chardev",
            &format!("socket,id=console,fd={console}"),
            "-serial",
            "chardev:console",
        ]);
        add(&[
            "-chardev",
            &format!("socket,id=port,fd={port}"),
            "-device",
            "virtio-serial-pci",
        ]);
        add(&[
            "-device",
            &format!("virtserialport,chardev=port,name={PORT_NAME}"),
        ]);
        add(&[
            "-chardev",
            &format!("socket,id=monitor,fd={monitor}"),
            "-mon",
            "chardev=monitor,mode=readline",
        ]);
        for (index, disk) in self.disks.iter().enumerate() {
            let file = descriptor_path(&disk.file);
            add(&["-blockdev", &format!("driver=file,node-name=d{index},filename={file},cache.no-flush=on,discard=unmap")]);
            add(&[
                "-device",
                &format!("virtio-blk-pci,drive=d{index},serial={}", disk.serial),
            ]);
        }
        line.extend(self.extra.iter().cloned());
        line
    }

    /// Starts the guest.
    pub fn start(&self) -> Result<Guest, String> {
        let broken = |error: io::Error| format!("cannot start {PROGRAM}: {error}");
        let (console, console_end) = UnixStream::pair().map_err(broken)?;
        let (port, port_end) = UnixStream::pair().map_err(broken)?;
        let (monitor, monitor_end) = UnixStream::pair().map_err(broken)?;
        let arguments = self.arguments(
            console_end.as_raw_fd(),
            port_end.as_raw_fd(),
            monitor_end.as_raw_fd(),
        );
        let mut kept = vec![
            console_end.as_raw_fd(),
            port_end.as_raw_fd(),
            monitor_end.as_raw_fd(),
        ];
        kept.push(self.initramfs.as_raw_fd());
        kept.extend(self.disks.iter().map(|disk| disk.file.as_raw_fd()));
        let said = memory_file::new(c"qemu-messages").map_err(broken)?;
        let (stdout, stderr) = (
            said.try_clone().map_err(broken)?,
            said.try_clone().map_err(broken)?,
        );
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        // SAFETY: fcntl and prctl may be called between fork and exec; the list was made before.
        unsafe {
            command.pre_exec(move || {
                for &fd in &kept {
                    libc::fcntl(fd, libc::F_SETFD, 0);
                }
                // However the runner ends, its guest ends too.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let child = command.spawn().map_err(broken)?;
        Ok(Guest {
            child,
            said,
            console,
            port,
            monitor,
        })
    }
}

/// A path under which QEMU can open a file that it was given open.
fn descriptor_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// A running guest. Dropping it ends it.
pub struct Guest {
    child: Child,
    said: File,
    /// The guest's first serial line: its kernel log.
    pub console: UnixStream,
    /// The guest's port.
    pub port: UnixStream,
    /// QEMU's own command line.
    pub monitor: UnixStream,
}

impl Guest {
    /// What QEMU itself has said so far.
    pub fn qemu_messages(&self) -> String {
        memory_file::contents(&self.said)
    }

    /// Ends the guest, if it still runs, and waits for QEMU to be gone.
    pub fn end(&mut self) -> io::Result<std::process::ExitStatus> {
        let _ = self.child.kill();
        self.child.wait()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(
            major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)"),
            Some(10)
        );
        assert_eq!(major("QEMU emulator version 7.2.17"), Some(7));
        assert_eq!(major("hello"), None);
    }

    fn line(nodes: u32, cpus: u32, engine: Engine) -> String {
        let machine = Machine {
            engine,
            mem: 1 << 30,
            cpus,
            nodes,
            image: "/k".into(),
            initramfs: File::open("/dev/null").unwrap(),
            disks: Vec::new(),
            append: &["quiet".to_owned()],
            extra: &[],
        };
        let line = machine.arguments(5, 6, 7);
        line.iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn nodes_share_memory_and_cpus() {
        let line = line(2, 4, Engine::Tcg);
        assert!(line.contains("-smp 4,sockets=2"), "{line}");
        assert!(
            line.contains("memory-backend-ram,id=m1,size=524288K"),
            "{line}"
        );
        assert!(line.contains("node,nodeid=1,memdev=m1,cpus=2-3"), "{line}");
    }

    #[test]
    fn one_node_needs_no_numa() {
        let line = line(1, 1, Engine::Icount);
        assert!(!line.contains("-numa"), "{line}");
        assert!(line.contains("-icount shift=0,sleep=off"), "{line}");
        assert!(line.contains(" quiet -chardev"), "{line}");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Random system calls about memory, with arguments that make sense and such that do not.
//!
//! All addresses lie in a window that holds nothing else, with nothing above it for as far as any length reaches, so that
//! the process keeps its code and its stacks. What it has there it may lose at any time.

use std::io;
use std::time::Duration;

use super::tally::Tally;
use crate::case::{fail, Outcome};
use crate::content::Random;
use crate::region::MADV_SOFT_OFFLINE;
use crate::slow;
use crate::sys::{self, HUGE, PAGE};

/// Where the window begins: far below whatever the kernel maps by itself.
const WINDOW: usize = 1 << 44;
/// Bytes of it.
pub const BYTES: usize = 8 * HUGE;
/// Pages of it that most calls are about.
const HOT: u64 = 192;
/// Longest of the lengths that are no nonsense.
const FAR: u64 = 1 << 40;
/// Calls of a thread.
const CALLS: usize = 400;
/// Calls of a forked child.
const CHILDS_CALLS: u64 = 12;
/// Time after which a process is ended by a signal.
const LIFE: Duration = Duration::from_secs(60);
/// Advice that libc may lack: MADV_GUARD_INSTALL and MADV_GUARD_REMOVE.
const GUARDS: [i32; 2] = [102, 103];
/// `UFFD_USER_MODE_ONLY`
const USER_MODE_ONLY: usize = 1;
/// `UFFD_FEATURE_SIGBUS`: nobody waits for an answer to a fault.
const FEATURE_SIGBUS: u64 = 1 << 7;
const UFFDIO_API: usize = 0xc018_aa3f;
const UFFDIO_REGISTER: usize = 0xc020_aa00;
const UFFDIO_UNREGISTER: usize = 0x8010_aa01;
/// UFFDIO_WAKE, COPY, ZEROPAGE, MOVE, WRITEPROTECT.
const UFFDIO_OTHERS: [usize; 5] = [
    0x8010_aa02,
    0xc028_aa03,
    0xc020_aa04,
    0xc028_aa05,
    0xc018_aa06,
];
/// `PR_SET_MEMORY_MERGE`
const SET_MEMORY_MERGE: usize = 67;
/// Requests of /dev/ksm, as in shims/uapi/linux/ksm.h; none that stops the scanner.
const KSM_CREATE_AREA: usize = 0xab01;
const KSM_REGISTER: usize = 1 << 30 | 24 << 16 | 0xab20;
const KSM_REMOVE: usize = 0xab21;

/// A system call with random arguments.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    call: fn(&mut Caller) -> io::Result<usize>,
}

const fn kind(name: &'static str, call: fn(&mut Caller) -> io::Result<usize>) -> Kind {
    Kind { name, call }
}

/// All there are.
pub const KINDS: &[Kind] = &[
    kind("mmap", Caller::mmap),
    kind("mmap (shared)", Caller::mmap_shared),
    kind("munmap", Caller::munmap),
    kind("mremap", Caller::mremap),
    kind("madvise", Caller::madvise),
    kind("MADV_MERGEABLE", Caller::mergeable),
    kind("MADV_UNMERGEABLE", Caller::unmergeable),
    kind("MADV_POPULATE_*, MADV_COLLAPSE", Caller::madvise_now),
    kind("mprotect", Caller::mprotect),
    kind("pkey_mprotect", Caller::pkey_mprotect),
    kind("mlock", Caller::mlock),
    kind("munlock", Caller::munlock),
    kind("msync", Caller::msync),
    kind("mincore", Caller::mincore),
    kind("remap_file_pages", Caller::remap_file_pages),
    kind("process_madvise", Caller::process_madvise),
    kind("PR_SET_MEMORY_MERGE", Caller::merge_any),
    kind("fork", Caller::fork),
    kind("vmsplice", Caller::vmsplice),
    kind("process_vm_writev", Caller::process_vm_writev),
    kind("migrate_pages", Caller::migrate_pages),
    kind("move_pages", Caller::move_pages),
    kind("UFFDIO_REGISTER", Caller::uffd_register),
    kind("UFFDIO_UNREGISTER", Caller::uffd_unregister),
    kind("other requests of userfaultfd", Caller::uffd_other),
    kind("/dev/ksm", Caller::dev_ksm),
    kind("pread into the window", Caller::fill),
    kind("pwrite from the window", Caller::empty),
    kind("reading or writing a word", Caller::touch),
];

/// Descriptors that all threads of a process use. -1 where there is none.
#[derive(Clone, Copy)]
pub struct Files {
    /// Contents that others have, too.
    pub contents: i32,
    /// As many bytes as the window has, to be mapped.
    pub shared: i32,
    /// /dev/ksm, where it can be opened.
    pub device: i32,
    pipe: [i32; 2],
    this_process: i32,
    faults: i32,
}

impl Files {
    /// Those that all processes have.
    pub fn new(contents: i32, shared: i32, device: i32) -> Files {
        Files {
            contents,
            shared,
            device,
            pipe: [-1; 2],
            this_process: -1,
            faults: -1,
        }
    }

    /// Opens what a process has of its own.
    fn open(mut self) -> io::Result<Files> {
        // SAFETY: two ints for two descriptors.
        sys::check(unsafe { libc::pipe2(self.pipe.as_mut_ptr(), libc::O_NONBLOCK) }.into())?;
        let pid = std::process::id() as usize;
        self.this_process = sys::syscall(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0])? as i32;
        let flags = libc::O_CLOEXEC as usize | libc::O_NONBLOCK as usize | USER_MODE_ONLY;
        self.faults = sys::syscall(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0])? as i32;
        ioctl(
            self.faults,
            UFFDIO_API,
            &mut [0xaa, FEATURE_SIGBUS, 0, 0, 0],
        )?;
        Ok(self)
    }
}

fn ioctl(fd: i32, request: usize, words: &mut [u64; 5]) -> io::Result<usize> {
    let words = words.as_mut_ptr() as usize;
    sys::syscall(libc::SYS_ioctl, [fd as usize, request, words, 0, 0, 0])
}

/// The life of a process that calls what it likes, in two threads.
pub fn life(seed: u64, files: Files, tally: &'static Tally) -> Outcome {
    // SAFETY: plain system calls in a process of our own; no file is wanted of one that dies.
    unsafe {
        libc::alarm(slow::limit(LIFE).as_secs() as u32);
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
    }
    let files = files.open()?;
    let live = move |seed| {
        let mut caller = Caller {
            random: Random::new(seed),
            files,
            area: -1,
            tally,
        };
        (0..CALLS).for_each(|_| caller.call(KINDS.len()));
    };
    let second = std::thread::spawn(move || live(seed ^ 0x5EC0));
    live(seed);
    second
        .join()
        .or_else(|_| fail("the second thread panicked"))
}

/// A thread that calls what it likes.
struct Caller {
    random: Random,
    files: Files,
    /// Memory at /dev/ksm.
    area: i32,
    tally: &'static Tally,
}

impl Caller {
    /// One call of the first `kinds`.
    fn call(&mut self, kinds: usize) {
        let number = self.random.below(kinds as u64) as usize;
        let succeeded = (KINDS[number].call)(self).is_ok();
        self.tally.count(number, succeeded);
    }

    fn below(&mut self, limit: u64) -> usize {
        self.random.below(limit) as usize
    }

    fn one_of(&mut self, values: &[i32]) -> usize {
        let index = self.below(values.len() as u64);
        values[index] as usize
    }

    /// An address, mostly of a page.
    fn place(&mut self) -> usize {
        let page = match self.random.below(8) {
            0 => self.below((BYTES / PAGE) as u64),
            _ => self.below(HOT),
        };
        let odd = match self.random.below(16) {
            0 => self.below(PAGE as u64),
            _ => 0,
        };
        WINDOW + page * PAGE + odd
    }

    /// Any length.
    fn length(&mut self) -> usize {
        match self.random.below(20) {
            0 => 0,
            1 => self.below(BYTES as u64),
            2 => self.below(FAR),
            3 => usize::MAX - self.below(1 << 20),
            4..=5 => HUGE * (1 + self.below(3)),
            _ => PAGE * (1 + self.below(24)),
        }
    }

    /// A range that ends in the window.
    fn inside(&mut self) -> (usize, usize) {
        let (addr, len) = (self.place(), self.length());
        (addr, len.min(WINDOW + BYTES - addr))
    }

    fn protection(&mut self) -> usize {
        const ALL: i32 = libc::PROT_READ | libc::PROT_WRITE;
        match self.random.below(4) {
            0 => self.one_of(&[
                libc::PROT_NONE,
                libc::PROT_READ,
                libc::PROT_WRITE,
                ALL | libc::PROT_EXEC,
                0x7f,
            ]),
            _ => ALL as usize,
        }
    }

    fn mmap(&mut self) -> io::Result<usize> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let more = self.one_of(&[0, 0, 0, libc::MAP_LOCKED]);
        self.map(flags as usize | more, usize::MAX)
    }

    fn mmap_shared(&mut self) -> io::Result<usize> {
        let flags = self.one_of(&[libc::MAP_SHARED, libc::MAP_PRIVATE]);
        self.map(flags, self.files.shared as usize)
    }

    fn map(&mut self, flags: usize, fd: usize) -> io::Result<usize> {
        let more = libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (addr, len) = (self.place(), self.length());
        let (protection, offset) = (self.protection(), PAGE * self.below(HOT));
        sys::syscall(
            libc::SYS_mmap,
            [addr, len, protection, flags | more as usize, fd, offset],
        )
    }

    fn munmap(&mut self) -> io::Result<usize> {
        let (addr, len) = (self.place(), self.length());
        sys::syscall(libc::SYS_munmap, [addr, len, 0, 0, 0, 0])
    }

    fn mremap(&mut self) -> io::Result<usize> {
        let (old, old_len) = (self.place(), self.length());
        let (new, new_len) = match self.random.below(2) {
            0 => (self.place(), old_len),
            _ => (self.place(), self.length()),
        };
        let move_to = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let flags = self.one_of(&[0, move_to, move_to, move_to | libc::MREMAP_DONTUNMAP, 0xff]);
        sys::syscall(libc::SYS_mremap, [old, old_len, new_len, flags, new, 0])
    }

    fn advise(&mut self, advice: usize) -> io::Result<usize> {
        let (addr, len) = (self.place(), self.length());
        sys::syscall(libc::SYS_madvise, [addr, len, advice, 0, 0, 0])
    }

    fn madvise(&mut self) -> io::Result<usize> {
        let advice = match self.random.below(32) {
            0 => self.one_of(&[libc::MADV_HWPOISON, MADV_SOFT_OFFLINE]),
            1 => return self.guard(),
            2 => self.random.next() as usize,
            // All that need no limit.
            _ => self.below(libc::MADV_PAGEOUT as u64 + 1),
        };
        self.advise(advice)
    }

    /// Takes a page table for every 2 MiB, whether anything was there or not.
    fn guard(&mut self) -> io::Result<usize> {
        let ((addr, len), advice) = (self.inside(), self.one_of(&GUARDS));
        sys::syscall(libc::SYS_madvise, [addr, len, advice, 0, 0, 0])
    }

    fn mergeable(&mut self) -> io::Result<usize> {
        self.advise(libc::MADV_MERGEABLE as usize)
    }

    fn unmergeable(&mut self) -> io::Result<usize> {
        self.advise(libc::MADV_UNMERGEABLE as usize)
    }

    /// Advice that may take memory.
    fn madvise_now(&mut self) -> io::Result<usize> {
        let (addr, len) = self.inside();
        let advice = self.one_of(&[
            libc::MADV_POPULATE_READ,
            libc::MADV_POPULATE_WRITE,
            libc::MADV_DONTNEED_LOCKED,
            libc::MADV_COLLAPSE,
        ]);
        sys::syscall(libc::SYS_madvise, [addr, len, advice, 0, 0, 0])
    }

    fn mprotect(&mut self) -> io::Result<usize> {
        let (addr, len, protection) = (self.place(), self.length(), self.protection());
        sys::syscall(libc::SYS_mprotect, [addr, len, protection, 0, 0, 0])
    }

    fn pkey_mprotect(&mut self) -> io::Result<usize> {
        let (addr, len, protection) = (self.place(), self.length(), self.protection());
        let key = self.one_of(&[-1, -1, 0, 1, 99]);
        sys::syscall(libc::SYS_pkey_mprotect, [addr, len, protection, key, 0, 0])
    }

    fn mlock(&mut self) -> io::Result<usize> {
        let (addr, len) = self.inside();
        let flags = self.one_of(&[0, libc::MLOCK_ONFAULT as i32, 0x80]);
        sys::syscall(libc::SYS_mlock2, [addr, len, flags, 0, 0, 0])
    }

    fn munlock(&mut self) -> io::Result<usize> {
        let (addr, len) = (self.place(), self.length());
        sys::syscall(libc::SYS_munlock, [addr, len, 0, 0, 0, 0])
    }

    fn msync(&mut self) -> io::Result<usize> {
        let (addr, len) = (self.place(), self.length());
        let flags = self.below(8);
        sys::syscall(libc::SYS_msync, [addr, len, flags, 0, 0, 0])
    }

    /// What it tells, a byte for each page, goes into the window as well.
    fn mincore(&mut self) -> io::Result<usize> {
        let ((addr, len), to) = (self.inside(), self.place());
        sys::syscall(libc::SYS_mincore, [addr, len, to, 0, 0, 0])
    }

    /// Mostly of a file that was just mapped there.
    fn remap_file_pages(&mut self) -> io::Result<usize> {
        let (addr, len) = self.inside();
        if self.random.below(4) > 0 {
            let flags = libc::MAP_FIXED | libc::MAP_SHARED;
            let (protection, fd) = (self.protection(), self.files.shared as usize);
            sys::syscall(
                libc::SYS_mmap,
                [addr, len, protection, flags as usize, fd, 0],
            )?;
        }
        let offset = self.below(HOT);
        sys::syscall(libc::SYS_remap_file_pages, [addr, len, 0, offset, 0, 0])
    }

    fn process_madvise(&mut self) -> io::Result<usize> {
        let ranges = [0; 3].map(|_| self.range());
        let advice = match self.random.below(8) {
            0 => self.below(32),
            _ => self.one_of(&[
                libc::MADV_COLD,
                libc::MADV_PAGEOUT,
                libc::MADV_WILLNEED,
                libc::MADV_DONTNEED,
                libc::MADV_FREE,
            ]),
        };
        let count = 1 + self.below(3);
        let process = self.files.this_process as usize;
        let ranges = ranges.as_ptr() as usize;
        sys::syscall(
            libc::SYS_process_madvise,
            [process, ranges, count, advice, 0, 0],
        )
    }

    /// A range as a `struct iovec`.
    fn range(&mut self) -> [usize; 2] {
        let (addr, len) = self.inside();
        [addr, len]
    }

    fn merge_any(&mut self) -> io::Result<usize> {
        let (on, odd) = (self.below(2), usize::from(self.random.below(8) == 0));
        sys::syscall(libc::SYS_prctl, [SET_MEMORY_MERGE, on, odd, 0, 0, 0])
    }

    /// A child that calls some things with copies of all, too.
    fn fork(&mut self) -> io::Result<usize> {
        let calls = self.random.below(CHILDS_CALLS);
        let seed = self.random.next();
        // Other threads may hold locks of libraries: the child makes system calls only.
        match sys::fork()? {
            Some(pid) => sys::waitpid(pid, false).map(|_| 0),
            None => {
                // SAFETY: plain system call.
                unsafe { libc::alarm(slow::limit(LIFE).as_secs() as u32) };
                self.random = Random::new(seed);
                (0..calls).for_each(|_| self.call(KINDS.len()));
                sys::exit(0)
            }
        }
    }

    fn vmsplice(&mut self) -> io::Result<usize> {
        let [read, write] = self.files.pipe.map(|fd| fd as usize);
        if self.random.below(2) == 0 {
            // What was in the pipe goes where it came from, or elsewhere.
            let (addr, len) = self.inside();
            let _nothing_there = sys::syscall(libc::SYS_read, [read, addr, len, 0, 0, 0]);
        }
        let ranges = [self.range(), self.range()];
        let flags = libc::SPLICE_F_NONBLOCK as usize | self.below(16);
        let ranges = ranges.as_ptr() as usize;
        sys::syscall(libc::SYS_vmsplice, [write, ranges, 2, flags, 0, 0])
    }

    fn process_vm_writev(&mut self) -> io::Result<usize> {
        let pid = std::process::id() as usize;
        let (from, to) = ([self.range(), self.range()], [self.range(), self.range()]);
        sys::syscall(
            libc::SYS_process_vm_writev,
            [pid, from.as_ptr() as usize, 2, to.as_ptr() as usize, 2, 0],
        )
    }

    fn migrate_pages(&mut self) -> io::Result<usize> {
        let masks = [self.random.next() & 3 | 1, self.random.next() & 1 | 1];
        let [from, to] = [&masks[0], &masks[1]].map(|mask| std::ptr::from_ref(mask) as usize);
        let bits = self.one_of(&[64, 64, 64, 3]);
        sys::syscall(libc::SYS_migrate_pages, [0, bits, from, to, 0, 0])
    }

    fn move_pages(&mut self) -> io::Result<usize> {
        const MPOL_MF_MOVE: i32 = 2;
        let pages = [0; 16].map(|_| self.place());
        let nodes = [0i32; 16].map(|_| i32::from(self.random.below(32) == 0));
        let mut status = [0i32; 16];
        let nodes = match self.random.below(3) {
            0 => 0,
            _ => nodes.as_ptr() as usize,
        };
        let flags = self.one_of(&[MPOL_MF_MOVE, MPOL_MF_MOVE, MPOL_MF_MOVE, 0x40]);
        let (pages, status) = (pages.as_ptr() as usize, status.as_mut_ptr() as usize);
        sys::syscall(libc::SYS_move_pages, [0, 16, pages, nodes, status, flags])
    }

    fn uffd(&mut self, request: usize, third: u64) -> io::Result<usize> {
        let (addr, len) = self.inside();
        let from = self.place() as u64;
        let mut words = match request {
            // Where to, where from, how much.
            0xc028_aa03 | 0xc028_aa05 => [addr as u64, from, len as u64, third, 0],
            _ => [addr as u64, len as u64, third, 0, 0],
        };
        ioctl(self.files.faults, request, &mut words)
    }

    fn uffd_register(&mut self) -> io::Result<usize> {
        let mode = self.random.below(8);
        self.uffd(UFFDIO_REGISTER, mode)
    }

    fn uffd_unregister(&mut self) -> io::Result<usize> {
        self.uffd(UFFDIO_UNREGISTER, 0)
    }

    fn uffd_other(&mut self) -> io::Result<usize> {
        let request = UFFDIO_OTHERS[self.below(UFFDIO_OTHERS.len() as u64)];
        let mode = self.random.below(4);
        self.uffd(request, mode)
    }

    /// A new area, more memory in it, none in it, or none of it any more.
    fn dev_ksm(&mut self) -> io::Result<usize> {
        if self.files.device < 0 {
            return Err(io::Error::from_raw_os_error(libc::ENXIO));
        }
        let (addr, len) = (self.place() as u64, self.length());
        let pages = (len / PAGE) as u32;
        let odd = u64::from(self.random.below(8) == 0);
        match self.random.below(8) {
            0 => ioctl(self.area, KSM_REMOVE, &mut [0; 5]),
            1 => {
                // SAFETY: the area is this thread's own.
                unsafe { libc::close(self.area) };
                self.area = -1;
                Ok(0)
            }
            _ if self.area < 0 => {
                self.area = ioctl(self.files.device, KSM_CREATE_AREA, &mut [0; 5])? as i32;
                Ok(0)
            }
            2 => {
                let request = self.random.next() as usize & 0xff | 0xab00;
                ioctl(self.area, request, &mut [addr; 5])
            }
            _ => {
                let words = &mut [pages.into(), addr, odd, 0, 0];
                ioctl(self.area, KSM_REGISTER, words)
            }
        }
    }

    /// Fills pages, where there are any to be written to, with what others have.
    fn fill(&mut self) -> io::Result<usize> {
        let (addr, count) = (self.place() / PAGE * PAGE, PAGE * (1 + self.below(16)));
        let (file, offset) = (self.files.contents as usize, PAGE * self.below(16));
        sys::syscall(libc::SYS_pread64, [file, addr, count, offset, 0, 0])
    }

    /// Reads pages on somebody's behalf.
    fn empty(&mut self) -> io::Result<usize> {
        let (addr, len) = self.inside();
        let (file, offset) = (self.files.shared as usize, self.below(BYTES as u64));
        let len = len.min(BYTES - offset);
        sys::syscall(libc::SYS_pwrite64, [file, addr, len, offset, 0, 0])
    }

    /// Does so itself, and may die of it; not often, since little else would be done.
    fn touch(&mut self) -> io::Result<usize> {
        if self.random.below(16) > 0 {
            return self.fill();
        }
        let at = (self.place() & !7) as *mut u64;
        // SAFETY: nothing of the program's is in the window; this process may die here.
        unsafe {
            match self.random.below(2) {
                0 => drop(at.read_volatile()),
                _ => at.write_volatile(self.random.next()),
            }
        }
        Ok(0)
    }
}

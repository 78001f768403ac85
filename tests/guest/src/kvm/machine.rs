// SPDX-License-Identifier: GPL-2.0

//! A virtual machine with one CPU whose memory is mergeable, run by the calling process.

use std::collections::BTreeSet;

use kvm_bindings::{kvm_segment, kvm_userspace_memory_region, KVM_MEM_LOG_DIRTY_PAGES};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::program::{self, Job};
use crate::case::{fail, skip, Outcome, Stop};
use crate::check_eq;
use crate::region::Region;
use crate::sys::{is_errno, PAGE};

/// Guest-physical addresses of the three slots: the guest's own pages, the model, the memory under test.
const OWN: u64 = 0;
const MODEL: u64 = 16 << 20;
const RAM: u64 = 32 << 20;
/// The slot of the memory under test.
const RAM_SLOT: u32 = 2;
/// Pages of the guest's own: the program, and one to hand contents over.
const CODE: usize = 0;
const DESK: usize = 1;

/// How a machine is made.
#[derive(Clone, Copy)]
pub struct Setup {
    /// Pages of the memory under test; a power of two.
    pub pages: usize,
    /// Whether the kernel keeps a log of the pages that the guest writes.
    pub log: bool,
    /// Whether the guest has the kernel's interrupt controller and interrupts are on: then the kernel brings pages in
    /// from swap beside the guest's CPU.
    pub interrupts: bool,
}

/// The machine. The descriptors go before the memory.
pub struct Machine {
    cpu: VcpuFd,
    vm: VmFd,
    own: Region,
    model: Region,
    ram: Region,
    /// Pages that the guest has written since the log was read.
    written: BTreeSet<usize>,
}

/// Opens `/dev/kvm`; skips where the machine has none.
fn open() -> Outcome<Kvm> {
    match Kvm::new() {
        Ok(kvm) => Ok(kvm),
        Err(error) if matches!(error.errno(), libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            skip("there is no /dev/kvm: this machine's CPU cannot run KVM guests, or the kernel has no KVM")
        }
        Err(error) => fail(format!("/dev/kvm: {error}")),
    }
}

/// An error of a KVM call, with what was being done.
fn told(what: &str) -> impl Fn(kvm_ioctls::Error) -> Stop + '_ {
    move |error| Stop::Fail(format!("{what}: {error}"))
}

/// Skips unless KVM guests can be made here.
pub fn available() -> Outcome {
    open().map(drop)
}

impl Machine {
    /// Makes a machine; page `i` of its memory is named by `seeds[i]`, as is that of the model.
    pub fn new(setup: Setup, seed: impl Fn(usize) -> u64) -> Outcome<Machine> {
        assert!(setup.pages.is_power_of_two() && setup.pages * PAGE <= (RAM - MODEL) as usize);
        let kvm = open()?;
        let vm = kvm.create_vm().map_err(told("KVM_CREATE_VM"))?;
        if setup.interrupts {
            vm.create_irq_chip().map_err(told("KVM_CREATE_IRQCHIP"))?;
        }
        let cpu = vm.create_vcpu(0).map_err(told("KVM_CREATE_VCPU"))?;
        let machine = Machine {
            cpu,
            vm,
            own: Region::map(2)?,
            model: Region::map(setup.pages)?,
            ram: Region::map(setup.pages)?,
            written: BTreeSet::new(),
        };
        machine.ram.fill(&seed);
        machine.model.fill(&seed);
        for (offset, byte) in program::code().iter().enumerate() {
            machine.own.poke(CODE, offset, *byte);
        }
        machine.slot(0, OWN, &machine.own, 0)?;
        machine.slot(1, MODEL, &machine.model, 0)?;
        let flags = if setup.log {
            KVM_MEM_LOG_DIRTY_PAGES
        } else {
            0
        };
        machine.slot(RAM_SLOT, RAM, &machine.ram, flags)?;
        machine.protected_mode()?;
        Ok(machine)
    }

    /// The memory under test.
    pub fn ram(&self) -> &Region {
        &self.ram
    }

    /// Gives `region` to the guest at `address`.
    fn slot(&self, slot: u32, address: u64, region: &Region, flags: u32) -> Outcome {
        let memory = kvm_userspace_memory_region {
            slot,
            flags,
            guest_phys_addr: address,
            memory_size: region.len() as u64,
            userspace_addr: region.addr() as u64,
        };
        // SAFETY: the regions live as long as the machine, and are accessed through raw pointers only.
        unsafe { self.vm.set_user_memory_region(memory) }
            .map_err(told("KVM_SET_USER_MEMORY_REGION"))
    }

    /// 32-bit code over all of memory, no paging.
    fn protected_mode(&self) -> Outcome {
        const CR0_PE: u64 = 1;
        let mut special = self.cpu.get_sregs().map_err(told("KVM_GET_SREGS"))?;
        let data = kvm_segment {
            base: 0,
            limit: 0xffff_ffff,
            selector: 0x10,
            type_: 3,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..kvm_segment::default()
        };
        special.cs = kvm_segment {
            selector: 8,
            type_: 11,
            ..data
        };
        [special.ds, special.es, special.ss, special.fs, special.gs] = [data; 5];
        special.cr0 |= CR0_PE;
        self.cpu.set_sregs(&special).map_err(told("KVM_SET_SREGS"))
    }

    /// Lets the guest do a job. `arguments`: ESI, EDI, ECX, EBX, EBP.
    fn run(&mut self, job: Job, arguments: [u64; 5]) -> Outcome {
        const FLAGS: u64 = 1 << 1 | 1 << 9;
        let mut registers = self.cpu.get_regs().map_err(told("KVM_GET_REGS"))?;
        [
            registers.rsi,
            registers.rdi,
            registers.rcx,
            registers.rbx,
            registers.rbp,
        ] = arguments;
        registers.rip = OWN + (CODE * PAGE) as u64 + job.offset();
        registers.rflags = FLAGS;
        self.cpu
            .set_regs(&registers)
            .map_err(told("KVM_SET_REGS"))?;
        let end = loop {
            match self.cpu.run() {
                Err(error) if is_errno(&error.into(), libc::EINTR) => (),
                Err(error) => return fail(format!("KVM_RUN: {error}")),
                Ok(VcpuExit::IoOut(program::DONE, _)) => return Ok(()),
                Ok(exit) => break format!("{exit:?}"),
            }
        };
        let registers = self.cpu.get_regs().map_err(told("KVM_GET_REGS"))?;
        if end.starts_with(&format!("IoOut({}", program::WRONG)) {
            let page = registers.rax as usize / PAGE;
            return fail(format!(
                "WRONG CONTENT: the guest reads {:#x} in page {page} and had written something else",
                registers.rdx
            ));
        }
        fail(format!(
            "the guest stopped in the midst of {job:?}: {end}, {registers:x?}"
        ))
    }

    /// The guest reads all of its memory, which must be what the model holds.
    pub fn guest_verifies(&mut self) -> Outcome {
        let desk = OWN + (DESK * PAGE) as u64;
        for index in 0..self.ram.pages() {
            let from = RAM + (index * PAGE) as u64;
            self.run(Job::Copy, [from, desk, PAGE as u64 / 4, 0, 0])?;
            check_eq!(
                difference(self.own.page(DESK), self.model.page(index)),
                None,
                "WRONG CONTENT: first word of page {index} that the guest does not read as it was written"
            );
        }
        Ok(())
    }

    /// The guest writes page `index`.
    pub fn guest_writes(&mut self, index: usize, seed: u64) -> Outcome {
        self.own.write(DESK, seed);
        self.model.write(index, seed);
        let to = RAM + (index * PAGE) as u64;
        let desk = OWN + (DESK * PAGE) as u64;
        self.run(Job::Copy, [desk, to, PAGE as u64 / 4, 0, 0])?;
        self.written.insert(index);
        Ok(())
    }

    /// The guest reads one byte of every page.
    pub fn guest_touches(&mut self) -> Outcome {
        self.run(Job::Touch, [RAM, 0, self.ram.pages() as u64, 0, 0])
    }

    /// The guest writes `rounds` times to random pages, and compares with the model before each.
    pub fn guest_hammers(&mut self, rounds: u64, random: u64) -> Outcome {
        let mask = self.ram.pages() as u64 - 1;
        let random = random & 0xffff_ffff;
        self.run(Job::Hammer, [RAM, MODEL, rounds, random, mask])
    }

    /// Compares all of the memory with the model, as this process sees it.
    pub fn verify(&self) -> Outcome {
        for index in 0..self.ram.pages() {
            check_eq!(
                difference(self.ram.page(index), self.model.page(index)),
                None,
                "WRONG CONTENT: first word of page {index} that is not what was written"
            );
        }
        Ok(())
    }

    /// Pages that the kernel's log names as written since it was read last.
    pub fn log(&self) -> Outcome<BTreeSet<usize>> {
        let words = self
            .vm
            .get_dirty_log(RAM_SLOT, self.ram.len())
            .map_err(told("KVM_GET_DIRTY_LOG"))?;
        let is_set = |page: &usize| words[page / 64] >> (page % 64) & 1 == 1;
        Ok((0..self.ram.pages()).filter(is_set).collect())
    }

    /// Empties the log.
    pub fn clear_log(&mut self) -> Outcome {
        self.log()?;
        self.written.clear();
        Ok(())
    }

    /// Compares the log with what the guest has written.
    ///
    /// Reading a page that the host may write gets it into the log, too: from then on the guest could write to it
    /// without being noticed.
    pub fn verify_log(&mut self) -> Outcome {
        let written = std::mem::take(&mut self.written);
        check_eq!(
            self.log()?,
            written,
            "pages of the log, and those that the guest has written since it was read"
        );
        Ok(())
    }

    /// Moves the memory to `target` as live migration does: all of it, then what the log names, while the guest goes on.
    pub fn migrate(&mut self, target: &Region, slices: u64, rounds: u64, random: u64) -> Outcome {
        self.log()?;
        (0..self.ram.pages()).for_each(|index| copy(self.ram.page(index), target.page(index)));
        for slice in 0..slices {
            self.guest_hammers(rounds, random.wrapping_mul(31).wrapping_add(slice))?;
            for index in self.log()? {
                copy(self.ram.page(index), target.page(index));
            }
        }
        for index in 0..self.ram.pages() {
            check_eq!(
                difference(target.page(index), self.ram.page(index)),
                None,
                "first word of page {index} that the log has lost"
            );
        }
        self.verify()
    }
}

const WORDS: usize = PAGE / 8;

/// The first word in which two pages differ.
fn difference(a: *const u64, b: *const u64) -> Option<usize> {
    (0..WORDS).find(|&word| {
        // SAFETY: both are pages of mapped regions, by the only callers.
        unsafe { a.add(word).read_volatile() != b.add(word).read_volatile() }
    })
}

/// Copies a page.
fn copy(from: *const u64, to: *mut u64) {
    for word in 0..WORDS {
        // SAFETY: both are pages of mapped regions, by the only caller.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

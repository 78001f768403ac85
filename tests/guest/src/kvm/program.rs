// SPDX-License-Identifier: GPL-2.0

//! What the KVM guests execute: 32-bit code without paging, position-independent, one entry for each job.
//!
//! Registers are the arguments; a job ends with an `out` to [`DONE`], or to [`WRONG`].

use std::arch::global_asm;

/// Port that tells that a job is done.
pub const DONE: u16 = 0x10;
/// Port that tells that the guest has read what it had not written; EAX is the offset of the page.
pub const WRONG: u16 = 0x11;

global_asm!(
    ".pushsection .rodata.kvm_program, \"a\"",
    ".globl swapksm_kvm_program, swapksm_kvm_copy, swapksm_kvm_touch, swapksm_kvm_hammer, swapksm_kvm_program_end",
    ".code32",
    "swapksm_kvm_program:",
    // ESI: from, EDI: to, ECX: words of 32 bits.
    "swapksm_kvm_copy:",
    "    cld",
    "    rep movsd",
    "    mov dx, {done}",
    "    out dx, al",
    "    ud2",
    // ESI: first page, ECX: pages. Reads one byte of each.
    "swapksm_kvm_touch:",
    "2:",
    "    mov al, byte ptr [esi]",
    "    add esi, 4096",
    "    dec ecx",
    "    jnz 2b",
    "    mov dx, {done}",
    "    out dx, al",
    "    ud2",
    // ESI: pages, EDI: their model, EBP: number of pages - 1 (a mask), EBX: random state, ECX: rounds.
    // Each round takes a random page, compares its first word with the model's, and writes one of four values to both.
    "swapksm_kvm_hammer:",
    "2:",
    "    imul ebx, ebx, 1664525",
    "    add ebx, 1013904223",
    "    mov eax, ebx",
    "    shr eax, 16",
    "    and eax, ebp",
    "    shl eax, 12",
    "    mov edx, dword ptr [esi + eax]",
    "    cmp edx, dword ptr [edi + eax]",
    "    jne 3f",
    "    mov edx, ebx",
    "    shr edx, 28",
    "    and edx, 3",
    "    mov dword ptr [esi + eax], edx",
    "    mov dword ptr [edi + eax], edx",
    "    dec ecx",
    "    jnz 2b",
    "    mov dx, {done}",
    "    out dx, al",
    "    ud2",
    "3:",
    "    mov dx, {wrong}",
    "    out dx, al",
    "    ud2",
    "swapksm_kvm_program_end:",
    ".code64",
    ".popsection",
    done = const DONE,
    wrong = const WRONG,
);

extern "C" {
    static swapksm_kvm_program: u8;
    static swapksm_kvm_copy: u8;
    static swapksm_kvm_touch: u8;
    static swapksm_kvm_hammer: u8;
    static swapksm_kvm_program_end: u8;
}

/// A job of the guest.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Copies words.
    Copy,
    /// Reads a byte of each page.
    Touch,
    /// Writes random pages and compares them with a model.
    Hammer,
}

impl Job {
    /// Where the job begins, counted from the start of the program.
    pub fn offset(self) -> u64 {
        let entry = match self {
            Job::Copy => &raw const swapksm_kvm_copy,
            Job::Touch => &raw const swapksm_kvm_touch,
            Job::Hammer => &raw const swapksm_kvm_hammer,
        };
        (entry.addr() - (&raw const swapksm_kvm_program).addr()) as u64
    }
}

/// The whole program.
pub fn code() -> &'static [u8] {
    let start = &raw const swapksm_kvm_program;
    let end = &raw const swapksm_kvm_program_end;
    // SAFETY: both symbols stand in one read-only section, the end after the start.
    unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_begin_inside_the_program_and_it_fits_into_a_page() {
        assert_eq!(Job::Copy.offset(), 0);
        for job in [Job::Touch, Job::Hammer] {
            assert!(job.offset() > 0 && (job.offset() as usize) < code().len());
        }
        assert!(code().len() < crate::sys::PAGE);
        assert_eq!(code()[0], 0xfc, "cld");
    }
}

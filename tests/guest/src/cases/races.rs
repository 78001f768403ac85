// SPDX-License-Identifier: GPL-2.0

//! Races: the scanner, without rest, against one thing that others do in tight loops, every page compared all the while,
//! and page tables compared with what the module believes in the end.
//!
//! Each goes on for a few seconds, or for as long as `--race-seconds` says (`tests/races`). Elsewhere: what is
//! mixed at random (`stress`, `soak`), O_DIRECT reads (`pins/direct_read`), 50 changes of charge (`takeover/cycles`).

mod advice;
mod calls;
mod device;
mod hotplug;
mod huge;
mod look;
mod machine;
mod memory;
mod outsiders;
mod pins;
mod poison;
mod processes;
mod race;
mod standstill;
mod system_calls;
mod takeover;
mod tally;
mod userfault;
mod written;

pub use processes::image;

use crate::case::{Case, Room};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "races/munmap",
        "munmap and mmap at the same place",
        memory::munmap,
    ),
    Case::new(
        "races/mremap",
        "mremap of whole mappings and of single pages, with and without a mapping left",
        memory::mremap,
    ),
    Case::new(
        "races/mremap_swapped",
        "mremap of pages that are on their way out, or out",
        memory::mremap_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/mprotect",
        "mprotect to nothing and back",
        memory::mprotect,
    ),
    Case::new(
        "races/mprotect_swapped",
        "mprotect while pages go out and come back",
        memory::mprotect_swapped,
    )
    .room(Room::Swap),
    Case::new("races/dontneed", "MADV_DONTNEED", memory::dontneed),
    Case::new(
        "races/free",
        "MADV_FREE: pages hold what they held, or nothing",
        memory::free,
    ),
    Case::new(
        "races/free_swapped",
        "the same while memory is reclaimed: what is freed is lost",
        memory::free_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/truncate",
        "files that are cut off below private mappings of them",
        memory::truncate,
    ),
    Case::new(
        "races/truncate_swapped",
        "the same of pages that are on their way out, or out",
        memory::truncate_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/unmergeable",
        "MADV_UNMERGEABLE, MADV_MERGEABLE and PR_SET_MEMORY_MERGE",
        memory::unmergeable,
    ),
    Case::new(
        "races/mlock",
        "mlock, mlock on fault, munlock",
        memory::mlock,
    ),
    Case::new(
        "races/mlock_swapped",
        "the same of pages that are out, or on their way",
        memory::mlock_swapped,
    )
    .room(Room::Swap),
    Case::new("races/collapse", "MADV_COLLAPSE", huge::collapse),
    Case::new(
        "races/collapse_swapped",
        "MADV_COLLAPSE of pages that are out, or on their way",
        huge::collapse_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/khugepaged",
        "khugepaged without rest",
        huge::khugepaged,
    ),
    Case::new(
        "races/khugepaged_swapped",
        "khugepaged, which brings pages in from swap",
        huge::khugepaged_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/others_advice",
        "process_madvise: another has pages go out and come in, and made huge",
        advice::others,
    )
    .room(Room::Swap),
    Case::new("races/fork", "fork and fork again", processes::fork),
    Case::new(
        "races/fork_swapped",
        "fork while pages go out and come back",
        processes::fork_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/unmerge_all",
        "run 2 while others fork: nobody has a merged page when the write returns",
        processes::unmerge_all,
    ),
    Case::new(
        "races/exit",
        "processes that exit or are killed",
        processes::exit,
    ),
    Case::new(
        "races/exit_swapped",
        "processes that exit or are killed while their pages go out",
        processes::exit_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/exit_unmerged",
        "processes that exit or are killed while run 2 unmerges them",
        processes::exit_unmerged,
    ),
    Case::new(
        "races/released",
        "process_mrelease of processes that are killed",
        processes::released,
    ),
    Case::new(
        "races/exec",
        "processes that exec again and again",
        processes::exec,
    ),
    Case::new(
        "races/exec_swapped",
        "exec while pages go out and come back",
        processes::exec_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/uffd_write_protect",
        "userfaultfd write protection: no report is lost",
        userfault::write_protect,
    ),
    Case::new(
        "races/uffd_write_protect_swapped",
        "userfaultfd write protection of pages that go out and come back",
        userfault::write_protect_swapped,
    )
    .room(Room::Swap),
    Case::new("races/uffd_move", "UFFDIO_MOVE", userfault::move_pages),
    Case::new(
        "races/uffd_move_swapped",
        "UFFDIO_MOVE of pages that are out, or on their way",
        userfault::move_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/others_memory",
        "/proc/PID/mem, process_vm_writev and ptrace write to another's pages",
        outsiders::memory,
    ),
    Case::new(
        "races/others_memory_swapped",
        "the same to pages that are out, or on their way",
        outsiders::memory_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/written",
        "PAGEMAP_SCAN tells and watches: no write is lost",
        written::plain,
    ),
    Case::new(
        "races/written_swapped",
        "the same while pages go out and come back",
        written::swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/soft_dirty",
        "soft-dirty marks cleared and read: no write is lost",
        outsiders::soft_dirty,
    ),
    Case::new("races/vmsplice", "pages in pipes", pins::vmsplice),
    Case::new(
        "races/direct_io",
        "O_DIRECT to and from a disk that takes its time",
        pins::direct_io,
    )
    .room(Room::Swap),
    Case::new(
        "races/direct_io_swapped",
        "the same with pages that are out, or on their way",
        pins::direct_io_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/device_memory",
        "a device that takes pages into its memory, and those who want them back",
        device::memory,
    ),
    Case::new(
        "races/compaction",
        "compaction without rest",
        machine::compaction,
    ),
    Case::new(
        "races/compaction_swapped",
        "compaction of pages that are on their way out, or out",
        machine::compaction_swapped,
    )
    .room(Room::Swap),
    Case::new(
        "races/system_calls",
        "unprivileged processes that make random system calls about their memory",
        system_calls::plain,
    )
    .seconds(300),
    Case::new(
        "races/system_calls_swapped",
        "the same while memory is reclaimed",
        system_calls::swapped,
    )
    .room(Room::Swap)
    .seconds(300),
    Case::new(
        "races/poison",
        "memory errors: only processes that had the broken frame notice",
        poison::pages,
    )
    .seconds(240),
    Case::new(
        "races/poison_swapped",
        "the same of pages that are out, or on their way",
        poison::pages_swapped,
    )
    .room(Room::Swap)
    .seconds(240),
    Case::new(
        "races/knobs",
        "several writers of run and of all other knobs",
        machine::knobs,
    ),
    Case::new(
        "races/cpus",
        "a CPU that goes offline and comes back",
        standstill::cpus,
    ),
    Case::new(
        "races/freezer",
        "all tasks frozen, as for suspend, and thawed",
        standstill::freezer,
    )
    .seconds(300),
    Case::new(
        "races/cgroup_freezer",
        "processes that are frozen anywhere and thawed",
        standstill::cgroup,
    ),
    Case::new("races/swapoff", "swapoff and swapon", machine::swapoff)
        .room(Room::Swap)
        .seconds(240),
    Case::new(
        "races/numa_balancing",
        "NUMA balancing, migrate_pages and merge_across_nodes",
        machine::numa_balancing,
    )
    .room(Room::Numa),
    Case::new(
        "races/memory_offline",
        "memory that goes offline and comes back",
        hotplug::scan,
    )
    .room(Room::Numa)
    .seconds(240),
    Case::new(
        "races/memory_offline_knobs",
        "the same, with writers of the knobs that wait for it",
        hotplug::knobs,
    )
    .room(Room::Numa)
    .seconds(240),
    Case::new(
        "races/load_against_run",
        "loading and unloading while somebody writes to run",
        takeover::against_run,
    )
    .room(Room::Takeover)
    .seconds(600),
    Case::new(
        "races/interrupted",
        "^C of ksmctl load and unload at random times: done or undone, never between",
        takeover::asked,
    )
    .room(Room::Takeover)
    .seconds(600),
    Case::new(
        "races/killed",
        "ksmctl load and unload killed at random times: a second one ends it",
        takeover::killed,
    )
    .room(Room::Takeover)
    .seconds(600),
];

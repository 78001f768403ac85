/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Address spaces: the part of an address space object that C needs to know, references, locks, and the kernel's own
 * per-mm merge state.
 */
#ifndef SWAPKSM_SPACE_H
#define SWAPKSM_SPACE_H

#include <linux/mmu_notifier.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct mm_struct;

/* First field of Rust's Space. */
struct swapksm_space {
	struct mmu_notifier notifier;
	struct mm_struct *mm;
	struct xarray chunks;		/* chunk index (address >> PMD_SHIFT) -> Rust's Chunk */
};

/* @space is zeroed memory. Takes a reference that keeps the struct (not the mappings) of @mm. */
void swapksm_space_init(struct swapksm_space *space, struct mm_struct *mm);

/* Drop that reference. The index must be empty and the notifier gone. Any context. */
void swapksm_space_fini(struct swapksm_space *space);

/*
 * Subscribe to @mm's invalidations. The caller holds a user of the mm; the mmap lock is taken for writing here.
 * -EAGAIN when somebody has it, -EBUSY while another subscribes to whatever mm, -ENOMEM. May sleep.
 */
int swapksm_space_subscribe(struct swapksm_space *space);

/* End the subscription; swapksm_space_unsubscribed() follows later. Not waiting, any context that may run softirqs. */
void swapksm_space_unsubscribe(struct swapksm_space *space);

/* Wait until swapksm_space_unsubscribed() has returned for every subscription ended. May sleep. */
void swapksm_space_unsubscribe_wait(void);

/* The chunk with the lowest index in [*@index, @last], its index in *@index; NULL if there is none. Needs RCU or the engine. */
void *swapksm_space_find(struct swapksm_space *space, unsigned long *index, unsigned long last);
/* Add a chunk. -ENOMEM. May sleep. */
int swapksm_space_insert(struct swapksm_space *space, unsigned long index, void *chunk);
void swapksm_space_erase(struct swapksm_space *space, unsigned long index);

/* A user of the mm: while held, its mappings stay. False when the mm is dying. */
bool swapksm_mm_get(struct mm_struct *mm);
/* Give it back without ever tearing the mm down here. Any context. */
void swapksm_mm_put(struct mm_struct *mm);
/* Take the mmap lock for reading. -EINTR when the caller has been killed, before or meanwhile. May sleep. */
int swapksm_mm_read_lock_killable(struct mm_struct *mm);
bool swapksm_mm_read_trylock(struct mm_struct *mm);
void swapksm_mm_read_unlock(struct mm_struct *mm);
/*
 * Take the mmap lock for reading when nobody has it: munmap() empties page tables with the lock downgraded, and before its
 * invalidation begins nothing else tells of it. In debug builds only. May sleep.
 */
void swapksm_mm_read_lock_alone(struct mm_struct *mm);

/*
 * The mm of the process with this number, as the caller counts processes, with a user of it; NULL if there is none, or it
 * has no mm of its own any more. In debug builds only. May sleep.
 */
struct mm_struct *swapksm_mm_of_pid(int number);

/* Has the last user gone? */
bool swapksm_mm_has_no_users(struct mm_struct *mm);

/*
 * Does any process run in @mm that is not being ended, and has the OOM killer left it its memory? Users who only look at it
 * (procfs, swapoff, reclaim, we) do not count. Once false it stays false. Does not sleep.
 */
bool swapksm_mm_has_process(struct mm_struct *mm);

/* MMF_VM_MERGEABLE: known to the merger; MMF_VM_MERGE_ANY: wants all its mappings merged. */
bool swapksm_mm_is_mergeable(struct mm_struct *mm);
void swapksm_mm_set_mergeable(struct mm_struct *mm, bool on);
bool swapksm_mm_is_merge_any(struct mm_struct *mm);
void swapksm_mm_set_merge_any(struct mm_struct *mm, bool on);

/* The numbers /proc/PID/ksm_stat shows. Called with the engine's mutex held, which keeps them whole. */
void swapksm_mm_count_items(struct mm_struct *mm, long by);
void swapksm_mm_count_merging(struct mm_struct *mm, long by);
long swapksm_mm_merging(struct mm_struct *mm);
long swapksm_mm_items(struct mm_struct *mm);
long swapksm_mm_zero_pages(struct mm_struct *mm);

/*
 * In Rust. All run with arbitrary mm locks held (mmap, VMA, i_mmap, anon_vma, folio), in SRCU read sections, from
 * reclaim too: no allocation, no sleeping lock.
 */
void swapksm_invalidate_start(struct swapksm_space *space, unsigned long start, unsigned long end, bool blockable);
void swapksm_invalidate_end(struct swapksm_space *space, unsigned long start, unsigned long end);
void swapksm_space_released(struct swapksm_space *space);
/* The subscription has ended and no callback runs any more. */
void swapksm_space_unsubscribed(struct swapksm_space *space);

#endif

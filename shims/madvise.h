/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marking the memory of a process mergeable from outside the madvise() system call.
 */
#ifndef SWAPKSM_MADVISE_H
#define SWAPKSM_MADVISE_H

#include <linux/mm_types.h>
#include <linux/types.h>

/*
 * madvise(MADV_MERGEABLE) on @len bytes from @start of @mm, or MADV_UNMERGEABLE, with its errors. The caller holds a
 * reference to @mm's users and not the mmap lock. May sleep.
 */
int swapksm_madvise(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable);

/*
 * The same from a kernel worker, where no signal interrupts it. Waits for it, uninterruptible.
 */
int swapksm_madvise_in_worker(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable);

/*
 * Find the first stretch of @start..@end that is mapped without a gap: 0 and its bounds, -ENOENT if nothing is mapped
 * there or there is empty, or -EINTR if the caller is being killed. The caller holds a reference to @mm's users and not the mmap lock;
 * what was found may be gone when this returns. May sleep.
 */
int swapksm_first_mapped(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *first_start,
			 unsigned long *first_end);

#endif

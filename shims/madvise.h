/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Marking the memory of a process mergeable from outside the madvise() system call.
 */
#ifndef SWAPKSM_MADVISE_H
#define SWAPKSM_MADVISE_H

#include <linux/mm_types.h>
#include <linux/types.h>

/*
 * madvise(MADV_MERGEABLE) on @len bytes from @start of @mm, or MADV_UNMERGEABLE, with its errors. -EINTR when the caller is
 * being killed; from a task that does not run in @mm also when no process is left in @mm that it could be done for, or all
 * are being killed. The caller holds a reference to @mm's users and not the mmap lock. May sleep.
 */
int swapksm_madvise(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable);

/*
 * Is all of @start..@end mapped? Is any of it marked mergeable? 1, 0, or -EINTR if the caller is being killed. The caller
 * holds a reference to @mm's users and not the mmap lock; the answer may be outdated when it returns. May sleep.
 */
int swapksm_all_mapped(struct mm_struct *mm, unsigned long start, unsigned long end);
int swapksm_any_mergeable(struct mm_struct *mm, unsigned long start, unsigned long end);

#endif

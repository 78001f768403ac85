/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /proc/PID/ksm_stat: what it needs of a task and of its page tables.
 */
#ifndef SWAPKSM_PROC_H
#define SWAPKSM_PROC_H

#include <linux/types.h>

struct mm_struct;
struct task_struct;

/* The task's mm with a user of it, NULL if it has none of its own (any more). May sleep. */
struct mm_struct *swapksm_mm_of_task(struct task_struct *task);

/*
 * Of the pages of one chunk (the 2 MiB from @base on) that are in the set @slots, leave those in it whose page-table
 * entry is a swap entry that may be somebody else's, too. mmap lock held for reading. May sleep.
 */
void swapksm_keep_swapped(struct mm_struct *mm, unsigned long base, u64 *slots);

#endif

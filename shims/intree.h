/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's own samepage merging (mm/ksm.c) while it stands still: is it empty, and who is on its list.
 *
 * Its thread is parked because its run is 0 or 2 and the sysfs directory through which run is set is gone.
 */
#ifndef SWAPKSM_INTREE_H
#define SWAPKSM_INTREE_H

struct mm_struct;

/*
 * Does it hold nothing: no merged pages, items or nodes? 0, or -EBUSY (pages or items are left), -EEXIST (nodes) or
 * -EAGAIN (its run is 1). May sleep.
 */
int swapksm_intree_check(void);

/* Make its run 0 so that its thread stays parked. May sleep. */
void swapksm_intree_stop(void);

/*
 * Take one address space off its list. The caller gets the list's reference on the mm (mmdrop()). NULL: the list is
 * empty. Only when no task runs mm/ksm.c any more. May sleep.
 */
struct mm_struct *swapksm_intree_take(void);

/* Take @mm, which is exiting, off its list if it is there. Any time. */
void swapksm_intree_forget(struct mm_struct *mm);

/*
 * Put @mm on its list. Only when every task runs mm/ksm.c again and @mm is not on the list. The caller holds a user of
 * the mm. -ENOMEM. May sleep.
 */
int swapksm_intree_give(struct mm_struct *mm);

#endif

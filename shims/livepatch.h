/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Switching the kernel over to the entry points of hooks.h and back.
 */
#ifndef SWAPKSM_LIVEPATCH_H
#define SWAPKSM_LIVEPATCH_H

/*
 * Start the transition to our entry points. To be called once, from the module's init. Calls swapksm_pre_patch()
 * before it returns; swapksm_post_patch() follows when every task has switched. May sleep.
 */
int swapksm_livepatch_enable(void);

/*
 * What Rust does around the switch. The kernel calls these one at a time, in process context, under its livepatch
 * mutex, so none of them may load a module or touch /sys/kernel/livepatch. All may sleep.
 *
 * A reversed transition runs pre_patch, then pre_unpatch and post_unpatch if it was on its way back, else post_patch;
 * nothing but pre_patch runs when enabling fails.
 */

/* Before the first task switches. An error refuses the patch. */
int swapksm_pre_patch(void);

/* Every task runs our entry points now. */
void swapksm_post_patch(void);

/* Before the first task switches back. */
void swapksm_pre_unpatch(void);

/* Every task runs mm/ksm.c again. */
void swapksm_post_unpatch(void);

#endif

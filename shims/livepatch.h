/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Switching the kernel over to the entry points of hooks.h and back.
 */
#ifndef SWAPKSM_LIVEPATCH_H
#define SWAPKSM_LIVEPATCH_H

/*
 * Start the transition to our entry points. To be called once, from the module's init. Calls swapksm_pre_patch()
 * before it returns; swapksm_post_patch() follows when every task has switched. May sleep.
 *
 * As long as we are enabled or on our way, the kernel refuses (EINVAL) livepatches that would replace all others.
 */
int swapksm_livepatch_enable(void);

/*
 * What Rust does around the switch. The kernel calls these one at a time, in process context, under its livepatch
 * mutex, so none of them may load a module or touch /sys/kernel/livepatch. All may sleep.
 *
 * A transition that is turned round runs the post callback of where it ends up and no other pre callback: one on its way
 * to us ends with post_unpatch without pre_unpatch (also when enabling fails after pre_patch: klp_cancel_transition() in
 * kernel/livepatch/transition.c), one on its way back with post_patch without a second pre_patch.
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

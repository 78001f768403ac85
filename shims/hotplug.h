/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory going offline.
 */
#ifndef SWAPKSM_HOTPLUG_H
#define SWAPKSM_HOTPLUG_H

int swapksm_hotplug_register(void);
void swapksm_hotplug_unregister(void);

/* In Rust; all may sleep. Memory is about to go: stop touching frames through stable nodes. */
void swapksm_memory_going_offline(void);
/* These frames are gone: forget them. */
void swapksm_memory_offline(unsigned long start_pfn, unsigned long pages);
/* It is over, one way or the other. */
void swapksm_memory_settled(void);

#endif

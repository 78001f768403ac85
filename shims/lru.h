/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The page lists of reclaim.
 */
#ifndef SWAPKSM_LRU_H
#define SWAPKSM_LRU_H

/* Move the folios still waiting in per-CPU batches onto their lists, dropping the batches' references. May sleep. */
void swapksm_lru_add_drain_all(void);

#endif

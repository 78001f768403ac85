/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The secret of this load of the module.
 */
#ifndef SWAPKSM_RANDOM_H
#define SWAPKSM_RANDOM_H

#include <linux/types.h>

#define SWAPKSM_KEY_WORDS 512

/* The key of the hash. Written once. */
extern u64 swapksm_hash_key[SWAPKSM_KEY_WORDS];

/* Draw it. To be called once, before anything is hashed. */
void swapksm_random_init(void);

#endif

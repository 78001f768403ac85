// SPDX-License-Identifier: GPL-2.0
/*
 * Secrets.
 */
#include <linux/random.h>

#include "random.h"

u64 swapksm_hash_key[SWAPKSM_KEY_WORDS];

void swapksm_random_init(void)
{
	get_random_bytes(swapksm_hash_key, sizeof(swapksm_hash_key));
}

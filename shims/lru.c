// SPDX-License-Identifier: GPL-2.0
#include <linux/swap.h>

#include "lru.h"

void swapksm_lru_add_drain_all(void)
{
	lru_add_drain_all();
}

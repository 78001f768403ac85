// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that the kernel's fault injection (CONFIG_FAIL_FUNCTION, the debug kernel) may have fail: those whose contract
 * lets them fail at any call. Not among them is a function whose answer is a fact that we act on for good, such as that a
 * process has ended or that a frame is no longer a node's: tools/lib/lint/infallible lists all others with their reasons
 * ("tools/lint fallible" compares). Nothing is compiled where the kernel has no fault injection.
 */
#include <linux/error-injection.h>
#include <linux/types.h>

#include "device.h"
#include "folio.h"
#include "madvise.h"
#include "memory.h"
#include "merge.h"
#include "rmap.h"
#include "space.h"
#include "swapin.h"
#include "unshare.h"
#include "walk.h"

/* NULL is also false. */
ALLOW_ERROR_INJECTION(swapksm_anon_vma_trylock, NULL);
ALLOW_ERROR_INJECTION(swapksm_can_merge, NULL);
ALLOW_ERROR_INJECTION(swapksm_folio_trylock, NULL);
ALLOW_ERROR_INJECTION(swapksm_has_spare_page, NULL);
ALLOW_ERROR_INJECTION(swapksm_items_alloc, NULL);
ALLOW_ERROR_INJECTION(swapksm_mm_read_trylock, NULL);
ALLOW_ERROR_INJECTION(swapksm_object_alloc, NULL);
ALLOW_ERROR_INJECTION(swapksm_page_try_get, NULL);
ALLOW_ERROR_INJECTION(swapksm_space_alloc, NULL);
ALLOW_ERROR_INJECTION(swapksm_split, NULL);

/* NULL, or an error as a pointer. */
ALLOW_ERROR_INJECTION(swapksm_swapin_copy, ERRNO_NULL);

ALLOW_ERROR_INJECTION(swapksm_all_mapped, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_any_mergeable, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_area_open, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_break_all, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_break_range, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_madvise, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_merge_first, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_merge_into, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_mm_read_lock_killable, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_space_insert, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_space_subscribe, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_unmark_all, ERRNO);
ALLOW_ERROR_INJECTION(swapksm_unshare_watched, ERRNO);

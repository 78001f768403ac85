// SPDX-License-Identifier: GPL-2.0
/*
 * What /proc/PID/ksm_stat needs.
 */
#include <linux/swap.h>
#include <linux/leafops.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mm/internal.h"
#include "proc.h"
#include "walk.h"

#define WORDS (SWAPKSM_CHUNK_PAGES / 64)

struct swapped {
	const u64 *asked;
	u64 found[WORDS];
};

struct mm_struct *swapksm_mm_of_task(struct task_struct *task)
{
	return get_task_mm(task);
}

/* A merged page's swap entry is never an exclusive one. */
static bool is_shared_swap(pte_t pte)
{
	return !pte_none(pte) && !pte_present(pte) && softleaf_is_swap(softleaf_from_pte(pte)) &&
	       !pte_swp_exclusive(pte);
}

static int keep_pmd(pmd_t *pmd, unsigned long addr, unsigned long end, struct mm_walk *walk)
{
	struct swapped *swapped = walk->private;
	unsigned int slot = (addr & ~PMD_MASK) >> PAGE_SHIFT;
	pte_t *start, *pte;
	spinlock_t *ptl;

	start = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (!start)
		return 0;
	for (pte = start; addr < end; addr += PAGE_SIZE, pte++, slot++) {
		const u64 bit = BIT_ULL(slot % 64);

		if ((swapped->asked[slot / 64] & bit) && is_shared_swap(ptep_get(pte)))
			swapped->found[slot / 64] |= bit;
	}
	pte_unmap_unlock(start, ptl);
	return 0;
}

static const struct mm_walk_ops keep_ops = {
	.pmd_entry = keep_pmd,
	.walk_lock = PGWALK_RDLOCK,
};

void swapksm_keep_swapped(struct mm_struct *mm, unsigned long base, u64 *slots)
{
	VMA_ITERATOR(vmi, mm, base);
	const unsigned long last = base + PMD_SIZE;
	struct swapped swapped = { .asked = slots };
	struct vm_area_struct *vma;

	for_each_vma_range(vmi, vma, last) {
		if (!swapksm_vma_has_anon(vma))
			continue;
		walk_page_range_vma(vma, max(vma->vm_start, base), min(vma->vm_end, last), &keep_ops, &swapped);
	}
	memcpy(slots, swapped.found, sizeof(swapped.found));
}

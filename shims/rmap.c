// SPDX-License-Identifier: GPL-2.0
/*
 * Reverse mapping: from a sharer of a merged page to every VMA that may map it.
 */
#include <linux/mm.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>

#include "mm/internal.h"
#include "compat.h"
#include "rmap.h"
#include "walk.h"

struct anon_vma *swapksm_anon_vma_get(struct vm_area_struct *vma, unsigned long addr, unsigned long *index)
{
	get_anon_vma(vma->anon_vma);
	*index = swapksm_anon_index(vma, addr);
	return vma->anon_vma;
}

void swapksm_anon_vma_put(struct anon_vma *anon_vma)
{
	put_anon_vma(anon_vma);
}

bool swapksm_anon_vma_finds(struct anon_vma *anon_vma, unsigned long index, struct vm_area_struct *vma,
			    unsigned long addr)
{
	struct anon_vma_chain *avc;

	/* All anon_vmas of a VMA have one root. */
	if (swapksm_anon_index(vma, addr) != index || !vma->anon_vma || vma->anon_vma->root != anon_vma->root)
		return false;
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		if (avc->anon_vma == anon_vma)
			return true;
	return false;
}

size_t swapksm_anon_vma_depth(struct vm_area_struct *vma, size_t max)
{
	struct anon_vma_chain *avc;
	size_t depth = 0;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma)
		if (++depth >= max)
			break;
	return depth;
}

/*
 * What became of the entry the walker has changed. The anon_vma's lock keeps the VMA, and with it the page table: it is
 * taken for writing before a VMA goes (unlink_anon_vmas()), which is before its page tables do.
 */
static bool names_folio(struct folio *folio, struct mm_struct *mm, unsigned long addr)
{
	unsigned long value;

	switch (swapksm_pte_read(mm, addr, &value)) {
	case SWAPKSM_PTE_PAGE:
	case SWAPKSM_PTE_MIGRATION:
		return value == folio_pfn(folio);
	case SWAPKSM_PTE_SWAP:
		return folio_test_swapcache(folio) && value == folio->swap.val;
	default:
		return false;
	}
}

/* Not inlined, so that fault injection finds it. */
noinline bool swapksm_anon_vma_trylock(struct anon_vma *anon_vma)
{
	return anon_vma_trylock_read(anon_vma);
}

enum swapksm_walk_verdict swapksm_rmap_visit(struct folio *folio, struct rmap_walk_control *rwc,
					     struct swapksm_visit *visit)
{
	enum swapksm_walk_verdict verdict = SWAPKSM_WALK_ON;
	struct anon_vma *anon_vma = visit->anon_vma;
	const unsigned long addr = visit->addr;
	struct anon_vma_chain *avc;

	cond_resched();
	if (!swapksm_anon_vma_trylock(anon_vma)) {
		if (rwc->try_lock) {
			rwc->contended = true;
			return SWAPKSM_WALK_DONE;
		}
		anon_vma_lock_read(anon_vma);
	}
	swapksm_anon_rmap_foreach(avc, anon_vma, visit->index) {
		struct vm_area_struct *vma = avc->vma;

		cond_resched();
		if (addr < vma->vm_start || addr >= vma->vm_end)
			continue;
		if ((vma->vm_mm == visit->mm) == visit->forks)
			continue;
		if (rwc->invalid_vma && rwc->invalid_vma(vma, rwc->arg))
			continue;
		if (!rwc->rmap_one(folio, vma, addr, rwc->arg) || (rwc->done && rwc->done(folio)))
			verdict = SWAPKSM_WALK_DONE;
		if (READ_ONCE(*visit->moved)) {
			WRITE_ONCE(*visit->moved, false);
			visit->lost |= !names_folio(folio, vma->vm_mm, addr);
		}
		if (verdict == SWAPKSM_WALK_DONE)
			break;
	}
	anon_vma_unlock_read(anon_vma);
	return verdict;
}

void swapksm_collect_procs(struct anon_vma *anon_vma, unsigned long index, unsigned long addr,
			   const struct page *page, struct list_head *to_kill, int force_early)
{
#ifdef CONFIG_MEMORY_FAILURE
	struct task_struct *process;

	anon_vma_lock_read(anon_vma);
	rcu_read_lock();
	for_each_process(process) {
		struct task_struct *task = task_early_kill(process, force_early);
		struct anon_vma_chain *avc;

		if (!task)
			continue;
		swapksm_anon_rmap_foreach(avc, anon_vma, index)
			if (avc->vma->vm_mm == task->mm)
				add_to_kill_ksm(task, page, avc->vma, to_kill, addr);
	}
	rcu_read_unlock();
	anon_vma_unlock_read(anon_vma);
#endif
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Copies of pages, and unsharing a merged page where a fault cannot.
 *
 * Where userfaultfd watches for any access (UFFDIO_RWPROTECT, since 7.3) the fault that unshares a page is an access like
 * any other to handle_pte_fault() (mm/memory.c). Without FAULT_FLAG_ALLOW_RETRY, which would have us wait for whoever
 * watches, it fails (handle_userfault() in mm/userfaultfd.c) and leaves the page merged; with UFFD_FEATURE_RWP_ASYNC it
 * takes the mark away, as though the process had looked at the page. So we do here what the fault would, and keep the mark.
 * In such a mapping all pages are unshared so, marked or not: marks come and go with the mmap lock held for reading.
 */
#include <linux/highmem.h>
#include <linux/ksm.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include "mm/internal.h"
#include "compat.h"
#include "unshare.h"
#include "walk.h"

struct folio *swapksm_copy_page(struct page *page, struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *copy = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr);

	if (!copy)
		return NULL;
	if (mem_cgroup_charge(copy, vma->vm_mm, GFP_KERNEL)) {
		folio_put(copy);
		return NULL;
	}
	if (copy_mc_user_highpage(folio_page(copy, 0), page, addr, vma)) {
		folio_put(copy);
		return ERR_PTR(-EHWPOISON);
	}
	folio_set_dirty(copy);
	__folio_mark_uptodate(copy);
	return copy;
}

void swapksm_map_page(struct folio *copy, struct vm_area_struct *vma, unsigned long addr, pte_t *ptep, pte_t pte)
{
	folio_get(copy);
	folio_add_new_anon_rmap(copy, vma, addr, RMAP_EXCLUSIVE);
	folio_add_lru_vma(copy, vma);
	set_pte_at(vma->vm_mm, addr, ptep, pte);
	update_mmu_cache(vma, addr, ptep);
}

/* The merged page at @addr, with a reference, or the zero page, which needs none, and the entry in *@pte. */
static struct page *get_merged(struct vm_area_struct *vma, unsigned long addr, pte_t *pte)
{
	struct page *page = NULL;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = swapksm_pte_lock(vma->vm_mm, addr, &ptl);
	if (!ptep)
		return NULL;
	*pte = ptep_get(ptep);
	if (pte_present(*pte)) {
		if (is_ksm_zero_pte(*pte)) {
			page = pte_page(*pte);
		} else {
			page = vm_normal_page(vma, addr, *pte);
			if (page && folio_test_ksm(page_folio(page)))
				get_page(page);
			else
				page = NULL;
		}
	}
	pte_unmap_unlock(ptep, ptl);
	return page;
}

/*
 * As wp_page_copy() (mm/memory.c). The copy comes from before the lock: the content of a merged page does not change as
 * long as it has a reference.
 */
static void map_instead(struct folio *copy, struct page *page, pte_t old, struct vm_area_struct *vma, unsigned long addr)
{
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_notifier_range range;
	spinlock_t *ptl;
	pte_t *ptep, new;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mm, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);

	ptep = swapksm_pte_lock(mm, addr, &ptl);
	if (!ptep)
		goto out;
	if (!pte_same(ptep_get(ptep), old))
		goto out_unlock;
	new = mk_pte(folio_page(copy, 0), vma->vm_page_prot);
	if (pte_soft_dirty(old))
		new = pte_mksoft_dirty(new);
	if (swapksm_pte_is_watched(old))
		new = swapksm_pte_watch_all(new);

	flush_cache_page(vma, addr, pte_pfn(old));
	ptep_clear_flush(vma, addr, ptep);
	swapksm_map_page(copy, vma, addr, ptep, new);
	if (is_zero_pfn(pte_pfn(old))) {
		ksm_might_unmap_zero_page(mm, old);
		inc_mm_counter(mm, MM_ANONPAGES);
	} else {
		/* Only now, so that who finds it mapped less often knows that nobody reads it through this entry. */
		folio_remove_rmap_pte(page_folio(page), page, vma);
		put_page(page);
		count_vm_event(COW_KSM);
	}
out_unlock:
	pte_unmap_unlock(ptep, ptl);
out:
	mmu_notifier_invalidate_range_end(&range);
}

int swapksm_unshare_watched(struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *copy;
	struct page *page;
	int err = 0;
	pte_t old;

	if (!swapksm_vma_watches_all(vma))
		return -ENOENT;
	page = get_merged(vma, addr, &old);
	if (!page)
		return -ENOENT;
	copy = swapksm_copy_page(page, vma, addr);
	if (IS_ERR_OR_NULL(copy)) {
		err = copy ? PTR_ERR(copy) : -ENOMEM;
	} else {
		map_instead(copy, page, old, vma, addr);
		folio_put(copy);
	}
	if (!is_zero_pfn(page_to_pfn(page))) {
		free_swap_cache(page_folio(page));
		put_page(page);
	}
	return err;
}

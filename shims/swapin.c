// SPDX-License-Identifier: GPL-2.0
/*
 * Pages coming back from swap.
 */
#include <linux/highmem.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "mm/internal.h"
#include "mm/swap.h"
#include "compat.h"
#include "swapin.h"
#include "walk.h"

/*
 * A large folio is read for one of those that have its entries, and comes into the reverse mapping of that one: another one's
 * mapping in it no walk finds, and the anon_vma may go before that mapping (__folio_set_anon(), unlink_anon_vmas() in
 * mm/rmap.c). ksm_might_need_to_copy() in mm/ksm.c does not look at large folios.
 */
static enum swapksm_swapin_kind large_kind(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);
	unsigned long entry;
	pgoff_t index;

	if (!anon_vma || !folio_test_swapcache(folio))
		return SWAPKSM_SWAPIN_LARGE;
	switch (swapksm_pte_read(vma->vm_mm, addr, &entry)) {
	case SWAPKSM_PTE_SWAP:
	case SWAPKSM_PTE_SWAP_EXCLUSIVE:
		break;
	default:
		/* The fault will find that it is no swap entry any more. */
		return SWAPKSM_SWAPIN_LARGE;
	}
	index = folio->index + swp_offset((swp_entry_t) { entry }) - swp_offset(folio->swap);
	if (index == swapksm_anon_index(vma, addr) && anon_vma->root == vma->anon_vma->root)
		return SWAPKSM_SWAPIN_LARGE;
	return SWAPKSM_SWAPIN_LARGE_FOREIGN;
}

void swapksm_swapin_break_up(struct folio *folio)
{
	if (folio_mapped(folio))
		/* Who else has a reference for a moment makes it fail. */
		split_folio(folio);
	else if (!folio_test_dirty(folio) && !folio_test_writeback(folio))
		swap_cache_del_folio(folio);
}

enum swapksm_swapin_kind swapksm_swapin_kind(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	struct anon_vma *anon_vma;

	if (folio_test_large(folio))
		return large_kind(folio, vma, addr);
	if (folio_test_ksm(folio))
		return SWAPKSM_SWAPIN_KSM;
	anon_vma = folio_anon_vma(folio);
	if (!anon_vma)
		return SWAPKSM_SWAPIN_NEW;
	if (folio->index == swapksm_anon_index(vma, addr) && anon_vma->root == vma->anon_vma->root)
		return SWAPKSM_SWAPIN_LINEAR;
	return SWAPKSM_SWAPIN_FOREIGN;
}

bool swapksm_folio_is_poisoned(struct folio *folio)
{
	return PageHWPoison(folio_page(folio, 0));
}

bool swapksm_folio_is_readable(struct folio *folio)
{
	return !folio_is_zone_device(folio) && !swapksm_folio_is_poisoned(folio);
}

bool swapksm_folio_is_uptodate(struct folio *folio)
{
	return folio_test_uptodate(folio);
}

unsigned int swapksm_folio_pages(const struct folio *folio)
{
	return folio_nr_pages(folio);
}

bool swapksm_swapin_is_busy(unsigned long entry)
{
	const swp_entry_t swap = { .val = entry };
	struct swap_info_struct *device = get_swap_device(swap);
	struct folio *folio;
	bool busy = false;

	if (!device)
		return false;
	folio = swap_cache_get_folio(swap);
	if (folio) {
		busy = !folio_trylock(folio);
		if (!busy)
			folio_unlock(folio);
		folio_put(folio);
	}
	put_swap_device(device);
	return busy;
}

bool swapksm_swapin_is_for_kvm(void)
{
	static const char function[] = "async_pf_execute";
	const struct work_struct *work;
	char name[sizeof(function)];

	if (!(current->flags & PF_WQ_WORKER))
		return false;
	work = current_work();
	if (!work)
		return false;
	snprintf(name, sizeof(name), "%ps", work->func);
	return !strcmp(name, function);
}

struct folio *swapksm_swapin_poisoned(void)
{
	return ERR_PTR(-EHWPOISON);
}

struct folio *swapksm_swapin_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *copy = vma_alloc_folio(GFP_HIGHUSER_MOVABLE, 0, vma, addr);

	if (!copy)
		return NULL;
	if (mem_cgroup_charge(copy, vma->vm_mm, GFP_KERNEL)) {
		folio_put(copy);
		return NULL;
	}
	if (copy_mc_user_highpage(folio_page(copy, 0), folio_page(folio, 0), addr, vma)) {
		folio_put(copy);
		return ERR_PTR(-EHWPOISON);
	}
	folio_set_dirty(copy);
	__folio_mark_uptodate(copy);
	__folio_set_locked(copy);
#ifdef CONFIG_SWAP
	count_vm_event(KSM_SWPIN_COPY);
#endif
	return copy;
}

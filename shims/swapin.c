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

#include "kernel/workqueue_internal.h"
#include "mm/internal.h"
#include "mm/swap.h"
#include "compat.h"
#include "swapin.h"
#include "unshare.h"
#include "walk.h"

/* The swap entry at @addr, if @folio has it; it may change the next moment. */
static bool entry_of(struct folio *folio, struct mm_struct *mm, unsigned long addr, swp_entry_t *entry)
{
	const swp_entry_t first = folio->swap;

	switch (swapksm_pte_read(mm, addr, &entry->val)) {
	case SWAPKSM_PTE_SWAP:
	case SWAPKSM_PTE_SWAP_EXCLUSIVE:
		break;
	default:
		return false;
	}
	return swp_type(*entry) == swp_type(first) && swp_offset(*entry) >= swp_offset(first) &&
	       swp_offset(*entry) < swp_offset(first) + folio_nr_pages(folio);
}

/* The page that do_swap_page() takes for @entry (folio_file_page()). */
static unsigned long page_of(const struct folio *folio, swp_entry_t entry)
{
	return swp_offset(entry) - swp_offset(folio->swap);
}

/*
 * Does a walk that begins at the folio's anon_vma come to this VMA? The anon_vma lives as long as the folio is mapped, and
 * (SLAB_TYPESAFE_BY_RCU) until rcu_read_unlock() then; without a mapping its address is all there is.
 */
static bool is_relative(struct folio *folio, struct anon_vma *anon_vma, struct vm_area_struct *vma)
{
	bool found = anon_vma == vma->anon_vma || anon_vma == vma->anon_vma->root;

	rcu_read_lock();
	if (!found && folio_mapped(folio))
		found = READ_ONCE(anon_vma->root) == vma->anon_vma->root;
	rcu_read_unlock();
	return found;
}

/*
 * A large folio is read for one of those that have its entries, and comes into the reverse mapping of that one: another one's
 * mapping in it no walk finds, and the anon_vma may go before that mapping (__folio_set_anon(), unlink_anon_vmas() in
 * mm/rmap.c). ksm_might_need_to_copy() in mm/ksm.c does not look at large folios.
 */
static enum swapksm_swapin_kind large_kind(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	struct anon_vma *anon_vma = folio_anon_vma(folio);
	swp_entry_t entry;

	/* Without the entry the fault will find that it has changed. */
	if (!anon_vma || !folio_test_swapcache(folio) || !entry_of(folio, vma->vm_mm, addr, &entry))
		return SWAPKSM_SWAPIN_LARGE;
	if (folio->index + page_of(folio, entry) == swapksm_anon_index(vma, addr) && is_relative(folio, anon_vma, vma))
		return SWAPKSM_SWAPIN_LARGE;
	return SWAPKSM_SWAPIN_LARGE_FOREIGN;
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
	const struct worker *worker = current_wq_worker();
	char name[sizeof(function)];

	/* The work item itself may be gone: its function may free it (process_one_work() in kernel/workqueue.c). */
	if (!worker || !worker->current_func)
		return false;
	snprintf(name, sizeof(name), "%ps", worker->current_func);
	return !strcmp(name, function);
}

struct folio *swapksm_swapin_poisoned(void)
{
	return ERR_PTR(-EHWPOISON);
}

static struct folio *copy_of(struct page *page, struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *copy = swapksm_copy_page(page, vma, addr);

	if (IS_ERR_OR_NULL(copy))
		return copy;
	__folio_set_locked(copy);
#ifdef CONFIG_SWAP
	count_vm_event(KSM_SWPIN_COPY);
#endif
	return copy;
}

struct folio *swapksm_swapin_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	return copy_of(folio_page(folio, 0), vma, addr);
}

/*
 * As the end of do_swap_page() (mm/memory.c) with a copy, for one page of a large folio. Not writable: a write asks again. What
 * userfaultfd is to be told of it is told of the copy: the entry's mark is carried over, as the fault would.
 */
static void map_instead(struct folio *copy, struct folio *folio, swp_entry_t entry, struct vm_area_struct *vma,
			unsigned long addr)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl;
	pte_t *ptep, old, new;

	ptep = swapksm_pte_lock(mm, addr, &ptl);
	if (!ptep)
		return;
	old = ptep_get(ptep);
	if (pte_none(old) || pte_present(old) || softleaf_from_pte(old).val != entry.val)
		goto unlock;
	new = mk_pte(folio_page(copy, 0), vma->vm_page_prot);
	if (pte_swp_soft_dirty(old))
		new = pte_mksoft_dirty(new);
	new = swapksm_pte_keep_watched(vma, old, new);
	inc_mm_counter(mm, MM_ANONPAGES);
	dec_mm_counter(mm, MM_SWAPENTS);
	folio_put_swap(folio, folio_page(folio, page_of(folio, entry)));
	swapksm_map_page(copy, vma, addr, ptep, new);
unlock:
	pte_unmap_unlock(ptep, ptl);
}

enum swapksm_swapin_mapped swapksm_swapin_map_copy(struct folio *folio, struct vm_area_struct *vma,
						   unsigned long addr)
{
	struct folio *copy;
	struct page *page;
	swp_entry_t entry;

	/* What was not read the fault tells of. */
	if (!entry_of(folio, vma->vm_mm, addr, &entry) || !folio_test_uptodate(folio))
		return SWAPKSM_SWAPIN_MAPPED;
	page = folio_page(folio, page_of(folio, entry));
	if (PageHWPoison(page))
		return SWAPKSM_SWAPIN_BROKEN;
	copy = copy_of(page, vma, addr);
	if (IS_ERR_OR_NULL(copy))
		return copy ? SWAPKSM_SWAPIN_BROKEN : SWAPKSM_SWAPIN_NO_MEMORY;
	map_instead(copy, folio, entry, vma, addr);
	folio_unlock(copy);
	folio_put(copy);
	return SWAPKSM_SWAPIN_MAPPED;
}

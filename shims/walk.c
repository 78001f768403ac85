// SPDX-License-Identifier: GPL-2.0
/*
 * Looking at page tables and VMAs.
 */
#include <linux/ksm.h>
#include <linux/fs.h>
#include <linux/hugetlb_inline.h>
#include <linux/swap.h>
#include <linux/leafops.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mm/internal.h"
#include "compat.h"
#include "rmap.h"
#include "space.h"
#include "unshare.h"
#include "walk.h"

struct collect {
	struct swapksm_collected *found;
	unsigned int max;
};

/* Anonymous, and where the kernel can read it; what is merged already also in a device's memory. */
static bool can_merge(struct page *page)
{
	struct folio *folio;

	if (!page)
		return false;
	folio = page_folio(page);
	return folio_test_ksm(folio) || (folio_test_anon(folio) && !folio_is_zone_device(folio));
}

static struct page *page_of(struct vm_area_struct *vma, unsigned long addr, pte_t pte)
{
	softleaf_t leaf;

	if (pte_present(pte))
		return vm_normal_page(vma, addr, pte);
	if (pte_none(pte))
		return NULL;
	leaf = softleaf_from_pte(pte);
	return softleaf_is_device_private(leaf) ? softleaf_to_page(leaf) : NULL;
}

static unsigned int page_number(unsigned long addr)
{
	return (addr & ~PMD_MASK) >> PAGE_SHIFT;
}

static void collect_page(struct collect *collect, unsigned long addr, struct page *page)
{
	collect->found->pages[page_number(addr)] = page;
	collect->found->count++;
}

/* Returns the address after the last one looked at. */
static unsigned long collect_huge(struct collect *collect, struct vm_area_struct *vma, pmd_t pmd, unsigned long addr,
				  unsigned long end)
{
	struct page *page = vm_normal_page_pmd(vma, addr, pmd);

	if (!can_merge(page))
		return end;
	for (; addr < end && collect->found->count < collect->max; addr += PAGE_SIZE)
		collect_page(collect, addr, page + page_number(addr));
	return addr;
}

static unsigned long collect_ptes(struct collect *collect, struct vm_area_struct *vma, pte_t *pte,
				  unsigned long addr, unsigned long end)
{
	for (; addr < end && collect->found->count < collect->max; addr += PAGE_SIZE, pte++) {
		struct page *page = page_of(vma, addr, ptep_get(pte));

		if (can_merge(page))
			collect_page(collect, addr, page);
	}
	return addr;
}

static int collect_pmd(pmd_t *pmdp, unsigned long addr, unsigned long end, struct mm_walk *walk)
{
	struct collect *collect = walk->private;
	unsigned long stop = end;
	spinlock_t *ptl;
	pte_t *pte;

	cond_resched();
	if (swapksm_mm_has_no_users(walk->mm))
		return 1;

	ptl = pmd_trans_huge_lock(pmdp, walk->vma);
	if (ptl) {
		const pmd_t pmd = pmdp_get(pmdp);

		if (pmd_present(pmd))
			stop = collect_huge(collect, walk->vma, pmd, addr, end);
		spin_unlock(ptl);
	} else {
		pte = pte_offset_map_lock(walk->mm, pmdp, addr, &ptl);
		if (!pte)
			return 0;
		stop = collect_ptes(collect, walk->vma, pte, addr, end);
		pte_unmap_unlock(pte, ptl);
	}
	if (!collect->found->count)
		return 0;
	collect->found->base = addr & PMD_MASK;
	collect->found->to = page_number(stop - PAGE_SIZE) + 1;
	return 1;
}

static const struct mm_walk_ops collect_ops = {
	.pmd_entry = collect_pmd,
	.walk_lock = PGWALK_RDLOCK,
};

bool swapksm_collect(struct mm_struct *mm, unsigned long addr, unsigned int max, struct swapksm_collected *found,
		     bool *any)
{
	VMA_ITERATOR(vmi, mm, addr);
	struct collect collect = { .found = found, .max = max };
	unsigned long limit = ULONG_MAX;
	struct vm_area_struct *vma;

	memset(found, 0, sizeof(*found));
	for_each_vma(vmi, vma) {
		const unsigned long start = max(vma->vm_start, addr);
		const unsigned long end = min(vma->vm_end, limit);

		if (start >= limit || found->count >= max || swapksm_mm_has_no_users(mm))
			break;
		cond_resched();
		if (!(vma->vm_flags & VM_MERGEABLE))
			continue;
		*any = true;
		if (!vma->anon_vma)
			continue;
		walk_page_range_vma(vma, start, end, &collect_ops, &collect);
		/* From the first page on only the rest of its chunk, which other VMAs may share, is of interest. */
		if (found->count && limit == ULONG_MAX)
			limit = found->base + PMD_SIZE;
	}
	if (!found->count)
		return false;
	found->from = addr > found->base ? page_number(addr) : 0;
	if (found->count < max)
		found->to = SWAPKSM_CHUNK_PAGES;
	return true;
}

pte_t *swapksm_pte_lock(struct mm_struct *mm, unsigned long addr, spinlock_t **ptl)
{
	pmd_t *pmd = mm_find_pmd(mm, addr);

	return pmd ? pte_offset_map_lock(mm, pmd, addr, ptl) : NULL;
}

enum swapksm_pte_kind swapksm_pte_read(struct mm_struct *mm, unsigned long addr, unsigned long *value)
{
	enum swapksm_pte_kind kind = SWAPKSM_PTE_NONE;
	pmd_t *pmd = mm_find_pmd(mm, addr);
	softleaf_t leaf;
	spinlock_t *ptl;
	pte_t *ptep, pte;

	if (!pmd)
		return kind;
	ptl = pmd_lock(mm, pmd);
	if (pmd_trans_huge(*pmd)) {
		if (!pmd_special(*pmd)) {
			*value = pmd_pfn(*pmd) + page_number(addr);
			kind = SWAPKSM_PTE_PAGE;
		}
		spin_unlock(ptl);
		return kind;
	}
	spin_unlock(ptl);

	ptep = pte_offset_map_lock(mm, pmd, addr, &ptl);
	if (!ptep)
		return kind;
	pte = ptep_get(ptep);
	if (pte_present(pte)) {
		*value = pte_pfn(pte);
		/* Device memory and zero pages have no page of anybody's. */
		if (!pte_special(pte) && !is_zero_pfn(*value) && pfn_valid(*value))
			kind = SWAPKSM_PTE_PAGE;
	} else if (!pte_none(pte)) {
		leaf = softleaf_from_pte(pte);
		if (softleaf_is_swap(leaf)) {
			*value = leaf.val;
			kind = pte_swp_exclusive(pte) ? SWAPKSM_PTE_SWAP_EXCLUSIVE : SWAPKSM_PTE_SWAP;
		} else if (softleaf_is_migration(leaf)) {
			*value = softleaf_to_pfn(leaf);
			kind = SWAPKSM_PTE_MIGRATION;
		} else if (softleaf_is_device_private(leaf)) {
			/* A device has it for now: migrated with its key, and comes back by a fault of whoever shares it. */
			*value = softleaf_to_pfn(leaf);
			kind = SWAPKSM_PTE_PAGE;
		}
	}
	pte_unmap_unlock(ptep, ptl);
	return kind;
}

bool swapksm_vma_has_anon(struct vm_area_struct *vma)
{
	return vma->anon_vma && !is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_SPECIAL);
}

static struct vm_area_struct *anon_vma_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	return vma && swapksm_vma_has_anon(vma) ? vma : NULL;
}

bool swapksm_is_mapping(struct mm_struct *mm, unsigned long addr, struct anon_vma *anon_vma, unsigned long index)
{
	struct vm_area_struct *vma = anon_vma_at(mm, addr);

	return vma && swapksm_anon_vma_finds(anon_vma, index, vma, addr);
}

bool swapksm_has_anon(struct mm_struct *mm, unsigned long addr)
{
	return anon_vma_at(mm, addr);
}

struct vm_area_struct *swapksm_mergeable_vma(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma;

	if (swapksm_mm_has_no_users(mm))
		return NULL;
	vma = vma_lookup(mm, addr);
	return vma && (vma->vm_flags & VM_MERGEABLE) && vma->anon_vma ? vma : NULL;
}

bool swapksm_mm_has_mergeable(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma)
		if (vma->vm_flags & VM_MERGEABLE)
			return true;
	return false;
}

static bool can_be_merged(const struct file *file, vm_flags_t flags)
{
	return !(flags & (VM_SHARED | VM_MAYSHARE | VM_SPECIAL | VM_HUGETLB | VM_DROPPABLE)) && !file_is_dax(file);
}

bool swapksm_vma_compatible(struct vm_area_struct *vma)
{
	return can_be_merged(vma->vm_file, vma->vm_flags);
}

bool swapksm_flags_compatible(const struct file *file, unsigned long vm_flags)
{
	return !(vm_flags & VM_MERGEABLE) && can_be_merged(file, vm_flags);
}

bool swapksm_vma_is_anonymous(struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma);
}

bool swapksm_vma_is_mergeable(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_MERGEABLE;
}

u64 swapksm_vm_mergeable(void)
{
	return VM_MERGEABLE;
}

struct mm_struct *swapksm_vma_mm(struct vm_area_struct *vma)
{
	return vma->vm_mm;
}

static bool is_merged(struct vm_area_struct *vma, unsigned long addr, pte_t pte)
{
	struct folio *folio = NULL;

	if (pte_present(pte)) {
		if (is_ksm_zero_pte(pte))
			return true;
		folio = vm_normal_folio(vma, addr, pte);
	} else if (!pte_none(pte)) {
		const softleaf_t leaf = softleaf_from_pte(pte);

		/*
		 * A merged page under migration stays one: no need to wait for it here. The fault fetches one that a device
		 * has first: left there it could not come back for anybody once this mapping is in no reverse mapping.
		 */
		if (softleaf_is_migration(leaf) || softleaf_is_device_private(leaf))
			folio = softleaf_to_folio(leaf);
	}
	return folio && folio_test_ksm(folio);
}

/* Returns 1 with the address of the first merged page in *private. */
static int find_merged_pmd(pmd_t *pmd, unsigned long addr, unsigned long end, struct mm_walk *walk)
{
	unsigned long *where = walk->private;
	pte_t *start, *pte;
	spinlock_t *ptl;
	int found = 0;

	cond_resched();
	if (signal_pending(current))
		return -ERESTARTSYS;

	start = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	if (!start)
		return 0;
	for (pte = start; addr < end && !found; pte++, addr += PAGE_SIZE) {
		if (is_merged(walk->vma, addr, ptep_get(pte))) {
			*where = addr;
			found = 1;
		}
	}
	pte_unmap_unlock(start, ptl);
	return found;
}

static const struct mm_walk_ops find_merged_ops = {
	.pmd_entry = find_merged_pmd,
	.walk_lock = PGWALK_RDLOCK,
};

static const struct mm_walk_ops find_merged_locking_ops = {
	.pmd_entry = find_merged_pmd,
	.walk_lock = PGWALK_WRLOCK,
};

/*
 * An unshared copy is mapped clean, and is a clean folio: wp_page_copy() knows of no content that must be kept. After a
 * fork, MADV_FREE of one of them would take it from all: madvise_free_pte_range() asks how many map a page only if it is
 * dirty or in swap. A fork waits for the mmap lock, which we have.
 */
static void keep_copy(struct vm_area_struct *vma, unsigned long addr)
{
	struct folio *folio;
	spinlock_t *ptl;
	pte_t *ptep, pte;

	ptep = swapksm_pte_lock(vma->vm_mm, addr, &ptl);
	if (!ptep)
		return;
	pte = ptep_get(ptep);
	folio = pte_present(pte) ? vm_normal_folio(vma, addr, pte) : NULL;
	if (folio && folio_test_anon(folio) && !folio_test_ksm(folio))
		folio_mark_dirty(folio);
	pte_unmap_unlock(ptep, ptl);
}

/*
 * The owner unmerges for himself. Who does it for him stops when he is gone: the copies would be charged to nobody, and
 * whoever waits for the memory or the mmap lock of a killed process would wait for them. With the lock held for writing, a
 * killed process cannot even come to the point where it gives its mm up.
 */
static bool for_nobody(struct mm_struct *mm)
{
	return current->mm != mm && !swapksm_mm_has_process(mm);
}

/*
 * As a user of the mm. 0: done, or to be looked at again: a fault may come back without having done its work when
 * something else changes the entry. -ENOMEM. Other errors: this one cannot be had, but others can: its mapping has lost it
 * (truncation), or it is broken.
 */
static int break_page(struct vm_area_struct *vma, unsigned long addr)
{
	vm_fault_t fault;
	int err;

	err = swapksm_unshare_watched(vma, addr);
	if (err != -ENOENT)
		return err;
	fault = handle_mm_fault(vma, addr, FAULT_FLAG_UNSHARE | FAULT_FLAG_REMOTE, NULL);
	if (fault & VM_FAULT_OOM)
		return -ENOMEM;
	/* It may have come back from a device since we asked, and the fault have failed because userfaultfd watches it. */
	if (fault & VM_FAULT_ERROR)
		return swapksm_unshare_watched(vma, addr);
	keep_copy(vma, addr);
	return 0;
}

int swapksm_break_range(struct vm_area_struct *vma, unsigned long start, unsigned long end, bool write_lock)
{
	const struct mm_walk_ops *ops = write_lock ? &find_merged_locking_ops : &find_merged_ops;
	int found, err;

	if (!vma->anon_vma)
		return 0;
	/* Until none is found. */
	while ((found = walk_page_range_vma(vma, start, end, ops, &start)) > 0) {
		/*
		 * As a user of the mm, for this one page: beside exit_mmap() it could find the entry emptied and map
		 * something where nobody empties it again. (mm/ksm.c has __ksm_exit() wait for it.)
		 *
		 * With an error madvise() leaves the VMA mergeable, as what is merged in it must be.
		 */
		if ((write_lock && for_nobody(vma->vm_mm)) || !mmget_not_zero(vma->vm_mm))
			return write_lock ? -EINTR : 0;
		err = break_page(vma, start);
		mmput_async(vma->vm_mm);
		if (err == -ENOMEM)
			return err;
		if (err)
			start += PAGE_SIZE;
		if (start >= end)
			return 0;
		cond_resched();
	}
	return found;
}

int swapksm_break_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	int err = 0;

	for_each_vma(vmi, vma) {
		if (swapksm_mm_has_no_users(mm))
			break;
		if (vma->vm_flags & VM_MERGEABLE)
			err = swapksm_break_range(vma, vma->vm_start, vma->vm_end, false);
		if (err)
			break;
	}
	return err;
}

void swapksm_mark_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma)
		if (!(vma->vm_flags & VM_MERGEABLE) && swapksm_vma_compatible(vma))
			vm_flags_set(vma, VM_MERGEABLE);
}

int swapksm_unmark_all(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;
	int err;

	for_each_vma(vmi, vma) {
		if (!(vma->vm_flags & VM_MERGEABLE))
			continue;
		err = swapksm_break_range(vma, vma->vm_start, vma->vm_end, true);
		if (err)
			return err;
		vm_flags_clear(vma, VM_MERGEABLE);
	}
	return 0;
}

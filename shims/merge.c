// SPDX-License-Identifier: GPL-2.0
/*
 * The two page-table actions of merging.
 *
 * Why each step is as it is (mm/ksm.c, write_protect_page() and replace_page() are the reference):
 *
 * Pins. get_user_pages_fast() takes no lock we could hold. The PTE is cleared and flushed before references are
 * counted: who got a reference before that is counted, who comes later finds no PTE and takes the slow path, which
 * waits for our page-table lock. So a page that passes the count has no reader or writer but the page tables.
 *
 * A merged page that is replaced by another needs none of that: nobody writes to either, a long-term pin asks for a page of
 * its own first (FAULT_FLAG_UNSHARE), and a short one goes on reading what both have.
 *
 * Exclusive. Before a page may be shared its PageAnonExclusive must go, again with the PTE cleared and flushed
 * (folio_try_share_anon_rmap_pte()).
 *
 * Dirty. Reclaim drops an anonymous page that is clean or lazily freed without writing it to swap. A merged page is
 * therefore dirtied before anybody else comes to rely on it: at birth, and again before each further mapping, since
 * MADV_FREE on a merged page with one mapping cleans it (mm/madvise.c, madvise_free_pte_range()). A second one takes no
 * lock of a clean folio, and may mark it as lazily freed at any time; but reclaim, which needs the folio lock that is held
 * across, keeps what is dirty (try_to_unmap_one() in mm/rmap.c).
 */
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include "mm/internal.h"
#include "mm/swap.h"
#include "compat.h"
#include "merge.h"
#include "walk.h"

/* The PTE mapping @page at @addr, locked; NULL if there is none. */
static pte_t *lock_pte(struct vm_area_struct *vma, unsigned long addr, struct page *page, spinlock_t **ptl)
{
	pte_t *ptep, pte;

	ptep = swapksm_pte_lock(vma->vm_mm, addr, ptl);
	if (!ptep)
		return NULL;
	pte = ptep_get(ptep);
	if (pte_present(pte) && pte_pfn(pte) == page_to_pfn(page))
		return ptep;
	pte_unmap_unlock(ptep, *ptl);
	return NULL;
}

/* Is it a page of a kind that may be shared? */
static bool is_sharable(struct folio *folio, struct page *page)
{
	return folio_test_anon(folio) && folio_test_swapbacked(folio) && !PageHWPoison(page);
}

/* Does anybody but page tables and the caller, who has one reference, refer to @folio? */
static bool is_pinned(struct folio *folio)
{
	return folio_ref_count(folio) != folio_expected_ref_count(folio) + 1;
}

/*
 * What protect() would say, without the PTE being cleared: a hint. @page is mapped by a page table that is locked, so its
 * folio stays as it is.
 */
static bool looks_mergeable(struct page *page, bool is_protected)
{
	struct folio *folio = page_folio(page);

	if (!is_sharable(folio, page))
		return false;
	/* A large one that is pinned cannot be split. */
	if (is_protected && !folio_test_large(folio) && !PageAnonExclusive(page))
		return true;
	return !is_pinned(folio);
}

bool swapksm_can_merge(struct vm_area_struct *vma, unsigned long addr, struct page *page)
{
	pmd_t *pmdp = mm_find_pmd(vma->vm_mm, addr);
	bool can_merge = false;
	spinlock_t *ptl;
	pte_t *ptep;

	if (!pmdp)
		return false;
	ptl = pmd_trans_huge_lock(pmdp, vma);
	if (ptl) {
		const pmd_t pmd = pmdp_get(pmdp);

		if (pmd_present(pmd) && pmd_page(pmd) + ((addr & ~PMD_MASK) >> PAGE_SHIFT) == page)
			can_merge = !swapksm_pmd_is_watched(pmd) && looks_mergeable(page, false);
		spin_unlock(ptl);
		return can_merge;
	}
	ptep = lock_pte(vma, addr, page, &ptl);
	if (ptep) {
		const pte_t pte = ptep_get(ptep);

		can_merge = !swapksm_pte_is_watched(pte) && looks_mergeable(page, !pte_write(pte) && !pte_dirty(pte));
		pte_unmap_unlock(ptep, ptl);
	}
	return can_merge;
}

/* Lock the folio of @page, which is mapped at @addr, and make it a small one. */
static int lock_small(struct vm_area_struct *vma, unsigned long addr, struct page *page, struct folio **foliop)
{
	struct folio *folio = page_folio(page);

	if (!folio_trylock(folio))
		return -EBUSY;
	if (folio_test_large(folio)) {
		/* Not split for nothing. */
		if (!swapksm_can_merge(vma, addr, page) || split_huge_page(page)) {
			folio_unlock(folio);
			return -EBUSY;
		}
		/* The lock and the caller's reference have moved to the folio of @page. */
		folio = page_folio(page);
	}
	if (!is_sharable(folio, page)) {
		folio_unlock(folio);
		return -EBUSY;
	}
	*foliop = folio;
	return 0;
}

/* Forbid writing to @folio at @addr; the entry that does so in *@protected. */
static int protect(struct vm_area_struct *vma, unsigned long addr, struct folio *folio, pte_t *protected)
{
	struct page *page = folio_page(folio, 0);
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_notifier_range range;
	int err = -ESTALE;
	bool exclusive;
	spinlock_t *ptl;
	pte_t *ptep, pte;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mm, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);

	ptep = lock_pte(vma, addr, page, &ptl);
	if (!ptep)
		goto out;
	pte = ptep_get(ptep);
	/* That would be lost with this entry. */
	if (swapksm_pte_is_watched(pte)) {
		err = -EBUSY;
		goto out_unlock;
	}
	exclusive = PageAnonExclusive(page);
	if (pte_write(pte) || pte_dirty(pte) || exclusive || mm_tlb_flush_pending(mm)) {
		flush_cache_page(vma, addr, page_to_pfn(page));
		pte = ptep_clear_flush(vma, addr, ptep);
		if (is_pinned(folio) || (exclusive && folio_try_share_anon_rmap_pte(folio, page))) {
			set_pte_at(mm, addr, ptep, pte);
			err = -EBUSY;
			goto out_unlock;
		}
		if (pte_dirty(pte))
			folio_mark_dirty(folio);
		pte = pte_wrprotect(pte_mkclean(pte));
		set_pte_at(mm, addr, ptep, pte);
	}
	*protected = pte;
	err = 0;
out_unlock:
	pte_unmap_unlock(ptep, ptl);
out:
	mmu_notifier_invalidate_range_end(&range);
	return err;
}

/* The entry that maps @kpage, or the merged zero page, in this VMA, with the accounting that goes with it. */
static pte_t merged_pte(struct vm_area_struct *vma, unsigned long addr, struct page *kpage)
{
	struct folio *kfolio = page_folio(kpage);

	if (is_zero_pfn(page_to_pfn(kpage))) {
		/* The dirty bit tells a merged zero page from any other (is_ksm_zero_pte()). It is no anonymous page. */
		ksm_map_zero_page(vma->vm_mm);
		dec_mm_counter(vma->vm_mm, MM_ANONPAGES);
		return pte_mkdirty(pte_mkspecial(pfn_pte(page_to_pfn(kpage), vma->vm_page_prot)));
	}
	folio_get(kfolio);
	folio_add_anon_rmap_pte(kfolio, kpage, vma, addr, RMAP_NONE);
	return mk_pte(kpage, vma->vm_page_prot);
}

/* Put @kpage where @folio is write-protected by @protected. */
static int replace(struct vm_area_struct *vma, unsigned long addr, struct folio *folio, struct page *kpage,
		   pte_t protected)
{
	struct page *page = folio_page(folio, 0);
	struct mm_struct *mm = vma->vm_mm;
	struct mmu_notifier_range range;
	int err = -ESTALE;
	spinlock_t *ptl;
	pte_t *ptep, pte;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, mm, addr, addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);

	ptep = lock_pte(vma, addr, page, &ptl);
	if (!ptep)
		goto out;
	/* Any change, a write in between above all, makes the entry another one. */
	if (pte_same(ptep_get(ptep), protected)) {
		pte = merged_pte(vma, addr, kpage);
		/* Written since CRIU last asked. */
		if (pte_soft_dirty(protected))
			pte = pte_mksoft_dirty(pte);
		flush_cache_page(vma, addr, page_to_pfn(page));
		ptep_clear_flush(vma, addr, ptep);
		set_pte_at(mm, addr, ptep, pte);

		folio_remove_rmap_pte(folio, page, vma);
		if (!folio_mapped(folio))
			folio_free_swap(folio);
		folio_put(folio);
		err = 0;
	}
	pte_unmap_unlock(ptep, ptl);
out:
	mmu_notifier_invalidate_range_end(&range);
	return err;
}

int swapksm_merge_first(struct vm_area_struct *vma, unsigned long addr, struct page *page, void *node)
{
	struct folio *folio;
	pte_t protected;
	int err;

	err = lock_small(vma, addr, page, &folio);
	if (err)
		return err;
	if (folio_test_ksm(folio))
		err = -EBUSY;
	else
		err = protect(vma, addr, folio, &protected);
	if (err) {
		folio_unlock(folio);
		return err;
	}
	WRITE_ONCE(folio->mapping, (void *)((unsigned long)node | FOLIO_MAPPING_KSM));
	folio_mark_accessed(folio);
	folio_mark_dirty(folio);
	return 0;
}

int swapksm_merge_into(struct vm_area_struct *vma, unsigned long addr, struct page *page, struct page *kpage)
{
	struct folio *kfolio = page_folio(kpage);
	struct folio *folio;
	pte_t protected;
	int err;

	/* Gone to a device meanwhile: no CPU can read it there. */
	if (folio_is_zone_device(kfolio))
		return -EBUSY;
	/* Split only what will be merged: a first look at the bytes, which may still change. */
	if (folio_test_large(page_folio(page)) && !pages_identical(page, kpage))
		return -EINVAL;
	err = lock_small(vma, addr, page, &folio);
	if (err)
		return err;
	err = protect(vma, addr, folio, &protected);
	if (!err && !pages_identical(page, kpage))
		err = -EINVAL;
	if (!err) {
		if (!is_zero_pfn(page_to_pfn(kpage)) && (!folio_test_swapbacked(kfolio) || !folio_test_dirty(kfolio)))
			folio_mark_dirty(kfolio);
		err = replace(vma, addr, folio, kpage, protected);
	}
	folio_unlock(folio);
	return err;
}

bool swapksm_split(struct page *page)
{
	struct folio *folio = page_folio(page);
	bool is_split;

	if (!folio_trylock(folio))
		return false;
	is_split = !folio_test_large(folio) || split_huge_page(page) == 0;
	folio_unlock(page_folio(page));
	return is_split;
}

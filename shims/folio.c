// SPDX-License-Identifier: GPL-2.0
/*
 * Folios: references, locks, the merged-page key, and page contents.
 */
#include <linux/highmem.h>
#include <linux/ksm.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/swap.h>

#include "folio.h"

unsigned long swapksm_page_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

struct page *swapksm_pfn_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

int swapksm_pfn_nid(unsigned long pfn)
{
	return pfn_to_nid(pfn);
}

struct folio *swapksm_page_try_get(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_try_get(folio))
		return NULL;
	/* The folio may have been split before we had our reference. */
	if (unlikely(page_folio(page) != folio)) {
		folio_put(folio);
		return NULL;
	}
	return folio;
}

void swapksm_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void swapksm_folio_put(struct folio *folio)
{
	folio_put(folio);
}

void swapksm_page_put(struct page *page)
{
	put_page(page);
}

struct folio *swapksm_page_folio(struct page *page)
{
	return page_folio(page);
}

unsigned long swapksm_folio_pfn(const struct folio *folio)
{
	return folio_pfn(folio);
}

void swapksm_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

bool swapksm_folio_trylock(struct folio *folio)
{
	return folio_trylock(folio);
}

void swapksm_folio_unlock(struct folio *folio)
{
	folio_unlock(folio);
}

bool swapksm_folio_is_ksm(const struct folio *folio)
{
	return folio_test_ksm(folio);
}

bool swapksm_folio_is_mapped(const struct folio *folio)
{
	return folio_mapped(folio);
}

unsigned int swapksm_folio_mapcount(const struct folio *folio)
{
	return folio_mapcount(folio);
}

bool swapksm_folio_is_mapped_only(struct folio *folio, unsigned int count)
{
	return folio_mapcount(folio) <= count && (!folio_test_swapcache(folio) || folio_free_swap(folio));
}

bool swapksm_folio_is_swapcache(const struct folio *folio)
{
	return folio_test_swapcache(folio);
}

unsigned long swapksm_folio_swap(const struct folio *folio)
{
	return folio->swap.val;
}

void *swapksm_folio_node(const struct folio *folio)
{
	unsigned long key = (unsigned long)READ_ONCE(folio->mapping);

	if ((key & FOLIO_MAPPING_FLAGS) != FOLIO_MAPPING_KSM)
		return NULL;
	return (void *)(key & ~FOLIO_MAPPING_FLAGS);
}

void *swapksm_page_node(struct page *page)
{
	return swapksm_folio_node(page_folio(page));
}

void swapksm_folio_set_node(struct folio *folio, void *node)
{
	VM_WARN_ON_FOLIO(!folio_test_locked(folio), folio);
	WRITE_ONCE(folio->mapping, (void *)((unsigned long)node | FOLIO_MAPPING_KSM));
}

struct folio *swapksm_keyhole(unsigned long pfn, const void *node)
{
	const void *key = (const void *)((unsigned long)node | FOLIO_MAPPING_KSM);
	struct folio *folio = (struct folio *)pfn_to_page(pfn);

	if (READ_ONCE(folio->mapping) != key)
		return NULL;
	while (!folio_try_get(folio)) {
		/*
		 * Frozen: for good when it is being freed, for a moment when migration moves its place in the swap
		 * cache, and only then is it still in there.
		 */
		if (!folio_test_swapcache(folio))
			return NULL;
		cpu_relax();
	}
	if (READ_ONCE(folio->mapping) != key) {
		folio_put(folio);
		return NULL;
	}
	return folio;
}

void swapksm_page_copy(void *buffer, struct page *page)
{
	const void *from = kmap_local_page(page);

	/* Its owner may be writing: each word is read once, whatever it is at that moment. */
	copy_page(buffer, (void *)from);
	kunmap_local(from);
}

const void *swapksm_folio_address(struct folio *folio)
{
	return folio_address(folio);
}

bool swapksm_pages_identical(struct page *a, struct page *b)
{
	return pages_identical(a, b);
}

struct page *swapksm_zero_page(unsigned long addr)
{
	return ZERO_PAGE(addr);
}

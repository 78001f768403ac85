/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Folios: references, locks, the merged-page key, and page contents.
 *
 * The key of a merged folio is its ->mapping: the address of its stable node with the kernel's KSM bits. A folio with
 * the KSM bits and no node is merged for good: still copied on write, never reclaimed or migrated.
 */
#ifndef SWAPKSM_FOLIO_H
#define SWAPKSM_FOLIO_H

#include <linux/types.h>

struct folio;
struct page;

unsigned long swapksm_page_pfn(const struct page *page);
/* The page of a pfn once read from a page table or a folio. No access to memory. */
struct page *swapksm_pfn_page(unsigned long pfn);
int swapksm_pfn_nid(unsigned long pfn);

/* A reference to the folio of @page; NULL when it is being freed or frozen. Any context. */
struct folio *swapksm_page_try_get(struct page *page);
/* One more, given one. */
void swapksm_folio_get(struct folio *folio);
void swapksm_folio_put(struct folio *folio);
/* Drop a reference to the folio @page belongs to now: after a split that is another one than before. */
void swapksm_page_put(struct page *page);
struct folio *swapksm_page_folio(struct page *page);
unsigned long swapksm_folio_pfn(const struct folio *folio);

void swapksm_folio_lock(struct folio *folio);		/* may sleep */
bool swapksm_folio_trylock(struct folio *folio);
void swapksm_folio_unlock(struct folio *folio);

bool swapksm_folio_is_ksm(const struct folio *folio);
bool swapksm_folio_is_mapped(const struct folio *folio);
unsigned int swapksm_folio_mapcount(const struct folio *folio);
/*
 * Is an anonymous folio mapped @count times at most, with no swap entry of it anywhere? If so it leaves the swap cache.
 * Folio locked.
 */
bool swapksm_folio_is_mapped_only(struct folio *folio, unsigned int count);
bool swapksm_folio_is_swapcache(const struct folio *folio);
/* The swap entry of a folio in the swap cache, as a number. Folio locked. */
unsigned long swapksm_folio_swap(const struct folio *folio);

/* The node in the key of a merged folio, NULL if there is none. A raw read: who asks says what keeps it true. */
void *swapksm_folio_node(const struct folio *folio);
/* The same for the folio of a page somebody else keeps. */
void *swapksm_page_node(struct page *page);
/* Give a locked anonymous folio a key (@node NULL: merged for good). */
void swapksm_folio_set_node(struct folio *folio, void *node);

/*
 * Look through the keyhole: the folio with frame @pfn if it is alive and its key is @node, with a reference; NULL
 * otherwise. After NULL the caller compares the node's pfn again, for the folio may have been migrated meanwhile
 * (mm/ksm.c, ksm_get_folio()). Any context.
 */
struct folio *swapksm_keyhole(unsigned long pfn, const void *node);

/* Copy the content of @page, which may change while we read, to @buffer (PAGE_SIZE bytes). */
void swapksm_page_copy(void *buffer, struct page *page);
/* Where the kernel has a small folio mapped. */
const void *swapksm_folio_address(struct folio *folio);
/* Are the contents equal? Only a hint while either can be written. */
bool swapksm_pages_identical(struct page *a, struct page *b);

/* The all-zero page mapped at @addr. */
struct page *swapksm_zero_page(unsigned long addr);

#endif

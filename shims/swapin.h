/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pages coming back from swap.
 */
#ifndef SWAPKSM_SWAPIN_H
#define SWAPKSM_SWAPIN_H

#include <linux/types.h>

struct folio;
struct vm_area_struct;

/* The facts the hook decides on, read from a locked folio that was found in, or read into, the swap cache. */
enum swapksm_swapin_kind {
	SWAPKSM_SWAPIN_LARGE,		/* more than a page: belongs to nobody's node */
	SWAPKSM_SWAPIN_LARGE_FOREIGN,	/* the same, anonymous, and this VMA is not in its reverse mapping */
	SWAPKSM_SWAPIN_KSM,		/* merged, with or without node */
	SWAPKSM_SWAPIN_NEW,		/* in no reverse mapping yet */
	SWAPKSM_SWAPIN_LINEAR,		/* anonymous, and this VMA is in its reverse mapping */
	SWAPKSM_SWAPIN_FOREIGN,		/* anonymous, and this VMA is not */
};

enum swapksm_swapin_kind swapksm_swapin_kind(struct folio *folio, struct vm_area_struct *vma, unsigned long addr);

/*
 * Maps a private copy of the page of a large @folio that the swap entry at @addr names, in place of the fault: its own way to
 * map a copy drops the counts of all entries of @folio. The fault finds that its entry has changed, and is over or comes again.
 * @folio locked, the mmap lock or the VMA's lock held for reading, no lock of ours. May sleep.
 */
enum swapksm_swapin_mapped {
	SWAPKSM_SWAPIN_MAPPED,		/* or the entry had changed before */
	SWAPKSM_SWAPIN_NO_MEMORY,
	SWAPKSM_SWAPIN_BROKEN,		/* the memory cannot be read */
};

enum swapksm_swapin_mapped swapksm_swapin_map_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr);

bool swapksm_folio_is_poisoned(struct folio *folio);
/* Can its content be looked at? Not if it is broken, or in a device's memory, which has no address (migrate_vma_pages()). */
bool swapksm_folio_is_readable(struct folio *folio);
bool swapksm_folio_is_uptodate(struct folio *folio);
unsigned int swapksm_folio_pages(const struct folio *folio);

/*
 * A private copy of @folio for @addr: locked, charged, dirty, uptodate, with a reference. NULL: out of memory.
 * ERR_PTR(-EHWPOISON): the memory cannot be read. No lock of ours held. May sleep.
 */
struct folio *swapksm_swapin_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr);

/* Has anybody locked the folio that @entry has in the swap cache, if it has one? Any context. */
bool swapksm_swapin_is_busy(unsigned long entry);

/*
 * Is the caller the work item by which KVM brings in a page that its guest has missed? It asks for a page to be written
 * to, whatever the guest is about to do, and nobody looks whether it got one: the guest asks again.
 */
bool swapksm_swapin_is_for_kvm(void);

/* What to answer for a page that is poisoned: ERR_PTR(-EHWPOISON), as ksm_might_need_to_copy() (mm/ksm.c). */
struct folio *swapksm_swapin_poisoned(void);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reverse mapping: from a sharer of a merged page to every VMA that may map it.
 *
 * A sharer remembers the anon_vma and the page index its mapping had when it was merged. Forked copies hang off the
 * same anon_vma. mremap() unmerges before it moves, so an address never changes under a sharer.
 */
#ifndef SWAPKSM_RMAP_H
#define SWAPKSM_RMAP_H

#include <linux/types.h>

struct anon_vma;
struct folio;
struct list_head;
struct mm_struct;
struct page;
struct rmap_walk_control;
struct vm_area_struct;

/* The anon_vma of @vma with a reference, and the index of @addr. mmap lock held. */
struct anon_vma *swapksm_anon_vma_get(struct vm_area_struct *vma, unsigned long addr, unsigned long *index);
/* May sleep. */
void swapksm_anon_vma_put(struct anon_vma *anon_vma);

/*
 * Does a walk of this anon_vma at @index come to @addr in @vma? The caller keeps @anon_vma. VMA or mmap lock held.
 */
bool swapksm_anon_vma_finds(struct anon_vma *anon_vma, unsigned long index, struct vm_area_struct *vma,
			    unsigned long addr);

/* How many anon_vmas lead to @vma, one for each fork it came through; counted to @max. VMA or mmap lock held. */
size_t swapksm_anon_vma_depth(struct vm_area_struct *vma, size_t max);

enum swapksm_walk_verdict {
	SWAPKSM_WALK_ON,	/* go on with the next sharer */
	SWAPKSM_WALK_DONE,	/* the walker has what it wants, or found a lock busy */
};

/* A sharer to visit, and what came of it. */
struct swapksm_visit {
	struct anon_vma *anon_vma;
	unsigned long index, addr;
	struct mm_struct *mm;
	bool forks;		/* visit every other mm's mappings instead of those of @mm */
	bool *moved;		/* set by our own notifier when the walker invalidates @addr in @mm */
	bool lost;		/* it did, and the page-table entry names neither the folio nor its swap entry now */
};

/* Lock the tree of @anon_vma for reading. False when somebody has it for writing. Never sleeps. */
bool swapksm_anon_vma_trylock(struct anon_vma *anon_vma);

/*
 * Show the walker the mappings of @folio that a sharer stands for. The folio is locked. May sleep, unless the walker
 * asked to try its locks only.
 */
enum swapksm_walk_verdict swapksm_rmap_visit(struct folio *folio, struct rmap_walk_control *rwc,
					     struct swapksm_visit *visit);

/* Put every process that maps the poisoned page at @addr through @anon_vma on the list. Folio locked. May sleep. */
void swapksm_collect_procs(struct anon_vma *anon_vma, unsigned long index, unsigned long addr,
			   const struct page *page, struct list_head *to_kill, int force_early);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Looking at page tables and VMAs.
 */
#ifndef SWAPKSM_WALK_H
#define SWAPKSM_WALK_H

#include <linux/types.h>
#ifndef __BINDGEN__
#include <linux/mm.h>
#endif

struct file;
struct mm_struct;
struct page;
struct vm_area_struct;

#define SWAPKSM_CHUNK_PAGES 512u

/* What is mapped in one chunk (the 2 MiB under one PMD). */
struct swapksm_collected {
	unsigned long base;		/* the chunk's first address */
	unsigned int from, to;		/* the part that was looked at, as page numbers in the chunk: [from, to) */
	unsigned int count;		/* pages found */
	struct page *pages[SWAPKSM_CHUNK_PAGES];	/* NULL: nothing that could be merged there */
};

/*
 * Find the first chunk at or after @addr in which a mergeable VMA maps anonymous pages, and list at most @max of them,
 * with merged ones that a device has. Returns false when there is none up to the end of the address space. @any tells
 * whether any mergeable VMA, populated or not, was seen. mmap lock held for reading. No reference is taken: the pages
 * are what was mapped while the page table was locked. May sleep.
 */
bool swapksm_collect(struct mm_struct *mm, unsigned long addr, unsigned int max, struct swapksm_collected *found,
		     bool *any);

/* What stands at an address. */
enum swapksm_pte_kind {
	SWAPKSM_PTE_NONE,		/* nothing, or nothing a merged page could become */
	SWAPKSM_PTE_PAGE,		/* a page, also one in a device's memory: value is its pfn */
	SWAPKSM_PTE_MIGRATION,		/* a page on the move: value is the pfn it comes from */
	SWAPKSM_PTE_SWAP,		/* a swap entry: value is the entry */
	SWAPKSM_PTE_SWAP_EXCLUSIVE,	/* a swap entry of which this is the only owner: value is the entry */
};

/*
 * Is what @mm maps at @addr now the mapping that was known by @anon_vma and @index? Only then may its page table be read:
 * anything may have been mapped there since, such as a huge page of a size that mm_find_pmd() (mm/rmap.c) takes for a
 * table, and with munmap() the tables themselves are going. mmap lock held.
 */
bool swapksm_is_mapping(struct mm_struct *mm, unsigned long addr, struct anon_vma *anon_vma, unsigned long index);

/* Is an anonymous mapping with page tables of small pages there at all? mmap lock held. */
bool swapksm_has_anon(struct mm_struct *mm, unsigned long addr);
#ifndef __BINDGEN__
/* Is it one? mmap lock held. */
bool swapksm_vma_has_anon(struct vm_area_struct *vma);
/* The page-table entry at @addr, locked, of a mapping that is there. NULL: no page table of small pages. mmap or VMA lock held. */
pte_t *swapksm_pte_lock(struct mm_struct *mm, unsigned long addr, spinlock_t **ptl);
#endif

/*
 * Read the page table at @addr, of an anonymous mapping that is there: see above, or with the anon_vma's lock held. mmap
 * or VMA lock held otherwise. Does not sleep.
 */
enum swapksm_pte_kind swapksm_pte_read(struct mm_struct *mm, unsigned long addr, unsigned long *value);

/* The mergeable VMA with anonymous pages at @addr, NULL if there is none. mmap lock held. */
struct vm_area_struct *swapksm_mergeable_vma(struct mm_struct *mm, unsigned long addr);

/* Is any VMA mergeable? mmap lock held. */
bool swapksm_mm_has_mergeable(struct mm_struct *mm);

/* May samepage merging touch such a VMA at all? The second asks for one that does not exist yet and is not marked. */
bool swapksm_vma_compatible(struct vm_area_struct *vma);
bool swapksm_flags_compatible(const struct file *file, unsigned long vm_flags);
bool swapksm_vma_is_mergeable(const struct vm_area_struct *vma);
/* No file is behind it: no fault in it waits for one. */
bool swapksm_vma_is_anonymous(struct vm_area_struct *vma);
/* VM_MERGEABLE */
u64 swapksm_vm_mergeable(void);
struct mm_struct *swapksm_vma_mm(struct vm_area_struct *vma);

/*
 * Give everybody who shares a merged page or a merged zero page in [@start, @end) of @vma a page of their own.
 * @write_lock: the mmap lock is held for writing and the VMA shall be locked too; else it is held for reading.
 * -ENOMEM, -ERESTARTSYS (a signal came); with @write_lock also -EINTR (done for a process that is gone). May sleep.
 */
int swapksm_break_range(struct vm_area_struct *vma, unsigned long start, unsigned long end, bool write_lock);

/* The same for all mergeable VMAs of @mm. mmap lock held for reading. -ENOMEM, -ERESTARTSYS. May sleep. */
int swapksm_break_all(struct mm_struct *mm);

/* Mark every compatible VMA mergeable; unmerge every mergeable VMA and unmark it. mmap lock held for writing. */
void swapksm_mark_all(struct mm_struct *mm);
int swapksm_unmark_all(struct mm_struct *mm);

#endif

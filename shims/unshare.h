/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Copies of pages, and unsharing a merged page where a fault cannot.
 */
#ifndef SWAPKSM_UNSHARE_H
#define SWAPKSM_UNSHARE_H

#include <linux/pgtable.h>

struct folio;
struct page;
struct vm_area_struct;

/*
 * A private copy of @page for @addr: charged, dirty, uptodate, with a reference, not locked. NULL: out of memory.
 * ERR_PTR(-EHWPOISON): the memory cannot be read. No lock of ours held. May sleep.
 */
struct folio *swapksm_copy_page(struct page *page, struct vm_area_struct *vma, unsigned long addr);

/*
 * Map such a copy at @addr by @pte, in the place of what the caller has taken out of @ptep, whose page table is locked. The
 * mapping has a reference of its own. Counters are the caller's.
 */
void swapksm_map_page(struct folio *copy, struct vm_area_struct *vma, unsigned long addr, pte_t *ptep, pte_t pte);

/*
 * Where userfaultfd may want to be told of any access: give whoever has a merged page, or a merged zero page, at @addr one of
 * his own, which it is told of if it was before. 0: done, or something else is there by now. -ENOENT: not such a mapping, or
 * nothing present that is merged: a fault can do it. -ENOMEM, -EHWPOISON (the memory cannot be read): all is as it was. The
 * mmap lock is held and the mm has a user. May sleep.
 */
int swapksm_unshare_watched(struct vm_area_struct *vma, unsigned long addr);

#endif

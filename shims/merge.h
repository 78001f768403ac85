/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The two page-table actions of merging: turning a private page into a merged one in place, and mapping a merged page
 * instead of another one with the same bytes, private or merged as well.
 *
 * Both are called with the mmap lock of the VMA's mm held for reading and one reference of the caller's on the page
 * (more would look like somebody's pin). Both invalidate through mmu notifiers, our own included. May sleep.
 */
#ifndef SWAPKSM_MERGE_H
#define SWAPKSM_MERGE_H

struct folio;
struct page;
struct vm_area_struct;

/*
 * Make @page, mapped at @addr, the merged page of @node. 0: its folio is LOCKED, write-protected, dirty, small, and has
 * the node as key; the caller adds the sharer and unlocks. Else nothing is held and the page is as it was, but perhaps
 * write-protected or in a smaller folio:
 * -EBUSY: locked by somebody else, pinned, or lazily freed; try again later. -ESTALE: no longer mapped there.
 */
int swapksm_merge_first(struct vm_area_struct *vma, unsigned long addr, struct page *page, void *node);

/*
 * Map @kpage at @addr instead of @page if their bytes are equal. @kpage is either the page of a merged folio that the
 * caller has LOCKED, or the zero page. On success the mapping's reference to @page is dropped.
 * -EBUSY, -ESTALE: as above. -EINVAL: the bytes differ.
 */
int swapksm_merge_into(struct vm_area_struct *vma, unsigned long addr, struct page *page, struct page *kpage);

/*
 * Would the two have @page, mapped at @addr, merged, as far as can be seen? False for what may last as long as somebody
 * likes: it is pinned, watched through userfaultfd or lazily freed; and when it is no longer mapped there. A hint: all that
 * may change at once. Conditions as above; does not sleep.
 */
bool swapksm_can_merge(struct vm_area_struct *vma, unsigned long addr, struct page *page);

/*
 * Split the large folio of @page, on which the caller has one reference.
 * Used when both partners of a merge lie in one folio. False: it is still large.
 */
bool swapksm_split(struct page *page);

#endif

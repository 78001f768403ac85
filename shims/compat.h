/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What differs between the kernel versions we build for. Every test of a version number stands here.
 */
#ifndef SWAPKSM_COMPAT_H
#define SWAPKSM_COMPAT_H

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/userfaultfd_k.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 2, 0)
#error "swapksm: kernels before 7.2 have other entry points in mm/ksm.c; see Documentation/porting"
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 3, 0)
/* The index an anonymous page at @addr has, and the walk over the VMAs that can map an index (renamed in 7.3). */
static inline pgoff_t swapksm_anon_index(const struct vm_area_struct *vma, unsigned long addr)
{
	return linear_page_index(vma, addr);
}

#define swapksm_anon_rmap_foreach(avc, anon_vma, index) \
	anon_vma_interval_tree_foreach(avc, &(anon_vma)->rb_root, index, index)

/* Does userfaultfd want to be told of what happens here? (7.3 has one bit for writes and for any access.) */
static inline bool swapksm_pte_is_watched(pte_t pte)
{
	return pte_uffd_wp(pte);
}

static inline bool swapksm_pmd_is_watched(pmd_t pmd)
{
	return pmd_uffd_wp(pmd);
}

/* @pte, which takes the place of the swap entry @old, as do_swap_page() (mm/memory.c) would have it watched. */
static inline pte_t swapksm_pte_keep_watched(struct vm_area_struct *vma, pte_t old, pte_t pte)
{
	return pte_swp_uffd_wp(old) ? pte_mkuffd_wp(pte) : pte;
}

/* Can it want to be told of any access here, reads and the kernel's own too? (Since 7.3.) @pte with a mark that has it told. */
static inline bool swapksm_vma_watches_all(struct vm_area_struct *vma)
{
	return false;
}

static inline pte_t swapksm_pte_watch_all(pte_t pte)
{
	return pte;
}
#else
static inline pgoff_t swapksm_anon_index(const struct vm_area_struct *vma, unsigned long addr)
{
	return linear_anon_page_index(vma, addr);
}

#define swapksm_anon_rmap_foreach(avc, anon_vma, index) anon_rmap_tree_foreach(avc, anon_vma, index, index)

static inline bool swapksm_pte_is_watched(pte_t pte)
{
	return pte_uffd(pte);
}

static inline bool swapksm_vma_watches_all(struct vm_area_struct *vma)
{
	return userfaultfd_rwp(vma);
}

static inline pte_t swapksm_pte_watch_all(pte_t pte)
{
	return pte_modify(pte_mkuffd(pte), PAGE_NONE);
}

static inline bool swapksm_pmd_is_watched(pmd_t pmd)
{
	return pmd_uffd(pmd);
}

static inline pte_t swapksm_pte_keep_watched(struct vm_area_struct *vma, pte_t old, pte_t pte)
{
	if (!pte_swp_uffd(old))
		return pte;
	return swapksm_vma_watches_all(vma) ? swapksm_pte_watch_all(pte) : pte_mkuffd(pte);
}
#endif

#endif

// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/mman.h>

#include "madvise.h"

int swapksm_madvise(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable)
{
	return do_madvise(mm, start, len, mergeable ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}

int swapksm_all_mapped(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	VMA_ITERATOR(vmi, mm, start);
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_start > start)
			break;
		start = vma->vm_end;
	}
	mmap_read_unlock(mm);
	return start >= end;
}

int swapksm_any_mergeable(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	VMA_ITERATOR(vmi, mm, start);
	struct vm_area_struct *vma;
	int found = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for_each_vma_range(vmi, vma, end) {
		found = !!(vma->vm_flags & VM_MERGEABLE);
		if (found)
			break;
	}
	mmap_read_unlock(mm);
	return found;
}

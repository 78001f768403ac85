// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/workqueue.h>

#include "madvise.h"

struct madvise_work {
	struct work_struct work;
	struct mm_struct *mm;
	unsigned long start;
	size_t len;
	bool mergeable;
	int err;
};

int swapksm_madvise(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable)
{
	return do_madvise(mm, start, len, mergeable ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}

static void madvise_work(struct work_struct *work)
{
	struct madvise_work *w = container_of(work, struct madvise_work, work);

	w->err = swapksm_madvise(w->mm, w->start, w->len, w->mergeable);
}

int swapksm_madvise_in_worker(struct mm_struct *mm, unsigned long start, size_t len, bool mergeable)
{
	struct madvise_work w = { .mm = mm, .start = start, .len = len, .mergeable = mergeable };

	INIT_WORK_ONSTACK(&w.work, madvise_work);
	queue_work(system_dfl_wq, &w.work);
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
	return w.err;
}

int swapksm_first_mapped(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *first_start,
			 unsigned long *first_end)
{
	struct vm_area_struct *vma;
	int err = -ENOENT;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma = find_vma(mm, start);
	if (vma && max(start, vma->vm_start) < end) {
		*first_start = max(start, vma->vm_start);
		for (*first_end = *first_start; vma && vma->vm_start <= *first_end && *first_end < end;
		     vma = find_vma(mm, *first_end))
			*first_end = min(end, vma->vm_end);
		err = 0;
	}
	mmap_read_unlock(mm);
	return err;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Address spaces: mmu notifier subscription, chunk index, references and the kernel's per-mm merge state.
 */
#include <linux/delay.h>
#include <linux/ksm.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/wait.h>

#include "space.h"

/*
 * Does this event take a page away? The others change what may be done with it and leave it in its place
 * (mm/mprotect.c, fs/proc/task_mmu.c, copy_page_range() and page_mkclean in mm).
 */
static bool takes_pages(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return false;
	default:
		return true;
	}
}

static int invalidate_range_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	if (takes_pages(range))
		swapksm_invalidate_start(container_of(notifier, struct swapksm_space, notifier), range->start,
					 range->end, mmu_notifier_range_blockable(range));
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	if (takes_pages(range))
		swapksm_invalidate_end(container_of(notifier, struct swapksm_space, notifier), range->start,
				       range->end);
}

static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	swapksm_space_released(container_of(notifier, struct swapksm_space, notifier));
}

/* Subscriptions whose end has not been told yet. mmu_notifier_synchronize() does not wait for that. */
static atomic_t subscriptions;
static DECLARE_WAIT_QUEUE_HEAD(none_left);

static void free_notifier(struct mmu_notifier *notifier)
{
	swapksm_space_unsubscribed(container_of(notifier, struct swapksm_space, notifier));
	if (atomic_dec_and_test(&subscriptions))
		wake_up_all(&none_left);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
	.release = release,
	.free_notifier = free_notifier,
};

void swapksm_space_init(struct swapksm_space *space, struct mm_struct *mm)
{
	space->notifier.ops = &notifier_ops;
	space->mm = mm;
	xa_init(&space->chunks);
	mmgrab(mm);
}

void swapksm_space_fini(struct swapksm_space *space)
{
	xa_destroy(&space->chunks);
	mmdrop(space->mm);
}

/* mmap_write_lock() without waiting. */
static bool try_write_lock(struct mm_struct *mm)
{
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
	mm_lock_seqcount_begin(mm);
	return true;
}

/*
 * Readers of VMAs that were in when we came are waited for so long in all, which most page faults do not take. One that
 * waits for a file system under the lock (->page_mkwrite: a frozen disk, a daemon of FUSE) takes as long as somebody likes.
 */
#define READERS_LEAVE_US	2000
#define READERS_STEP_US		50

/*
 * vma_start_write() without waiting for ever (__vma_start_write() in mm/mmap_lock.c): the flag in the count keeps new readers
 * out, and when none but the mm itself counts, the sequence number does until the mmap lock is let go.
 */
static bool try_start_write(struct vm_area_struct *vma, unsigned int *patience_us)
{
#ifdef CONFIG_PER_VMA_LOCK
	bool alone;

	if (__is_vma_write_locked(vma))
		return true;
	if (!refcount_add_not_zero(VM_REFCNT_EXCLUDE_READERS_FLAG, &vma->vm_refcnt))
		return false;
	/* The flag is seen by readers who come, or they are seen here. */
	smp_mb__after_atomic();
	for (;;) {
		alone = refcount_read(&vma->vm_refcnt) == VM_REFCNT_EXCLUDE_READERS_FLAG + 1;
		if (alone || *patience_us < READERS_STEP_US)
			break;
		fsleep(READERS_STEP_US);
		*patience_us -= READERS_STEP_US;
	}
	if (alone) {
		/* After what readers have done. */
		smp_acquire__after_ctrl_dep();
		WRITE_ONCE(vma->vm_lock_seq, __vma_raw_mm_seqnum(vma));
	}
	WARN_ON_ONCE(refcount_sub_and_test(VM_REFCNT_EXCLUDE_READERS_FLAG, &vma->vm_refcnt));
	return alone;
#else
	return true;
#endif
}

/* All that mm_take_all_locks() would wait for without end: it does so with a mutex that all of the machine needs. */
static bool try_start_writes(struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	unsigned int patience_us = READERS_LEAVE_US;
	struct vm_area_struct *vma;

	for_each_vma(vmi, vma) {
		if (!try_start_write(vma, &patience_us))
			return false;
	}
	return true;
}

/* What mm_take_all_locks() takes first: static in mm/vma.c (mm/mmap.c before). */
extern struct mutex mm_all_locks_mutex;

int swapksm_space_subscribe(struct swapksm_space *space)
{
	int err = -EAGAIN;

	/*
	 * Another register (a KVM guest's start) may wait for a page fault with the mutex held, without end. Who takes it
	 * between our look and mm_take_all_locks(), which comes after a small allocation, is waited for all the same: nothing
	 * lets us try it (Documentation/security.md).
	 */
	if (mutex_is_locked(&mm_all_locks_mutex))
		return -EBUSY;
	if (!try_write_lock(space->mm))
		return err;
	/* Those that are locked when one is not are so until the mmap lock is let go. */
	if (try_start_writes(space->mm)) {
		err = -EBUSY;
		if (!mutex_is_locked(&mm_all_locks_mutex)) {
			atomic_inc(&subscriptions);
			err = __mmu_notifier_register(&space->notifier, space->mm);
			if (err)
				atomic_dec(&subscriptions);
		}
	}
	mmap_write_unlock(space->mm);
	return err;
}

void swapksm_space_unsubscribe(struct swapksm_space *space)
{
	mmu_notifier_put(&space->notifier);
}

void swapksm_space_unsubscribe_wait(void)
{
	wait_event(none_left, !atomic_read(&subscriptions));
	/* The last callback has counted. SRCU calls it with softirqs off (srcu_invoke_callbacks()), and RCU waits for that. */
	synchronize_rcu();
}

void *swapksm_space_find(struct swapksm_space *space, unsigned long *index, unsigned long last)
{
	/* Most invalidations lie in one chunk. */
	if (*index == last)
		return xa_load(&space->chunks, last);
	return xa_find(&space->chunks, index, last, XA_PRESENT);
}

int swapksm_space_insert(struct swapksm_space *space, unsigned long index, void *chunk)
{
	return xa_insert(&space->chunks, index, chunk, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
}

void swapksm_space_erase(struct swapksm_space *space, unsigned long index)
{
	xa_erase(&space->chunks, index);
}

bool swapksm_mm_get(struct mm_struct *mm)
{
	return mmget_not_zero(mm);
}

void swapksm_mm_put(struct mm_struct *mm)
{
	mmput_async(mm);
}

int swapksm_mm_read_lock_killable(struct mm_struct *mm)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	return mmap_read_lock_killable(mm);
}

#ifdef SWAPKSM_DEBUG
void swapksm_mm_read_lock_alone(struct mm_struct *mm)
{
	mmap_write_lock(mm);
	mmap_write_downgrade(mm);
}
#endif

bool swapksm_mm_read_trylock(struct mm_struct *mm)
{
	return mmap_read_trylock(mm);
}

void swapksm_mm_read_unlock(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
}

#ifdef SWAPKSM_DEBUG
struct mm_struct *swapksm_mm_of_pid(int number)
{
	struct pid *pid = find_get_pid(number);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	struct mm_struct *mm = NULL;

	if (task) {
		mm = get_task_mm(task);
		put_task_struct(task);
	}
	put_pid(pid);
	return mm;
}
#endif

bool swapksm_mm_has_no_users(struct mm_struct *mm)
{
	return atomic_read(&mm->mm_users) == 0;
}

static bool is_ending(const struct task_struct *process)
{
	return READ_ONCE(process->signal->flags) & SIGNAL_GROUP_EXIT;
}

bool swapksm_mm_has_process(struct mm_struct *mm)
{
	struct task_struct *process;
	bool found = false;

	if (mm_flags_test(MMF_OOM_SKIP, mm))
		return false;
	rcu_read_lock();
	/* exit_mm() hands the mm on to another task that runs in it, or sets NULL, before the task closes its files. */
	process = rcu_dereference(mm->owner);
	if (!process || !is_ending(process)) {
		found = process;
		goto unlock;
	}
	/* It comes to exit_mm() when it gets the mmap lock, which our caller may have. Others may share the mm (CLONE_VM). */
	for_each_process(process) {
		found = !(process->flags & PF_KTHREAD) && process_shares_mm(process, mm) && !is_ending(process);
		if (found)
			break;
	}
unlock:
	rcu_read_unlock();
	return found;
}

bool swapksm_mm_is_mergeable(struct mm_struct *mm)
{
	return mm_flags_test(MMF_VM_MERGEABLE, mm);
}

void swapksm_mm_set_mergeable(struct mm_struct *mm, bool on)
{
	if (on)
		mm_flags_set(MMF_VM_MERGEABLE, mm);
	else
		mm_flags_clear(MMF_VM_MERGEABLE, mm);
}

bool swapksm_mm_is_merge_any(struct mm_struct *mm)
{
	return mm_flags_test(MMF_VM_MERGE_ANY, mm);
}

void swapksm_mm_set_merge_any(struct mm_struct *mm, bool on)
{
	if (on)
		mm_flags_set(MMF_VM_MERGE_ANY, mm);
	else
		mm_flags_clear(MMF_VM_MERGE_ANY, mm);
}

void swapksm_mm_count_items(struct mm_struct *mm, long by)
{
	WRITE_ONCE(mm->ksm_rmap_items, mm->ksm_rmap_items + by);
}

void swapksm_mm_count_merging(struct mm_struct *mm, long by)
{
	WRITE_ONCE(mm->ksm_merging_pages, mm->ksm_merging_pages + by);
}

long swapksm_mm_merging(struct mm_struct *mm)
{
	return READ_ONCE(mm->ksm_merging_pages);
}

long swapksm_mm_items(struct mm_struct *mm)
{
	return READ_ONCE(mm->ksm_rmap_items);
}

long swapksm_mm_zero_pages(struct mm_struct *mm)
{
	return mm_ksm_zero_pages(mm);
}

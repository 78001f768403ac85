/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The entry points of samepage merging: every function through which the rest of the kernel reaches mm/ksm.c, as Rust
 * implements it, and the file that shows what became of it. shims/hooks.c puts a function with the kernel's own prototype
 * in front of each.
 *
 * While a livepatch transition runs, some tasks come here and others still run mm/ksm.c.
 */
#ifndef SWAPKSM_HOOKS_H
#define SWAPKSM_HOOKS_H

#include <linux/livepatch.h>
#include <linux/mm_types.h>
#include <linux/types.h>

struct file;
struct folio;
struct list_head;
struct mm_struct;
struct page;
struct rmap_walk_control;
struct seq_file;
struct task_struct;
struct vm_area_struct;

/*
 * Address spaces.
 */

/* madvise(MADV_MERGEABLE or MADV_UNMERGEABLE), and mremap() unmerging. mmap lock held for writing. May sleep. */
int swapksm_ksm_madvise(struct vm_area_struct *vma, unsigned long start, unsigned long end, int advice,
			vm_flags_t *vm_flags);

/* The flags a new mapping of @mm shall have, given those it would have. mmap lock held for writing. May sleep. */
vm_flags_t swapksm_ksm_vma_flags(struct mm_struct *mm, const struct file *file, vm_flags_t vm_flags);

/* prctl(PR_SET_MEMORY_MERGE, 1 and 0). mmap lock held for writing. May sleep. */
int swapksm_ksm_enable_merge_any(struct mm_struct *mm);
int swapksm_ksm_disable_merge_any(struct mm_struct *mm);

/* Unmerge all of @mm for good (s390's KVM). mmap lock held for writing. May sleep. */
int swapksm_ksm_disable(struct mm_struct *mm);

/* @mm gets its first mergeable mapping: by fork, exec or the calls above. mmap lock held for writing. May sleep. */
int swapksm_ksm_enter(struct mm_struct *mm);

/* The last user of @mm is gone, its mappings are still there. No lock held. May sleep. */
void swapksm_ksm_exit(struct mm_struct *mm);

/*
 * Folios.
 */

/*
 * @folio was read from swap for @addr in @vma: the folio to map there. NULL is out of memory (or not now), ERR_PTR(-EHWPOISON) a
 * poisoned page. A copy comes back locked and referenced; @folio stays the caller's. @folio is locked, and the mmap
 * lock or the VMA's lock is held for reading. May sleep.
 */
struct folio *swapksm_ksm_might_need_to_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr);

/* Visit every mapping of @folio. @folio is locked. With @rwc->try_lock a busy lock ends the walk. May sleep. */
void swapksm_rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *rwc);

/* Add every process that maps the poisoned @page to @to_kill. @folio is locked. May sleep. */
void swapksm_collect_procs_ksm(const struct folio *folio, const struct page *page, struct list_head *to_kill,
			       int force_early);

/* @newfolio takes the place of @folio. Both are locked. Cannot fail. */
void swapksm_folio_migrate_ksm(struct folio *newfolio, struct folio *folio);

/*
 * /proc/PID/ksm_stat. The reader holds a reference to @mm's users.
 */

/* Bytes saved less bytes of metadata. */
long swapksm_ksm_process_profit(struct mm_struct *mm);

/* Is any mapping of @mm mergeable? mmap lock held for reading. */
bool swapksm_ksm_process_mergeable(struct mm_struct *mm);

/*
 * Write the file's text for @task into @file: nothing if it has no mm. procfs has asked for the rights, and keeps the
 * task. 0, or -EINTR when the reader is killed. May sleep.
 */
int swapksm_proc_pid_ksm_stat(struct seq_file *file, struct task_struct *task);

/* Which kernel function goes to which of ours, in the form struct klp_object wants. */
#ifndef __BINDGEN__
extern struct klp_func swapksm_klp_funcs[];
#endif

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * Functions with the kernel's own prototypes, one per entry point of mm/ksm.c, each handing over to Rust.
 */
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/ksm.h>
#include <linux/livepatch.h>

/* The header asserts that procfs keeps it; a module may read the types. */
#undef MODULE
#include "fs/proc/internal.h"
#define MODULE

#include "compat.h"
#include "hooks.h"

static int hook_ksm_madvise(struct vm_area_struct *vma, unsigned long start, unsigned long end, int advice,
			    vm_flags_t *vm_flags)
{
	return swapksm_ksm_madvise(vma, start, end, advice, vm_flags);
}

static vma_flags_t hook_ksm_vma_flags(struct mm_struct *mm, const struct file *file, vma_flags_t vma_flags)
{
	vma_flags_overwrite_word(&vma_flags, swapksm_ksm_vma_flags(mm, file, vma_flags_to_legacy(vma_flags)));
	return vma_flags;
}

static int hook_ksm_enable_merge_any(struct mm_struct *mm)
{
	return swapksm_ksm_enable_merge_any(mm);
}

static int hook_ksm_disable_merge_any(struct mm_struct *mm)
{
	return swapksm_ksm_disable_merge_any(mm);
}

static int hook_ksm_disable(struct mm_struct *mm)
{
	return swapksm_ksm_disable(mm);
}

static int hook___ksm_enter(struct mm_struct *mm)
{
	return swapksm_ksm_enter(mm);
}

static void hook___ksm_exit(struct mm_struct *mm)
{
	swapksm_ksm_exit(mm);
}

static struct folio *hook_ksm_might_need_to_copy(struct folio *folio, struct vm_area_struct *vma, unsigned long addr)
{
	return swapksm_ksm_might_need_to_copy(folio, vma, addr);
}

static void hook_rmap_walk_ksm(struct folio *folio, struct rmap_walk_control *rwc)
{
	swapksm_rmap_walk_ksm(folio, rwc);
}

static void hook_collect_procs_ksm(const struct folio *folio, const struct page *page, struct list_head *to_kill,
				   int force_early)
{
	swapksm_collect_procs_ksm(folio, page, to_kill, force_early);
}

static void hook_folio_migrate_ksm(struct folio *newfolio, struct folio *folio)
{
	swapksm_folio_migrate_ksm(newfolio, folio);
}

static long hook_ksm_process_profit(struct mm_struct *mm)
{
	return swapksm_ksm_process_profit(mm);
}

static bool hook_ksm_process_mergeable(struct mm_struct *mm)
{
	return swapksm_ksm_process_mergeable(mm);
}

static int hook_proc_pid_ksm_stat(struct seq_file *file, struct pid_namespace *ns, struct pid *pid,
				  struct task_struct *task)
{
	return swapksm_proc_pid_ksm_stat(file, task);
}

/* A kernel that changes one of these prototypes stops the build here instead of corrupting its arguments. */
#define HOOKS(hook)			\
	hook(ksm_madvise)		\
	hook(ksm_vma_flags)		\
	hook(ksm_enable_merge_any)	\
	hook(ksm_disable_merge_any)	\
	hook(ksm_disable)		\
	hook(__ksm_enter)		\
	hook(__ksm_exit)		\
	hook(ksm_might_need_to_copy)	\
	hook(rmap_walk_ksm)		\
	hook(collect_procs_ksm)		\
	hook(folio_migrate_ksm)		\
	hook(ksm_process_profit)	\
	hook(ksm_process_mergeable)

#define ASSERT_PROTOTYPE(name) \
	static_assert(__same_type(name, hook_##name), "swapksm: this kernel declares " #name "() differently");
#define KLP_FUNC(name) { .old_name = #name, .new_func = hook_##name },

HOOKS(ASSERT_PROTOTYPE)

/* proc_pid_ksm_stat() is static in fs/proc/base.c. Its prototype is that of all its kind. */
static_assert(__same_type(((union proc_op *)NULL)->proc_show, &hook_proc_pid_ksm_stat),
	      "swapksm: this kernel shows files of /proc/PID by functions of another kind");

struct klp_func swapksm_klp_funcs[] = { HOOKS(KLP_FUNC) KLP_FUNC(proc_pid_ksm_stat) {} };

// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does on purpose what the VM runner must notice: insmod misbehave.ko how=WHAT.
 * Where a kernel lacks the means to notice (KASAN, lockdep, kmemleak, KCSAN), doing it proves nothing.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pgtable.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

static char *how = "";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "what to do: a name of the table below");

/* misbehave_rust.rs */
void rust_out_of_bounds(void);
void rust_use_after_free(void);
void rust_sleep_in_atomic(void);
void rust_overflow(void);
void rust_assertion(void);
void rust_count(void);

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(other);

static noinline int spin_forever(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
	return 0;
}

/* Every CPU spins with interrupts off: only an NMI gets through. */
static void deaf(void)
{
	const int here = raw_smp_processor_id();
	struct task_struct *task;
	int cpu;

	/* Making a thread sleeps, and might wake up on a CPU that was passed over already. */
	set_cpus_allowed_ptr(current, cpumask_of(here));
	for_each_online_cpu(cpu) {
		if (cpu == here)
			continue;
		task = kthread_create(spin_forever, NULL, "misbehave/%d", cpu);
		if (IS_ERR(task))
			return;
		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	msleep(100);
	spin_forever(NULL);
}

static void stuck(void)
{
	DECLARE_COMPLETION_ONSTACK(never);

	wait_for_completion(&never);
}

static void out_of_bounds(void)
{
	char *bytes = kmalloc(13, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(bytes);
	if (bytes)
		bytes[13] = 1;
	kfree(bytes);
}

static void abba(void)
{
	mutex_lock(&one);
	mutex_lock(&other);
	mutex_unlock(&other);
	mutex_unlock(&one);
	mutex_lock(&other);
	mutex_lock(&one);
	mutex_unlock(&one);
	mutex_unlock(&other);
}

/* Many, because a stale pointer somewhere may hide one of them. */
static void leak(void)
{
	void *lost;
	int i;

	for (i = 0; i < 64; i++) {
		lost = kmalloc(100, GFP_KERNEL);
		OPTIMIZER_HIDE_VAR(lost);
	}
}

static int counter;

static noinline void count(void)
{
	for (int i = 0; i < 1000; i++)
		counter++;
}

struct counting {
	void (*count)(void);
};

static int count_on(void *data)
{
	const struct counting *counting = data;

	while (!kthread_should_stop()) {
		counting->count();
		cond_resched();
	}
	return 0;
}

/* Two threads count with the same number, and nothing between them. */
static void race_by(void (*count)(void))
{
	struct counting counting = { count };
	struct task_struct *threads[2];
	int i;

	for (i = 0; i < 2; i++)
		threads[i] = kthread_run(count_on, &counting, "misbehave");
	msleep(10000);
	for (i = 0; i < 2; i++)
		if (!IS_ERR(threads[i]))
			kthread_stop(threads[i]);
}

static void race(void)
{
	race_by(count);
}

static void rust_race(void)
{
	race_by(rust_count);
}

static void warn(void)
{
	WARN(1, "misbehave: on purpose\n");
}

static void bug(void)
{
	BUG();
}

/* As a program does whose mapping outlived its page: KASAN sees nothing of it. */
static noinline __no_sanitize_address void write_unseen(char *at)
{
	WRITE_ONCE(*at, 0x55);
}

static void poisoned_page(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct page *pages[64] = {};
	size_t i;

	if (!page)
		return;
	__free_page(page);
	write_unseen((char *)page_address(page) + 100);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_page(GFP_KERNEL);
	for (i = 0; i < ARRAY_SIZE(pages); i++)
		if (pages[i])
			__free_page(pages[i]);
}

/* A page that one may write to already gets a second such entry, though it stands in no page table. */
static void mapped_twice(void)
{
	const unsigned long at = vm_mmap(NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	struct page *page;
	pte_t entry = {};

	if (IS_ERR_VALUE(at) || put_user(1, (char __user *)at) || get_user_pages_fast(at, 1, FOLL_WRITE, &page) != 1)
		return;
	set_pte_at(current->mm, at, &entry, mk_pte(page, PAGE_SHARED));
	put_page(page);
}

static void listed_twice(void)
{
	LIST_HEAD(list);
	LIST_HEAD(entry);

	list_add(&entry, &list);
	list_add(&entry, &list);
}

static void vm_bug(void)
{
	VM_BUG_ON(true);
}

static const struct {
	const char *how;
	void (*what)(void);
} mistakes[] = {
	{ "warn", warn },
	{ "bug", bug },
	{ "deaf", deaf },
	{ "stuck", stuck },
	{ "out-of-bounds", out_of_bounds },
	{ "abba", abba },
	{ "leak", leak },
	{ "race", race },
	{ "poisoned-page", poisoned_page },
	{ "mapped-twice", mapped_twice },
	{ "listed-twice", listed_twice },
	{ "vm-bug", vm_bug },
	{ "rust-out-of-bounds", rust_out_of_bounds },
	{ "rust-use-after-free", rust_use_after_free },
	{ "rust-sleep-in-atomic", rust_sleep_in_atomic },
	{ "rust-overflow", rust_overflow },
	{ "rust-assertion", rust_assertion },
	{ "rust-race", rust_race },
};

static int __init misbehave_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		if (!strcmp(how, mistakes[i].how)) {
			mistakes[i].what();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit misbehave_exit(void)
{
}

module_init(misbehave_init);
module_exit(misbehave_exit);
MODULE_DESCRIPTION("Does on purpose what the VM runner must notice");
MODULE_LICENSE("GPL");

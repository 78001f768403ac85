// SPDX-License-Identifier: GPL-2.0
/*
 * A module that does on purpose what the VM runner must notice: insmod misbehave.ko how=WHAT.
 * Where a kernel lacks the means to notice (KASAN, lockdep, kmemleak, KCSAN), doing it proves nothing.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

static char *how = "";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "warn, bug, deaf, stuck, out-of-bounds, abba, leak or race");

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

static int count(void *unused)
{
	while (!kthread_should_stop()) {
		for (int i = 0; i < 1000; i++)
			counter++;
		cond_resched();
	}
	return 0;
}

/* Two threads count with the same number, and nothing between them. */
static void race(void)
{
	struct task_struct *threads[2];
	int i;

	for (i = 0; i < 2; i++)
		threads[i] = kthread_run(count, NULL, "misbehave");
	msleep(10000);
	for (i = 0; i < 2; i++)
		if (!IS_ERR(threads[i]))
			kthread_stop(threads[i]);
}

static int __init misbehave_init(void)
{
	if (!strcmp(how, "warn"))
		WARN(1, "misbehave: on purpose\n");
	else if (!strcmp(how, "bug"))
		BUG();
	else if (!strcmp(how, "deaf"))
		deaf();
	else if (!strcmp(how, "stuck"))
		stuck();
	else if (!strcmp(how, "out-of-bounds"))
		out_of_bounds();
	else if (!strcmp(how, "abba"))
		abba();
	else if (!strcmp(how, "leak"))
		leak();
	else if (!strcmp(how, "race"))
		race();
	else
		return -EINVAL;
	return 0;
}

static void __exit misbehave_exit(void)
{
}

module_init(misbehave_init);
module_exit(misbehave_exit);
MODULE_DESCRIPTION("Does on purpose what the VM runner must notice");
MODULE_LICENSE("GPL");

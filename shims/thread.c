// SPDX-License-Identifier: GPL-2.0
/*
 * The module's kernel threads.
 */
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>

#include "thread.h"

static int scan_main(void *unused)
{
	set_freezable();
	set_user_nice(current, 5);	/* as mm/ksm.c's thread */
	swapksm_scan_main();
	return 0;
}

static int reap_main(void *unused)
{
	set_freezable();
	swapksm_reap_main();
	return 0;
}

struct task_struct *swapksm_thread_start(enum swapksm_thread which)
{
	if (which == SWAPKSM_THREAD_SCAN)
		return kthread_run(scan_main, NULL, "swapksmd");
	return kthread_run(reap_main, NULL, "swapksmd_reap");
}

void swapksm_thread_stop(struct task_struct *thread)
{
	kthread_stop(thread);
}

bool swapksm_thread_should_stop(void)
{
	return kthread_should_stop();
}

bool swapksm_thread_freezing(void)
{
	return freezing(current);
}

void swapksm_try_to_freeze(void)
{
	try_to_freeze();
}

u64 swapksm_thread_cpu_ns(void)
{
	return task_sched_runtime(current);
}

u64 swapksm_now_ns(void)
{
	return ktime_get_ns();
}

void swapksm_cond_resched(void)
{
	cond_resched();
}

void swapksm_first_victim_begin(void)
{
	set_current_oom_origin();
}

void swapksm_first_victim_end(void)
{
	clear_current_oom_origin();
}

const void *swapksm_current(void)
{
	return current;
}

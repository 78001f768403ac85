// SPDX-License-Identifier: GPL-2.0
/*
 * The module's kernel threads.
 */
#include <linux/completion.h>
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/workqueue.h>

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

struct worker_call {
	struct work_struct work;
	void (*call)(void *data);
	void *data;
	struct completion done;
};

static void run_in_worker(struct work_struct *work)
{
	struct worker_call *w = container_of(work, struct worker_call, work);

	w->call(w->data);
	complete(&w->done);
}

void swapksm_run_in_worker(void (*work)(void *data), void *data)
{
	struct worker_call w = { .call = work, .data = data };

	init_completion(&w.done);
	INIT_WORK_ONSTACK(&w.work, run_in_worker);
	queue_work(system_dfl_wq, &w.work);
	/* Waiting in flush_work() would be told of as a hung task. */
	wait_for_completion_state(&w.done, TASK_IDLE);
	/* The worker may still be in run_in_worker(), which the module's text and our stack are to outlive. */
	flush_work(&w.work);
	destroy_work_on_stack(&w.work);
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

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's kernel threads.
 */
#ifndef SWAPKSM_THREAD_H
#define SWAPKSM_THREAD_H

#include <linux/types.h>

struct task_struct;

enum swapksm_thread {
	SWAPKSM_THREAD_SCAN,	/* swapksmd */
	SWAPKSM_THREAD_REAP,	/* swapksmd_reap */
};

/* Start it; ERR_PTR on failure. swapksm_thread_stop() waits until its main function has returned. May sleep. */
struct task_struct *swapksm_thread_start(enum swapksm_thread which);
void swapksm_thread_stop(struct task_struct *thread);

/* To be asked by the threads themselves: shall this one return, is it being frozen? */
bool swapksm_thread_should_stop(void);
bool swapksm_thread_freezing(void);

/* Stand still if asked to. May sleep. */
void swapksm_try_to_freeze(void);

/* CPU time the calling thread has used, in nanoseconds. */
u64 swapksm_thread_cpu_ns(void);

/* Time since boot, in nanoseconds. */
u64 swapksm_now_ns(void);

/* Let others run when they want to. May sleep. */
void swapksm_cond_resched(void);

/*
 * Have the OOM killer take the calling task first: what it is about to use up is its own doing (linux/oom.h; mm/ksm.c does
 * so while unmerging). To be ended by the same task.
 */
void swapksm_first_victim_begin(void);
void swapksm_first_victim_end(void);

/*
 * Have a kernel worker call @work with @data, where no signal interrupts it, and wait until it has returned. However long it
 * takes, it is no hung task. Lock order: what @work takes comes after what the caller holds. May sleep.
 */
void swapksm_run_in_worker(void (*work)(void *data), void *data);

/* The calling task, for comparing only. */
const void *swapksm_current(void);

/* In Rust: what the threads do until they are told to stop. */
void swapksm_scan_main(void);
void swapksm_reap_main(void);

#endif

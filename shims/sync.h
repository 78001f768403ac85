/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The locks and events of the engine. The order in which locks are taken is written down in kmod/engine/locks.rs.
 */
#ifndef SWAPKSM_SYNC_H
#define SWAPKSM_SYNC_H

#include <linux/atomic.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/wait.h>

/* One lockdep class per kind of lock. */
enum swapksm_lock_class {
	SWAPKSM_LOCK_SPACES,
	SWAPKSM_LOCK_SPACE,
	SWAPKSM_LOCK_CHUNK,
	SWAPKSM_LOCK_NODE,
	SWAPKSM_LOCK_ENTRIES,
	SWAPKSM_LOCK_DIRTY,
	SWAPKSM_LOCK_CLASSES,
};

/* A spinlock that may be taken in any context the kernel's mm calls us in (never in interrupts). */
void swapksm_spin_init(spinlock_t *lock, enum swapksm_lock_class kind);
void swapksm_spin_lock(spinlock_t *lock);
void swapksm_spin_unlock(spinlock_t *lock);

/* The engine's one mutex. May sleep. Not taken by anything the kernel's mm calls. */
void swapksm_engine_lock(void);
void swapksm_engine_unlock(void);

/* Read side of RCU. */
void swapksm_rcu_read_lock(void);
void swapksm_rcu_read_unlock(void);

/* A count of happenings that can be waited for. */
struct swapksm_event {
	wait_queue_head_t queue;
	atomic_t count;
};

void swapksm_event_init(struct swapksm_event *event);

/* What to hand to the waits below, read before looking at the condition that the event stands for. */
int swapksm_event_read(struct swapksm_event *event);

/* Count one more and wake all waiters. Any context. */
void swapksm_event_signal(struct swapksm_event *event);

/*
 * Sleep in a kernel thread until the count differs from @seen, @timeout_us has passed (0: no limit) or the thread shall
 * stop. Freezable.
 */
void swapksm_event_wait(struct swapksm_event *event, int seen, u64 timeout_us);

/* Any task: sleep until signalled after @seen, for a jiffy at most. */
void swapksm_event_wait_jiffy(struct swapksm_event *event, int seen);

/* The same for a task entering from user space: -ERESTARTSYS when a signal came first. */
int swapksm_event_wait_user(struct swapksm_event *event, int seen);

#endif

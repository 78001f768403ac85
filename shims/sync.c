// SPDX-License-Identifier: GPL-2.0
/*
 * The locks and events of the engine.
 */
#include <linux/freezer.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

#include "sync.h"

static struct lock_class_key spin_keys[SWAPKSM_LOCK_CLASSES];
static const char *const spin_names[SWAPKSM_LOCK_CLASSES] = {
	[SWAPKSM_LOCK_SPACES] = "swapksm_spaces",
	[SWAPKSM_LOCK_SPACE] = "swapksm_space",
	[SWAPKSM_LOCK_CHUNK] = "swapksm_chunk",
	[SWAPKSM_LOCK_NODE] = "swapksm_node",
	[SWAPKSM_LOCK_ENTRIES] = "swapksm_entries",
	[SWAPKSM_LOCK_DIRTY] = "swapksm_dirty",
};
static DEFINE_MUTEX(engine_mutex);

void swapksm_spin_init(spinlock_t *lock, enum swapksm_lock_class kind)
{
	spin_lock_init(lock);
	lockdep_set_class_and_name(lock, &spin_keys[kind], spin_names[kind]);
}

void swapksm_spin_lock(spinlock_t *lock)
{
	spin_lock(lock);
}

void swapksm_spin_unlock(spinlock_t *lock)
{
	spin_unlock(lock);
}

void swapksm_engine_lock(void)
{
	mutex_lock(&engine_mutex);
}

void swapksm_engine_unlock(void)
{
	mutex_unlock(&engine_mutex);
}

void swapksm_rcu_read_lock(void)
{
	rcu_read_lock();
}

void swapksm_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

void swapksm_event_init(struct swapksm_event *event)
{
	init_waitqueue_head(&event->queue);
	atomic_set(&event->count, 0);
}

int swapksm_event_read(struct swapksm_event *event)
{
	return atomic_read_acquire(&event->count);
}

void swapksm_event_signal(struct swapksm_event *event)
{
	atomic_inc_return(&event->count);
	if (wq_has_sleeper(&event->queue))
		wake_up_all(&event->queue);
}

static bool event_happened(struct swapksm_event *event, int seen)
{
	return atomic_read(&event->count) != seen || kthread_should_stop();
}

void swapksm_event_wait(struct swapksm_event *event, int seen, u64 timeout_us)
{
	const unsigned long jiffy_us = USEC_PER_SEC / HZ;
	long timeout = MAX_SCHEDULE_TIMEOUT;

	if (timeout_us)
		timeout = min_t(u64, nsecs_to_jiffies64(min_t(u64, timeout_us, U64_MAX / NSEC_PER_USEC) * NSEC_PER_USEC),
				MAX_SCHEDULE_TIMEOUT - 1);
	/* Only short sleeps need a timer of their own; others may as well end at a tick. */
	if (timeout_us && timeout_us < 4 * jiffy_us)
		__wait_event_hrtimeout(event->queue, event_happened(event, seen), us_to_ktime(timeout_us),
				       (TASK_INTERRUPTIBLE | TASK_FREEZABLE));
	else
		wait_event_freezable_timeout(event->queue, event_happened(event, seen), timeout);
}

void swapksm_event_wait_jiffy(struct swapksm_event *event, int seen)
{
	wait_event_timeout(event->queue, atomic_read(&event->count) != seen, 1);
}

int swapksm_event_wait_user(struct swapksm_event *event, int seen)
{
	return wait_event_interruptible(event->queue, atomic_read(&event->count) != seen);
}

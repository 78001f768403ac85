/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The engine's own memory. Every allocation may fail, none but that of a space tries hard, all are zeroed.
 */
#ifndef SWAPKSM_MEMORY_H
#define SWAPKSM_MEMORY_H

#include <linux/rcupdate.h>
#include <linux/types.h>

struct mm_struct;

/* At the end of a chunk: what freeing it later needs. */
struct swapksm_chunk_tail {
	struct rcu_head rcu;
	size_t offset;		/* of this in the chunk */
	void *items;
	size_t bytes;
};

enum swapksm_object {
	SWAPKSM_OBJECT_SPACE,
	SWAPKSM_OBJECT_CHUNK,
	SWAPKSM_OBJECT_NODE,
	SWAPKSM_OBJECT_SHARER,
	SWAPKSM_OBJECTS,
};

/* Make the slab caches for objects of these sizes (SWAPKSM_OBJECTS of them). -ENOMEM. May sleep. */
int swapksm_memory_init(const size_t *sizes);
/* All objects must have been freed; waits for those freed by RCU. May sleep. */
void swapksm_memory_fini(void);

/*
 * Zeroed memory or NULL; charged to the cgroup of @mm, to nobody's if that is NULL. May sleep and reclaim, so no lock that
 * reclaim's callbacks take may be held.
 */
void *swapksm_object_alloc(enum swapksm_object kind, struct mm_struct *mm);
/*
 * A SWAPKSM_OBJECT_SPACE. Without one a process is never merged, and nobody asks again: so this tries as hard as mm/ksm.c
 * would. Charged to the caller's cgroup: who asks to be merged, or forks (the child's own cgroup is not set yet then). For
 * an mm that is taken over, @adopted, to the cgroup of that if it has room, else to nobody. NULL: out of memory. May sleep
 * and reclaim.
 */
void *swapksm_space_alloc(struct mm_struct *adopted);
/* Any context. */
void swapksm_object_free(enum swapksm_object kind, void *object);

/*
 * Is a page to be had now, at the expense of the cgroup of @mm, without reclaim? False also where that cannot be told. A
 * hint: who asks for it next may still find that somebody else has taken it. Does not sleep.
 */
bool swapksm_has_spare_page(struct mm_struct *mm);

/*
 * The items of a chunk: whole pages of their own, so that none of their bytes is lost to rounding. @owner can be found
 * again from the address of the block. Charged to the cgroup of @mm. NULL: out of memory. May sleep.
 */
void *swapksm_items_alloc(size_t bytes, void *owner, struct mm_struct *mm);
void *swapksm_items_owner(const void *items);

/* Free a chunk and its items when no RCU reader can see them any more. The tail is filled in. Any context. */
void swapksm_chunk_free_rcu(struct swapksm_chunk_tail *tail);

/* Pages of memory the machine has. */
unsigned long swapksm_total_pages(void);

#endif

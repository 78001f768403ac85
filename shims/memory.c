// SPDX-License-Identifier: GPL-2.0
/*
 * The engine's own memory.
 */
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "memory.h"

static const char *const names[SWAPKSM_OBJECTS] = {
	[SWAPKSM_OBJECT_SPACE] = "swapksm_space",
	[SWAPKSM_OBJECT_CHUNK] = "swapksm_chunk",
	[SWAPKSM_OBJECT_NODE] = "swapksm_node",
	[SWAPKSM_OBJECT_SHARER] = "swapksm_sharer",
};
static struct kmem_cache *caches[SWAPKSM_OBJECTS];

/* Give up rather than squeeze the machine: merging is there to save memory. */
#define GFP_MODEST (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

int swapksm_memory_init(const size_t *sizes)
{
	for (int i = 0; i < SWAPKSM_OBJECTS; i++) {
		caches[i] = kmem_cache_create(names[i], sizes[i], 0, SLAB_NO_MERGE, NULL);
		if (!caches[i]) {
			swapksm_memory_fini();
			return -ENOMEM;
		}
	}
	return 0;
}

unsigned long swapksm_total_pages(void)
{
	return totalram_pages();
}

void swapksm_memory_fini(void)
{
	rcu_barrier();
	for (int i = 0; i < SWAPKSM_OBJECTS; i++) {
		kmem_cache_destroy(caches[i]);
		caches[i] = NULL;
	}
}

/*
 * What is allocated with __GFP_ACCOUNT until the end is charged to the cgroup of @mm: what we keep for a process is its
 * own, and one that touches a page here and there must not take memory past its limit.
 */
static struct mem_cgroup *charge_begin(struct mm_struct *mm)
{
	struct mem_cgroup *before = current->active_memcg;

	current->active_memcg = get_mem_cgroup_from_mm(mm);
	return before;
}

static void charge_end(struct mem_cgroup *before)
{
	struct mem_cgroup *memcg = current->active_memcg;

	current->active_memcg = before;
	mem_cgroup_put(memcg);
}

/* Between charge_begin() and charge_end(): may the cgroup have a limit? The root has none. */
static bool may_be_limited(void)
{
	return !mem_cgroup_disabled() && !mem_cgroup_is_root(current->active_memcg);
}

/*
 * Between charge_begin() and charge_end(): has the cgroup room for so many bytes? At its limit a charge squeezes the cgroup
 * for seconds, with the engine held, for one process's sake while all others wait to be merged.
 */
static bool has_room(size_t bytes)
{
	struct obj_cgroup *objcg;

	if (!may_be_limited())
		return true;
	objcg = current_obj_cgroup();
	if (!objcg)
		return true;
	if (obj_cgroup_charge(objcg, GFP_NOWAIT | __GFP_NOWARN, bytes))
		return false;
	obj_cgroup_uncharge(objcg, bytes);
	return true;
}

void *swapksm_object_alloc(enum swapksm_object kind, struct mm_struct *mm)
{
	struct mem_cgroup *before;
	void *object = NULL;

	if (!mm)
		return kmem_cache_zalloc(caches[kind], GFP_MODEST);
	before = charge_begin(mm);
	if (has_room(kmem_cache_size(caches[kind])))
		object = kmem_cache_zalloc(caches[kind], GFP_MODEST | __GFP_ACCOUNT);
	charge_end(before);
	return object;
}

void *swapksm_space_alloc(struct mm_struct *adopted)
{
	struct kmem_cache *cache = caches[SWAPKSM_OBJECT_SPACE];
	void *space;

	if (!adopted)
		return kmem_cache_zalloc(cache, GFP_KERNEL | __GFP_ACCOUNT);
	/* A full group is not squeezed, and nobody in it killed, because somebody loads a module. */
	space = swapksm_object_alloc(SWAPKSM_OBJECT_SPACE, adopted);
	return space ?: kmem_cache_zalloc(cache, GFP_KERNEL);
}

bool swapksm_has_spare_page(struct mm_struct *mm)
{
	struct mem_cgroup *before = charge_begin(mm);
	struct page *page = NULL;

	/* With cgroup.memory=nokmem what we ask for is charged to nobody, and so tells nothing of a group that has a limit. */
	if (!may_be_limited() || !mem_cgroup_kmem_disabled())
		/* What is left from charging objects (has_room() may find that) pays for no page. */
		page = alloc_page(GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
	charge_end(before);
	if (!page)
		return false;
	/* Its charge goes to this CPU's stock, from which the next one is taken. */
	__free_page(page);
	return true;
}

void swapksm_object_free(enum swapksm_object kind, void *object)
{
	kmem_cache_free(caches[kind], object);
}

static struct page *items_page(const void *items)
{
	return is_vmalloc_addr(items) ? vmalloc_to_page(items) : virt_to_page(items);
}

void *swapksm_items_alloc(size_t bytes, void *owner, struct mm_struct *mm)
{
	const gfp_t gfp = GFP_MODEST | __GFP_ZERO | __GFP_ACCOUNT;
	struct mem_cgroup *before = charge_begin(mm);
	void *items = NULL;

	if (has_room(bytes)) {
		items = alloc_pages_exact(bytes, gfp & ~__GFP_DIRECT_RECLAIM);
		if (!items)
			items = __vmalloc(bytes, gfp);
	}
	charge_end(before);
	if (items)
		set_page_private(items_page(items), (unsigned long)owner);
	return items;
}

void *swapksm_items_owner(const void *items)
{
	return (void *)page_private(items_page(items));
}

static void free_chunk(struct rcu_head *head)
{
	struct swapksm_chunk_tail *tail = container_of(head, struct swapksm_chunk_tail, rcu);

	set_page_private(items_page(tail->items), 0);
	if (is_vmalloc_addr(tail->items))
		vfree(tail->items);
	else
		free_pages_exact(tail->items, tail->bytes);
	kmem_cache_free(caches[SWAPKSM_OBJECT_CHUNK], (void *)tail - tail->offset);
}

void swapksm_chunk_free_rcu(struct swapksm_chunk_tail *tail)
{
	call_rcu(&tail->rcu, free_chunk);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own samepage merging (mm/ksm.c) while it stands still.
 *
 * The variables below are static there. klp-link binds them by name and by their place in mm/ksm.c, since two of the
 * names exist in mm/khugepaged.c too.
 */
#include <linux/hashtable.h>
#include <linux/ksm.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/sched/mm.h>

#include "mm/mm_slot.h"
#include "intree.h"

/* struct ksm_mm_slot */
struct intree_slot {
	struct mm_slot slot;
	void *items;
};

/* struct ksm_scan: its first field is all that is read. */
struct intree_scan {
	struct intree_slot *slot;
};

/* Of the bits of ksm_run: memory is going offline. */
#define KSM_RUN_OFFLINE 4

extern unsigned long ksm_run, ksm_pages_shared, ksm_rmap_items;
extern struct rb_root *root_stable_tree;
extern int ksm_nr_node_ids;
extern struct list_head migrate_nodes;
extern struct mutex ksm_thread_mutex;
extern spinlock_t ksm_mmlist_lock;
extern struct intree_slot ksm_mm_head;
extern struct intree_scan ksm_scan;
extern struct hlist_head mm_slots_hash[1 << 10];	/* MM_SLOTS_HASH_BITS */
extern struct kmem_cache *mm_slot_cache;
extern int __ksm_enter(struct mm_struct *mm);

/*
 * A node outlives its items while a folio that carries its key is mapped (remove_stable_node() leaves it then): by a
 * process that is just exiting, or through a swap entry that run 2 did not look at. We would take its node for ours.
 */
static bool has_nodes(void)
{
	int nid;

	for (nid = 0; nid < ksm_nr_node_ids; nid++)
		if (!RB_EMPTY_ROOT(root_stable_tree + nid))
			return true;
	return !list_empty(&migrate_nodes);
}

int swapksm_intree_check(void)
{
	int err = 0;

	mutex_lock(&ksm_thread_mutex);
	if (ksm_run & 1)
		err = -EAGAIN;
	else if (ksm_pages_shared || ksm_rmap_items)
		err = -EBUSY;
	else if (has_nodes())
		err = -EEXIST;
	mutex_unlock(&ksm_thread_mutex);
	return err;
}

void swapksm_intree_stop(void)
{
	mutex_lock(&ksm_thread_mutex);
	ksm_run &= KSM_RUN_OFFLINE;
	mutex_unlock(&ksm_thread_mutex);
}

static void unlink_slot(struct intree_slot *slot)
{
	/* Its cursor must not stay on what goes away; at rest it may stand anywhere. */
	if (ksm_scan.slot == slot)
		ksm_scan.slot = &ksm_mm_head;
	hash_del(&slot->slot.hash);
	list_del(&slot->slot.mm_node);
}

struct mm_struct *swapksm_intree_take(void)
{
	struct intree_slot *slot = NULL;
	struct mm_struct *mm = NULL;

	mutex_lock(&ksm_thread_mutex);
	spin_lock(&ksm_mmlist_lock);
	if (!list_empty(&ksm_mm_head.slot.mm_node)) {
		slot = list_first_entry(&ksm_mm_head.slot.mm_node, struct intree_slot, slot.mm_node);
		unlink_slot(slot);
		mm = slot->slot.mm;
	}
	spin_unlock(&ksm_mmlist_lock);
	mutex_unlock(&ksm_thread_mutex);
	if (slot)
		kmem_cache_free(mm_slot_cache, slot);
	return mm;
}

void swapksm_intree_forget(struct mm_struct *mm)
{
	struct intree_slot *slot = NULL;
	struct mm_slot *found;

	spin_lock(&ksm_mmlist_lock);
	found = mm_slot_lookup(mm_slots_hash, mm);
	if (found) {
		slot = container_of(found, struct intree_slot, slot);
		if (slot->items)
			slot = NULL;	/* cannot be while it is empty; its own thread would free them */
		else
			unlink_slot(slot);
	}
	spin_unlock(&ksm_mmlist_lock);
	if (slot) {
		kmem_cache_free(mm_slot_cache, slot);
		mmdrop(mm);
	}
}

int swapksm_intree_give(struct mm_struct *mm)
{
	return __ksm_enter(mm);
}

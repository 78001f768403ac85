// SPDX-License-Identifier: GPL-2.0
/*
 * Memory going offline.
 */
#include <linux/memory.h>
#include <linux/notifier.h>

#include "hotplug.h"

static int memory_event(struct notifier_block *block, unsigned long action, void *data)
{
	const struct memory_notify *what = data;

	switch (action) {
	case MEM_GOING_OFFLINE:
		swapksm_memory_going_offline();
		break;
	case MEM_OFFLINE:
		swapksm_memory_offline(what->start_pfn, what->nr_pages);
		swapksm_memory_settled();
		break;
	case MEM_CANCEL_OFFLINE:
		swapksm_memory_settled();
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block memory_block = {
	.notifier_call = memory_event,
	.priority = KSM_CALLBACK_PRI,
};

int swapksm_hotplug_register(void)
{
	return register_memory_notifier(&memory_block);
}

void swapksm_hotplug_unregister(void)
{
	unregister_memory_notifier(&memory_block);
}

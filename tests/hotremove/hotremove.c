// SPDX-License-Identifier: GPL-2.0
/*
 * Takes a block of memory that is offline out of the machine, and puts one in, as drivers of memory that is plugged do. What
 * is taken out has no struct page any more, and no place in the kernel's direct mapping. The parameters remove and add take
 * physical addresses.
 */
#include <linux/kstrtox.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>

static int block_at(const char *text, u64 *start)
{
	int err = kstrtou64(text, 0, start);

	return err ?: IS_ALIGNED(*start, memory_block_size_bytes()) ? 0 : -EINVAL;
}

/* EBUSY: it is not offline. */
static int set_remove(const char *text, const struct kernel_param *unused)
{
	u64 start;

	return block_at(text, &start) ?: remove_memory(start, memory_block_size_bytes());
}

/* EEXIST: there is memory. It comes back to the node it was of. */
static int set_add(const char *text, const struct kernel_param *unused)
{
	u64 start;

	return block_at(text, &start) ?:
	       add_memory(0, start, memory_block_size_bytes(), MHP_NONE);
}

static const struct kernel_param_ops remove_ops = { .set = set_remove };
static const struct kernel_param_ops add_ops = { .set = set_add };
module_param_cb(remove, &remove_ops, NULL, 0200);
module_param_cb(add, &add_ops, NULL, 0200);

MODULE_DESCRIPTION("Takes memory out of the machine, for swapksm's tests");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0
/*
 * Somebody else's livepatch: it has /proc/version say so. With replace=1 it would take the place of all that are
 * installed, as the livepatches of distributions do.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static bool replace;
module_param(replace, bool, 0);
MODULE_PARM_DESC(replace, "replace all other livepatches");

static int other_version(struct seq_file *file, void *unused)
{
	seq_puts(file, "another livepatch\n");
	return 0;
}

static struct klp_func functions[] = {
	{ .old_name = "version_proc_show", .new_func = other_version },
	{}
};

static struct klp_object objects[] = {
	{ .funcs = functions },
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init other_init(void)
{
	patch.replace = replace;
	return klp_enable_patch(&patch);
}

static void __exit other_exit(void)
{
}

module_init(other_init);
module_exit(other_exit);
MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("A livepatch beside swapksm, for its tests");
MODULE_LICENSE("GPL");

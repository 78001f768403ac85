// SPDX-License-Identifier: GPL-2.0
/*
 * The livepatch that carries our entry points, and its callbacks.
 */
#include <linux/livepatch.h>
#include <linux/module.h>

#include "hooks.h"
#include "livepatch.h"

static int pre_patch(struct klp_object *obj)
{
	return swapksm_pre_patch();
}

static void post_patch(struct klp_object *obj)
{
	swapksm_post_patch();
}

static void pre_unpatch(struct klp_object *obj)
{
	swapksm_pre_unpatch();
}

static void post_unpatch(struct klp_object *obj)
{
	swapksm_post_unpatch();
}

/* No name: the object is the kernel itself. */
static struct klp_object objects[] = {
	{
		.funcs = swapksm_klp_funcs,
		.callbacks = {
			.pre_patch = pre_patch,
			.post_patch = post_patch,
			.pre_unpatch = pre_unpatch,
			.post_unpatch = post_unpatch,
		},
	},
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

int swapksm_livepatch_enable(void)
{
	return klp_enable_patch(&patch);
}

MODULE_INFO(livepatch, "Y");

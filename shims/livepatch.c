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

/*
 * A livepatch that replaces all others (.replace) takes them out without calling their callbacks: mm/ksm.c would meet
 * our nodes. The kernel refuses one that does not know every state the installed ones have changed, so we have changed
 * one nobody else knows: klp_is_state_compatible() in kernel/livepatch/state.c. The id is our name in ASCII.
 */
static struct klp_state states[] = {
	{ .id = 0x737761706b736d, .version = 1 },
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
	.states = states,
};

int swapksm_livepatch_enable(void)
{
	return klp_enable_patch(&patch);
}

MODULE_INFO(livepatch, "Y");

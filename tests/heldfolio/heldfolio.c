// SPDX-License-Identifier: GPL-2.0
/*
 * A folio that is locked for as long as somebody likes, as by who reclaims for a copy of it in a control group that gets no
 * memory. The parameter "frame" takes the number of a frame, whose folio is locked then; 0 lets it go.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>

static struct folio *held;

static void let_go(void)
{
	if (!held)
		return;
	folio_unlock(held);
	folio_put(held);
	held = NULL;
}

/* EBUSY: one is held. ENOENT: there is no such folio, or it is free. */
static int set_frame(const char *text, const struct kernel_param *unused)
{
	unsigned long frame;
	struct folio *folio;
	int err = kstrtoul(text, 0, &frame);

	if (err)
		return err;
	if (!frame) {
		let_go();
		return 0;
	}
	if (held)
		return -EBUSY;
	if (!pfn_valid(frame))
		return -ENOENT;
	folio = page_folio(pfn_to_page(frame));
	if (!folio_try_get(folio))
		return -ENOENT;
	folio_lock(folio);
	held = folio;
	return 0;
}

static const struct kernel_param_ops frame_ops = { .set = set_frame };
module_param_cb(frame, &frame_ops, NULL, 0200);

static void __exit heldfolio_exit(void)
{
	let_go();
}

module_exit(heldfolio_exit);

MODULE_DESCRIPTION("Keeps a folio locked, for swapksm's tests");
MODULE_LICENSE("GPL");

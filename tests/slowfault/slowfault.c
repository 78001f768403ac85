// SPDX-License-Identifier: GPL-2.0
/*
 * Memory whose first write takes as long as somebody likes, with the VMA's lock held, as on a file system that is frozen or
 * whose daemon does not answer: a page of /dev/swapksm-slowfault, mapped shared. The parameter "let_go" ends all waiting.
 */
#include <linux/gfp.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/wait.h>

static struct page *page;
static DECLARE_WAIT_QUEUE_HEAD(queue);
static bool let_go;
/* Writers that wait. */
static int waiting;

static int set_let_go(const char *text, const struct kernel_param *param)
{
	int err = param_set_bool(text, param);

	wake_up_all(&queue);
	return err;
}

static const struct kernel_param_ops let_go_ops = { .set = set_let_go, .get = param_get_bool };
module_param_cb(let_go, &let_go_ops, &let_go, 0600);
module_param(waiting, int, 0400);

static vm_fault_t fault(struct vm_fault *vmf)
{
	get_page(page);
	vmf->page = page;
	return 0;
}

/* Where there is such a function page faults keep the VMA's lock while they ask the file (vmf_can_call_fault()). */
static vm_fault_t map_pages(struct vm_fault *vmf, pgoff_t first, pgoff_t last)
{
	return 0;
}

static vm_fault_t page_mkwrite(struct vm_fault *vmf)
{
	WRITE_ONCE(waiting, waiting + 1);
	wait_event(queue, READ_ONCE(let_go));
	WRITE_ONCE(waiting, waiting - 1);
	lock_page(vmf->page);
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct vm_ops = {
	.fault = fault,
	.map_pages = map_pages,
	.page_mkwrite = page_mkwrite,
};

static int mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vm_ops;
	return 0;
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.mmap = mmap,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "swapksm-slowfault",
	.fops = &file_ops,
};

static int __init slowfault_init(void)
{
	int err;

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	err = misc_register(&device);
	if (err)
		put_page(page);
	return err;
}

static void __exit slowfault_exit(void)
{
	misc_deregister(&device);
	put_page(page);
}

module_init(slowfault_init);
module_exit(slowfault_exit);
MODULE_DESCRIPTION("Page faults that take long, for swapksm's tests");
MODULE_LICENSE("GPL");

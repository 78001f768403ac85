// SPDX-License-Identifier: GPL-2.0
#include <linux/anon_inodes.h>
#include <linux/build_bug.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "device.h"

static_assert(sizeof(struct ksm_kthread_info) == 24);
static_assert(offsetof(struct ksm_kthread_info, reserved_bits) == 16);
static_assert(sizeof(struct ksm_memory_region) == 24);
static_assert(offsetof(struct ksm_memory_region, addr) == 8);
static_assert(offsetof(struct ksm_memory_region, reserved_bits) == 16);

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return swapksm_device_ioctl(cmd, arg);
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ksm",
	.mode = 0600,
	.fops = &device_fops,
};

static long area_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return swapksm_area_ioctl(file->private_data, cmd, arg);
}

static int area_release(struct inode *inode, struct file *file)
{
	swapksm_area_release(file->private_data);
	return 0;
}

static const struct file_operations area_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = area_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = area_release,
	.llseek = noop_llseek,
};

int swapksm_device_register(void)
{
	return misc_register(&device);
}

void swapksm_device_deregister(void)
{
	misc_deregister(&device);
}

int swapksm_area_open(void *area)
{
	return anon_inode_getfd("[ksm-area]", &area_fops, area, O_RDWR);
}

bool swapksm_may_control(void)
{
	return capable(CAP_SYS_ADMIN);
}

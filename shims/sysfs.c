// SPDX-License-Identifier: GPL-2.0
#include <linux/kobject.h>
#include <linux/ksm.h>
#include <linux/sysfs.h>

#include "sysfs.h"

/* In mm/ksm.c, where it is static. */
extern const struct attribute_group ksm_attr_group;

static struct kobj_attribute files[SWAPKSM_SYSFS_MAX_FILES];
static struct attribute *file_list[SWAPKSM_SYSFS_MAX_FILES + 1];

static const struct attribute_group group = {
	.name = "ksm",
	.attrs = file_list,
};

static ssize_t file_show(struct kobject *kobj, struct kobj_attribute *file, char *buf)
{
	return swapksm_sysfs_show(file - files, buf);
}

static ssize_t file_store(struct kobject *kobj, struct kobj_attribute *file, const char *buf, size_t len)
{
	return swapksm_sysfs_store(file - files, buf, len);
}

void swapksm_sysfs_declare(unsigned int id, const char *name, umode_t mode)
{
	files[id].attr.name = name;
	files[id].attr.mode = mode;
	files[id].show = mode & 0444 ? file_show : NULL;
	files[id].store = mode & 0222 ? file_store : NULL;
	file_list[id] = &files[id].attr;
}

int swapksm_sysfs_create(void)
{
	return sysfs_create_group(mm_kobj, &group);
}

void swapksm_sysfs_remove(void)
{
	sysfs_remove_group(mm_kobj, &group);
}

int swapksm_sysfs_create_in_tree(void)
{
	return sysfs_create_group(mm_kobj, &ksm_attr_group);
}

void swapksm_sysfs_remove_in_tree(void)
{
	sysfs_remove_group(mm_kobj, &ksm_attr_group);
}

long swapksm_zero_pages(void)
{
	return atomic_long_read(&ksm_zero_pages);
}

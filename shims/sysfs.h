/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The directory /sys/kernel/mm/ksm: the in-tree one and ours.
 *
 * Which files ours has is declared by Rust, one call per file, before it is created.
 */
#ifndef SWAPKSM_SYSFS_H
#define SWAPKSM_SYSFS_H

#include <linux/types.h>

/* Most files our directory can have. */
#define SWAPKSM_SYSFS_MAX_FILES 64

/*
 * File number @id, below SWAPKSM_SYSFS_MAX_FILES, is called @name and has the permissions @mode. Files are numbered
 * from 0 without a gap. @name must live as long as the module. Only before swapksm_sysfs_create().
 */
void swapksm_sysfs_declare(unsigned int id, const char *name, umode_t mode);

/* Create our directory with the files declared. -EEXIST while the in-tree one is there. May sleep. */
int swapksm_sysfs_create(void);

/*
 * Remove our directory. Waits for readers and writers of its files: hold no lock that they take. May sleep.
 */
void swapksm_sysfs_remove(void);

/* The same for the directory of mm/ksm.c. */
int swapksm_sysfs_create_in_tree(void);
void swapksm_sysfs_remove_in_tree(void);

/*
 * Implemented by Rust. @buf has PAGE_SIZE - 1 bytes to show in, or is a string of @len bytes to store. The number of
 * bytes shown or stored, or an error. Process context, no locks but sysfs's own. May sleep.
 */
ssize_t swapksm_sysfs_show(unsigned int id, char *buf);
ssize_t swapksm_sysfs_store(unsigned int id, const char *buf, size_t len);

/* Zero pages placed by samepage merging in all processes: the kernel's own counter. */
long swapksm_zero_pages(void);

#endif

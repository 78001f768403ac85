/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/ksm: samepage merging for programs that register their memory by file descriptor.
 *
 * Binary compatible with the driver of 2009. Documentation/uapi.md has every call with its errors.
 */
#ifndef _UAPI_SWAPKSM_LINUX_KSM_H
#define _UAPI_SWAPKSM_LINUX_KSM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* The answer to KSM_GET_API_VERSION. */
#define KSM_API_VERSION 1

/* ksm_kthread_info.flags: the scanner runs. */
#define ksm_control_flags_run 1

/* The scanner's settings. */
struct ksm_kthread_info {
	__u32 sleep;		/* microseconds between two batches */
	__u32 pages_to_scan;	/* pages per batch */
	__u32 flags;		/* ksm_control_flags_run, or 0 */
	__u32 pad;		/* ignored; read back as 0 */
	__u64 reserved_bits;	/* must be 0 */
};

/* Memory of the calling process. */
struct ksm_memory_region {
	__u32 npages;		/* at least 1 */
	__u32 pad;		/* ignored */
	__u64 addr;		/* page aligned */
	__u64 reserved_bits;	/* must be 0 */
};

#define KSMIO 0xAB

/*
 * On /dev/ksm.
 */

/* Returns KSM_API_VERSION. */
#define KSM_GET_API_VERSION		_IO(KSMIO, 0x00)

/* Returns a new file descriptor, an area, for the memory of the calling process. */
#define KSM_CREATE_SHARED_MEMORY_AREA	_IO(KSMIO, 0x01)

/* Starts the scanner with these settings; without ksm_control_flags_run stops it and leaves its settings alone. */
#define KSM_START_STOP_KTHREAD		_IOW(KSMIO, 0x02, struct ksm_kthread_info)

/* Fills in the scanner's settings. The number says "write" for compatibility. */
#define KSM_GET_INFO_KTHREAD		_IOW(KSMIO, 0x03, struct ksm_kthread_info)

/*
 * On an area.
 */

/* Marks memory mergeable, as madvise(MADV_MERGEABLE) does. Any number of times. */
#define KSM_REGISTER_MEMORY_REGION	_IOW(KSMIO, 0x20, struct ksm_memory_region)

/* Unmerges all memory registered through this area, as closing the area does. */
#define KSM_REMOVE_MEMORY_REGION	_IO(KSMIO, 0x21)

#endif

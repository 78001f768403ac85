/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device /dev/ksm and the file descriptors it hands out, called areas. An open file of either kind pins the module.
 */
#ifndef SWAPKSM_DEVICE_H
#define SWAPKSM_DEVICE_H

#include <linux/types.h>

#include "uapi/linux/ksm.h"

/* The numbers of the user header for Rust, which cannot read its macros. */
enum swapksm_uapi {
	SWAPKSM_GET_API_VERSION = KSM_GET_API_VERSION,
	SWAPKSM_CREATE_SHARED_MEMORY_AREA = KSM_CREATE_SHARED_MEMORY_AREA,
	SWAPKSM_START_STOP_KTHREAD = KSM_START_STOP_KTHREAD,
	SWAPKSM_GET_INFO_KTHREAD = KSM_GET_INFO_KTHREAD,
	SWAPKSM_REGISTER_MEMORY_REGION = KSM_REGISTER_MEMORY_REGION,
	SWAPKSM_REMOVE_MEMORY_REGION = KSM_REMOVE_MEMORY_REGION,
	SWAPKSM_API_VERSION = KSM_API_VERSION,
	SWAPKSM_FLAG_RUN = ksm_control_flags_run,
};

/* Create and remove /dev/ksm. Files already open stay usable. May sleep. */
int swapksm_device_register(void);
void swapksm_device_deregister(void);

/*
 * Give the caller a file descriptor for @area: its number, or an error, with which @area stays the caller's. Otherwise
 * swapksm_area_release() ends @area, even before this returns if another thread closes the descriptor. May sleep.
 */
int swapksm_area_open(void *area);

/* May the caller steer the scanner of the whole machine? */
bool swapksm_may_control(void);

/*
 * Implemented by Rust. Process context of the caller, no locks held. May sleep.
 */
long swapksm_device_ioctl(unsigned int cmd, unsigned long arg);
long swapksm_area_ioctl(void *area, unsigned int cmd, unsigned long arg);

/* The last reference to the file of @area is gone. Possibly in another process, or in none. May sleep. */
void swapksm_area_release(void *area);

#endif

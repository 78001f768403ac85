/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything Rust sees of C: bindgen reads this one header. It only gathers the headers of the single subjects.
 */
#ifndef SWAPKSM_SHIMS_H
#define SWAPKSM_SHIMS_H

#include "device.h"
#include "folio.h"
#include "hooks.h"
#include "hotplug.h"
#include "intree.h"
#include "livepatch.h"
#include "lru.h"
#include "madvise.h"
#include "memory.h"
#include "merge.h"
#include "proc.h"
#include "random.h"
#include "rmap.h"
#include "space.h"
#include "swapin.h"
#include "sync.h"
#include "sysfs.h"
#include "thread.h"
#include "walk.h"

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of /dev/ksm share. Functions end the running test when something cannot be done.
 */
#ifndef UTIL_H
#define UTIL_H

#include <errno.h>
#include <linux/ksm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ktap.h"

extern size_t page_size;

/* /dev/ksm, open. */
int open_device(void);

/* A new area of this process. */
int new_area(void);

/* Registers pages: ioctl()'s result. */
int register_pages(int area, const void *addr, uint32_t npages);

/* Private memory of @npages pages, present, page i filled with @first + i. */
unsigned char *new_memory(size_t npages, int first);

/* Is every page still filled with @first + i? */
bool memory_is(const unsigned char *memory, size_t npages, int first);

/* How many of these pages are in mappings marked mergeable. */
size_t mergeable_pages(const void *addr, size_t npages);

/* The page frame behind @addr; 0 if none. */
uint64_t pfn_of(const void *addr);

/* A file of /sys/kernel/mm/ksm. */
long read_knob(const char *name);
void read_knob_text(const char *name, char *text, size_t size);
int write_knob(const char *name, const char *text);

/* References that hold the module. */
int module_references(void);

/* Runs @child in a child process and passes its failure on. */
void in_child(void (*child)(void *), void *argument);

#endif

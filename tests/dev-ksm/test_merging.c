// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

#define PAGES 64
#define WAIT_SECONDS patience(60)

/* Two stretches of the same content, page by page, and of different content within. */
static unsigned char *left, *right;

static void start_scanner(void)
{
	struct ksm_kthread_info info = { .sleep = 1000, .pages_to_scan = 2000, .flags = ksm_control_flags_run };

	CHECK(ioctl(open_device(), KSM_START_STOP_KTHREAD, &info) == 0);
}

static size_t common_pages(void)
{
	size_t i, common = 0;

	for (i = 0; i < PAGES; i++)
		common += pfn_of(left + i * page_size) == pfn_of(right + i * page_size);
	return common;
}

static void wait_until_merged(void)
{
	time_t deadline = time(NULL) + WAIT_SECONDS;

	while (common_pages() < PAGES) {
		if (time(NULL) > deadline)
			ktap_fail(__FILE__, __LINE__, "after %d s %zu of %d pages are merged (full_scans %ld)",
				  WAIT_SECONDS, common_pages(), PAGES, read_knob("full_scans"));
		usleep(20000);
	}
}

static void make_twins(void)
{
	left = new_memory(PAGES, 10);
	right = new_memory(PAGES, 10);
	CHECK_EQUAL(common_pages(), 0);
}

void test_registered_memory_is_merged(void)
{
	int area = new_area(), other = new_area();

	make_twins();
	CHECK(register_pages(area, left, PAGES) == 0);
	CHECK(register_pages(other, right, PAGES) == 0);
	start_scanner();
	wait_until_merged();
	CHECK(memory_is(left, PAGES, 10));
	CHECK(memory_is(right, PAGES, 10));
	/* A write goes to the writer alone. */
	left[0] = 99;
	CHECK(right[0] == 10);
	left[0] = 10;
	CHECK(memory_is(left, PAGES, 10));
	CHECK(memory_is(right, PAGES, 10));
}

void test_remove_and_close_unmerge(void)
{
	int area = new_area(), other = new_area();

	make_twins();
	start_scanner();
	CHECK(register_pages(area, left, PAGES) == 0);
	CHECK(register_pages(other, right, PAGES) == 0);
	wait_until_merged();
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK_EQUAL(common_pages(), 0);
	CHECK(memory_is(left, PAGES, 10));

	CHECK(register_pages(area, left, PAGES) == 0);
	wait_until_merged();
	CHECK(close(other) == 0);
	CHECK_EQUAL(common_pages(), 0);
	CHECK(memory_is(left, PAGES, 10));
	CHECK(memory_is(right, PAGES, 10));
}

// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

#define PAGES 64
#define LIMIT 10

static unsigned char *left, *right;

static void merge_twins(void)
{
	int area = new_area();

	left = new_memory(PAGES, 10);
	right = new_memory(PAGES, 10);
	CHECK(register_pages(area, left, PAGES) == 0);
	CHECK(register_pages(area, right, PAGES) == 0);
	/* It would pass over pages that found no partner for a while. */
	CHECK(write_knob("smart_scan", "0") == 0);
	CHECK(write_knob("pages_to_scan", "2000") == 0);
	CHECK(write_knob("sleep", "1000") == 0);
	CHECK(write_knob("run", "1") == 0);
}

static size_t common_pages(void)
{
	size_t i, common = 0;

	for (i = 0; i < PAGES; i++)
		common += pfn_of(left + i * page_size) == pfn_of(right + i * page_size);
	return common;
}

/* Lets the scanner visit everything @count times more. */
static void wait_for_scans(int count)
{
	long until = read_knob("full_scans") + count;
	time_t deadline = time(NULL) + patience(60);

	while (read_knob("full_scans") < until) {
		CHECK(time(NULL) < deadline);
		usleep(20000);
	}
}

void test_max_kernel_pages_limits_merging(void)
{
	long denied;

	CHECK(write_knob("run", "2") == 0);
	CHECK_EQUAL(read_knob("pages_shared"), 0);
	CHECK_EQUAL(read_knob("kernel_pages_allocated"), 0);
	denied = read_knob("merge_denied");
	CHECK(write_knob("max_kernel_pages", "10") == 0);
	merge_twins();
	wait_for_scans(4);
	CHECK_EQUAL(read_knob("pages_shared"), LIMIT);
	CHECK_EQUAL(read_knob("kernel_pages_allocated"), LIMIT);
	CHECK_EQUAL(common_pages(), LIMIT);
	CHECK(read_knob("merge_denied") > denied);

	CHECK(write_knob("max_kernel_pages", "0") == 0);
	wait_for_scans(4);
	CHECK_EQUAL(common_pages(), PAGES);
	CHECK_EQUAL(read_knob("kernel_pages_allocated"), PAGES);
	CHECK(memory_is(left, PAGES, 10));
	CHECK(memory_is(right, PAGES, 10));
}

void test_settings_that_need_an_empty_engine(void)
{
	merge_twins();
	wait_for_scans(3);
	CHECK_EQUAL(common_pages(), PAGES);
	CHECK_ERRNO(write_knob("max_page_sharing", "100"), EBUSY);
	CHECK_EQUAL(read_knob("max_page_sharing"), 256);
	CHECK(write_knob("max_page_sharing", "256") == 0);
	CHECK_ERRNO(write_knob("merge_across_nodes", "0"), EBUSY);
	CHECK_EQUAL(read_knob("merge_across_nodes"), 1);
	CHECK(write_knob("merge_across_nodes", "1") == 0);

	CHECK(write_knob("run", "2") == 0);
	CHECK_EQUAL(common_pages(), 0);
	CHECK(write_knob("max_page_sharing", "100") == 0);
	CHECK(write_knob("merge_across_nodes", "0") == 0);
	CHECK(write_knob("max_page_sharing", "256") == 0);
	CHECK(write_knob("merge_across_nodes", "1") == 0);
	CHECK(memory_is(left, PAGES, 10));
}

void test_sleep_has_two_views(void)
{
	CHECK(write_knob("sleep_millisecs", "7") == 0);
	CHECK_EQUAL(read_knob("sleep"), 7000);
	CHECK(write_knob("sleep", "1") == 0);
	CHECK_EQUAL(read_knob("sleep_millisecs"), 1);
	CHECK(write_knob("sleep", "0\n") == 0);
	CHECK_EQUAL(read_knob("sleep_millisecs"), 0);
	CHECK(write_knob("sleep", "4294967295") == 0);
	CHECK_EQUAL(read_knob("sleep_millisecs"), 4294968);
}

void test_bad_values_of_our_own_files(void)
{
	static const char *const bad[] = { "-1", "", "x", "0x10", "1 2", "1\n\n", "18446744073709551616" };
	size_t i;

	CHECK(write_knob("sleep", "20000") == 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		/* Writing nothing does not reach the file's own function. */
		if (*bad[i]) {
			CHECK_ERRNO(write_knob("sleep", bad[i]), EINVAL);
			CHECK_ERRNO(write_knob("max_kernel_pages", bad[i]), EINVAL);
		}
	}
	CHECK_ERRNO(write_knob("sleep", "4294967296"), EINVAL);
	CHECK_EQUAL(read_knob("sleep"), 20000);
	CHECK_EQUAL(read_knob("max_kernel_pages"), 0);
	CHECK(write_knob("max_kernel_pages", "18446744073709551615") == 0);
	CHECK(write_knob("max_kernel_pages", "0") == 0);
}

void test_sync_waits_for_deferred_work(void)
{
	int round;

	merge_twins();
	wait_for_scans(3);
	for (round = 0; round < 20; round++) {
		left[round * page_size] ^= 1;
		CHECK(round % 2 ? write_knob("sync", "1") == 0 : read_knob("sync") == 0);
		CHECK_EQUAL(read_knob("pages_pending"), 0);
	}
}

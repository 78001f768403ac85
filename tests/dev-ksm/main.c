// SPDX-License-Identifier: GPL-2.0
/*
 * dev_ksm_test [PART OF A NAME]: tests of /dev/ksm, to be run as root where swapksm is loaded.
 * dev_ksm_test --hold: opens everything, says "held", waits until /dev/ksm is gone, checks what its files do then. The
 * helper of unload_test.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

#define TEST(name) { #name, test_##name }

static const struct test tests[] = {
	TEST(device_is_roots_alone),
	TEST(api_version),
	TEST(unknown_requests),
	TEST(info_is_what_sysfs_says),
	TEST(start_and_stop),
	TEST(bad_settings_change_nothing),
	TEST(the_advisor_keeps_its_pages),
	TEST(start_needs_the_capability),
	TEST(bad_regions),
	TEST(register_and_remove),
	TEST(close_unmarks),
	TEST(overlapping_regions),
	TEST(unmapped_after_registration),
	TEST(memory_that_cannot_merge),
	TEST(a_million_regions),
	TEST(many_regions_end_in_one_go),
	TEST(regions_are_charged),
	TEST(fork_keeps_the_area_to_the_parent),
	TEST(exec_ends_the_area),
	TEST(a_creator_that_exited),
	TEST(threads_share_the_area),
	TEST(open_files_pin_the_module),
	TEST(races_of_threads),
	TEST(killed_while_its_memory_is_held),
	TEST(killed_while_it_closes),
	TEST(killed_while_another_closes),
	TEST(alive_while_another_closes),
	TEST(killed_while_another_shares_its_memory),
	TEST(programs_of_32_bits),
	TEST(registered_memory_is_merged),
	TEST(remove_and_close_unmerge),
	TEST(max_kernel_pages_limits_merging),
	TEST(settings_that_need_an_empty_engine),
	TEST(sleep_has_two_views),
	TEST(bad_values_of_our_own_files),
	TEST(sync_waits_for_deferred_work),
};

/* The settings that tests change, put back at the end whatever happened. */
static const char *const knobs[] = { "advisor_mode", "pages_to_scan", "sleep", "max_kernel_pages", "smart_scan", "run" };
#define KNOBS (sizeof(knobs) / sizeof(knobs[0]))

int main(int argc, char **argv)
{
	char saved[KNOBS][64];
	size_t i;
	int code;

	page_size = sysconf(_SC_PAGESIZE);
	if (argc == 3 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "--hold"))
		return hold();
	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
		fprintf(stderr, "usage: dev_ksm_test [PART OF A NAME]\n");
		return 2;
	}
	if (access("/dev/ksm", R_OK | W_OK)) {
		fprintf(stderr, "dev_ksm_test: cannot use /dev/ksm: %m. Load swapksm, and run this as root.\n");
		return 1;
	}
	for (i = 0; i < KNOBS; i++)
		read_knob_text(knobs[i], saved[i], sizeof(saved[i]));
	code = ktap_run(tests, sizeof(tests) / sizeof(tests[0]), argv[1]);
	for (i = 0; i < KNOBS; i++)
		write_knob(knobs[i], i ? saved[i] : strstr(saved[i], "[scan-time]") ? "scan-time" : "none");
	return code;
}

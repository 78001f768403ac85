/* SPDX-License-Identifier: GPL-2.0 */
#ifndef TESTS_H
#define TESTS_H

/* The device and the scanner's settings: test_scanner.c */
void test_device_is_roots_alone(void);
void test_api_version(void);
void test_unknown_requests(void);
void test_info_is_what_sysfs_says(void);
void test_start_and_stop(void);
void test_bad_settings_change_nothing(void);
void test_the_advisor_keeps_its_pages(void);
void test_start_needs_the_capability(void);

/* What can be registered: test_regions.c */
void test_bad_regions(void);
void test_register_and_remove(void);
void test_close_unmarks(void);
void test_overlapping_regions(void);
void test_unmapped_after_registration(void);
void test_memory_that_cannot_merge(void);
void test_a_million_regions(void);
void test_many_regions_end_in_one_go(void);
void test_regions_are_charged(void);

/* Who outlives whom: test_lifetimes.c */
void test_fork_keeps_the_area_to_the_parent(void);
void test_exec_ends_the_area(void);
void test_a_creator_that_exited(void);
void test_threads_share_the_area(void);
void test_open_files_pin_the_module(void);
void test_races_of_threads(void);

/* Who is unmerged for when an area is closed: test_endings.c */
void test_killed_while_its_memory_is_held(void);
void test_killed_while_it_closes(void);
void test_killed_while_another_closes(void);
void test_alive_while_another_closes(void);
void test_killed_while_another_shares_its_memory(void);

/* What test_exec_ends_the_area() starts. The exit code of the program. */
int after_exec(int area);

/* Opens the device and an area and uses them after the module has handed back. The exit code of the program. */
int hold(void);

/* The 32-bit door: test_compat.c */
void test_programs_of_32_bits(void);

/* One engine behind both doors: test_merging.c */
void test_registered_memory_is_merged(void);
void test_remove_and_close_unmerge(void);

/* The files of sysfs that only swapksm has, or that need the engine: test_knobs.c */
void test_max_kernel_pages_limits_merging(void);
void test_settings_that_need_an_empty_engine(void);
void test_sleep_has_two_views(void);
void test_bad_values_of_our_own_files(void);
void test_sync_waits_for_deferred_work(void);

#endif

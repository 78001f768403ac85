// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

/* Most regions of an area that touch each other nowhere. */
#define MAX_REGIONS 65536

#define MILLION 1000000

/* @region must be refused with @error, and leave nothing behind. */
static void refused(int area, struct ksm_memory_region region, int error)
{
	errno = 0;
	if (ioctl(area, KSM_REGISTER_MEMORY_REGION, &region) != -1 || errno != error)
		ktap_fail(__FILE__, __LINE__, "%u pages at %#llx: %s, not %s", region.npages,
			  (unsigned long long)region.addr, strerrorname_np(errno), strerrorname_np(error));
}

void test_bad_regions(void)
{
	unsigned char *memory = new_memory(8, 1);
	uint64_t addr = (uintptr_t)memory;
	int area = new_area();

	refused(area, (struct ksm_memory_region){ .npages = 0, .addr = addr }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = addr + 1 }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = addr + page_size - 1 }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = addr, .reserved_bits = 1 }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = addr, .reserved_bits = 1ULL << 63 }, EINVAL);
	/* Beyond the last address, and just up to it. */
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = -(uint64_t)page_size }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = -1, .addr = -(uint64_t)page_size }, EINVAL);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = -2 * (uint64_t)page_size }, ENOMEM);
	/* The kernel's addresses, the vsyscall page among them, and those nobody has. */
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = 0xFFFFFFFF81000000 }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = 0xFFFFFFFFFF600000 }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = 0x8000000000000000 }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = 1, .addr = 0 }, ENOMEM);
	/* Partly mapped: a hole at the start, in the middle, at the end. */
	CHECK(munmap(memory + 3 * page_size, page_size) == 0);
	refused(area, (struct ksm_memory_region){ .npages = 2, .addr = addr + 3 * page_size }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = 8, .addr = addr }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = 4, .addr = addr }, ENOMEM);
	refused(area, (struct ksm_memory_region){ .npages = UINT32_MAX, .addr = addr }, ENOMEM);
	CHECK_EQUAL(mergeable_pages(memory, 8), 0);

	CHECK_ERRNO(ioctl(area, KSM_REGISTER_MEMORY_REGION, NULL), EFAULT);
	CHECK_ERRNO(ioctl(area, KSM_REGISTER_MEMORY_REGION, memory + 3 * page_size - 8), EFAULT);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
}

void test_register_and_remove(void)
{
	unsigned char *memory = new_memory(16, 1);
	int area = new_area();
	int round;

	for (round = 0; round < 3; round++) {
		CHECK(register_pages(area, memory + 2 * page_size, 4) == 0);
		CHECK(register_pages(area, memory + 9 * page_size, 3) == 0);
		CHECK_EQUAL(mergeable_pages(memory, 16), 7);
		CHECK_EQUAL(mergeable_pages(memory + 2 * page_size, 4), 4);
		CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
		CHECK_EQUAL(mergeable_pages(memory, 16), 0);
		/* Nothing is left to remove, which is no error. */
		CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	}
	CHECK(memory_is(memory, 16, 1));
}

void test_close_unmarks(void)
{
	unsigned char *memory = new_memory(16, 1);
	int area = new_area(), copy = dup(area), other = new_area();

	CHECK(register_pages(area, memory, 4) == 0);
	CHECK(register_pages(other, memory + 8 * page_size, 4) == 0);
	CHECK(close(area) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 16), 8);
	CHECK(close(copy) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 16), 4);
	CHECK(close(other) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 16), 0);
}

void test_overlapping_regions(void)
{
	unsigned char *memory = new_memory(32, 1);
	int area = new_area();

	CHECK(register_pages(area, memory + 4 * page_size, 8) == 0);
	CHECK(register_pages(area, memory + 4 * page_size, 8) == 0);
	CHECK(register_pages(area, memory + 8 * page_size, 8) == 0);
	CHECK(register_pages(area, memory + 20 * page_size, 2) == 0);
	CHECK(register_pages(area, memory + 16 * page_size, 4) == 0);
	CHECK(register_pages(area, memory, 1) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 32), 19);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 32), 0);
}

void test_unmapped_after_registration(void)
{
	unsigned char *memory = new_memory(16, 1);
	int area = new_area();

	CHECK(register_pages(area, memory, 16) == 0);
	CHECK(munmap(memory, page_size) == 0);
	CHECK(munmap(memory + 5 * page_size, 3 * page_size) == 0);
	CHECK(munmap(memory + 15 * page_size, page_size) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 16), 11);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 16), 0);

	CHECK(register_pages(area, memory + page_size, 4) == 0);
	CHECK(munmap(memory, 16 * page_size) == 0);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK(close(area) == 0);
}

static unsigned char *new_shared_memory(size_t npages)
{
	unsigned char *memory = mmap(NULL, npages * page_size, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

void test_memory_that_cannot_merge(void)
{
	unsigned char *memory = new_shared_memory(4);
	int area = new_area();

	/* As madvise(): good advice that is not followed. */
	CHECK(register_pages(area, memory, 4) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 0);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
}

void test_a_million_regions(void)
{
	unsigned char *memory = new_shared_memory(2 * MILLION);
	int area = new_area();
	size_t i;

	for (i = 0; i < MILLION; i++) {
		int result = register_pages(area, memory + 2 * i * page_size, 1);

		if (i < MAX_REGIONS ? result != 0 : result != -1 || errno != EBUSY)
			ktap_fail(__FILE__, __LINE__, "region %zu: %s", i, result ? strerrorname_np(errno) : "taken");
	}
	/* What is registered already, or joins two regions, is still taken. */
	CHECK(register_pages(area, memory, 1) == 0);
	CHECK(register_pages(area, memory + page_size, 1) == 0);
	CHECK(register_pages(area, memory + 2 * MAX_REGIONS * page_size, 1) == 0);
	CHECK_ERRNO(register_pages(area, memory + 2 * (MAX_REGIONS + 1) * page_size, 1), EBUSY);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK(register_pages(area, memory + 2 * (MAX_REGIONS + 1) * page_size, 1) == 0);
}

/* @count regions that touch each other nowhere. */
static void register_every_other_page(int area, unsigned char *memory, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		CHECK(register_pages(area, memory + 2 * i * page_size, 1) == 0);
}

/* How often this process has slept. */
static long times_asleep(void)
{
	struct rusage usage;

	CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	return usage.ru_nvcsw;
}

/* A worker unmerges for who closes an area. Where others want the CPUs, each turn to it and back takes its time. */
void test_many_regions_end_in_one_go(void)
{
	const int count = 4096;
	unsigned char *memory = new_shared_memory(2 * count);
	int area = new_area();
	long before, asleep;

	register_every_other_page(area, memory, count);
	before = times_asleep();
	CHECK(close(area) == 0);
	asleep = times_asleep() - before;
	ktap_note("closing %d regions slept %ld times", count, asleep);
	CHECK(asleep < 64);
}

/* Bytes of kernel memory charged to the cgroup at @dir. */
static long kernel_bytes(const char *dir)
{
	char path[128], name[64];
	long value, bytes = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	file = fopen(path, "r");
	CHECK(file);
	while (fscanf(file, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, "kernel"))
			bytes = value;
	fclose(file);
	CHECK(bytes >= 0);
	return bytes;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int failed = fd < 0 || write(fd, text, strlen(text)) < 0;

	if (fd >= 0)
		close(fd);
	return failed ? -1 : 0;
}

void test_regions_are_charged(void)
{
	static const char group[] = "/sys/fs/cgroup/dev_ksm_test";
	unsigned char *memory = new_shared_memory(2 * MAX_REGIONS);
	long before, during, after;
	int area, tries;
	char path[128];

	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if ((mkdir(group, 0755) && errno != EEXIST) || access("/sys/fs/cgroup/dev_ksm_test/memory.stat", R_OK))
		ktap_skip("no memory cgroup at /sys/fs/cgroup");
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	CHECK(write_file(path, "0") == 0);

	area = new_area();
	before = kernel_bytes(group);
	register_every_other_page(area, memory, MAX_REGIONS);
	/* 16 bytes a region; the kernel folds its statistics in with some delay. */
	for (tries = 0; tries < 100; tries++) {
		during = kernel_bytes(group);
		if (during >= before + 16 * MAX_REGIONS)
			break;
		usleep(100000);
	}
	ktap_note("%ld bytes charged for %d regions", during - before, MAX_REGIONS);
	CHECK(during >= before + 16 * MAX_REGIONS);
	CHECK(close(area) == 0);
	for (tries = 0; tries < 100; tries++) {
		after = kernel_bytes(group);
		if (after < during - 15 * MAX_REGIONS)
			break;
		usleep(100000);
	}
	CHECK(after < during - 15 * MAX_REGIONS);
	CHECK(write_file("/sys/fs/cgroup/cgroup.procs", "0") == 0);
	CHECK(rmdir(group) == 0);
}

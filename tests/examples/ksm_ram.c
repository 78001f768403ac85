// SPDX-License-Identifier: GPL-2.0
/*
 * ksm_ram MEBIBYTES [SECONDS]: memory as a virtual machine has it, registered through /dev/ksm.
 *
 * The second of the two example programs that came with the driver of 2009, written anew: it was a patch to QEMU that
 * registers the guest's RAM. Half of this RAM is the same in every page, as after booting; the other half is unique.
 * Prints what was merged, and ends when nothing more is to be expected or the time is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ksm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static size_t page_size;

/* The file descriptor under which the RAM is registered; closing it would unmerge the RAM. */
static int register_ram(void *ram, size_t bytes)
{
	struct ksm_memory_region region;
	int device = open("/dev/ksm", O_RDWR), area;

	if (device < 0) {
		fprintf(stderr, "ksm_ram: cannot open /dev/ksm: %m. Is swapksm loaded, and are you root?\n");
		exit(1);
	}
	area = ioctl(device, KSM_CREATE_SHARED_MEMORY_AREA);
	if (area < 0) {
		fprintf(stderr, "ksm_ram: /dev/ksm gives no memory area: %m\n");
		exit(1);
	}
	close(device);
	memset(&region, 0, sizeof(region));
	region.npages = bytes / page_size;
	region.addr = (uintptr_t)ram;
	if (ioctl(area, KSM_REGISTER_MEMORY_REGION, &region)) {
		fprintf(stderr, "ksm_ram: cannot register %u pages: %m\n", region.npages);
		exit(1);
	}
	return area;
}

/* Page i of the RAM: what stands in each of its 8-byte words. */
static uint64_t content(size_t i)
{
	return i % 2 ? 0x6E6F736567617073 : 0x9E3779B97F4A7C15 * (i + (size_t)getpid() * 1000003);
}

static void fill(uint64_t *ram, size_t npages)
{
	size_t i, at, words = page_size / sizeof(*ram);

	for (i = 0; i < npages; i++)
		for (at = 0; at < words; at++)
			ram[i * words + at] = content(i);
}

static int verify(const uint64_t *ram, size_t npages)
{
	size_t i, at, words = page_size / sizeof(*ram);

	for (i = 0; i < npages; i++)
		for (at = 0; at < words; at++)
			if (ram[i * words + at] != content(i)) {
				fprintf(stderr, "ksm_ram: page %zu has changed\n", i);
				return 1;
			}
	return 0;
}

static long merged_pages(void)
{
	FILE *file = fopen("/proc/self/ksm_merging_pages", "r");
	long pages = 0;

	if (!file || fscanf(file, "%ld", &pages) != 1) {
		fprintf(stderr, "ksm_ram: cannot read /proc/self/ksm_merging_pages: %m\n");
		exit(1);
	}
	fclose(file);
	return pages;
}

int main(int argc, char **argv)
{
	long mebibytes = argc > 1 ? atol(argv[1]) : 0, seconds = argc > 2 ? atol(argv[2]) : 60;
	time_t deadline = time(NULL) + seconds;
	size_t npages;
	void *ram;

	page_size = sysconf(_SC_PAGESIZE);
	if (argc < 2 || argc > 3 || mebibytes < 1 || mebibytes > 1 << 20 || seconds < 0) {
		fprintf(stderr, "usage: ksm_ram MEBIBYTES [SECONDS]\n");
		return 2;
	}
	npages = ((size_t)mebibytes << 20) / page_size;
	ram = mmap(NULL, npages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED) {
		fprintf(stderr, "ksm_ram: cannot have %ld MiB: %m\n", mebibytes);
		return 1;
	}
	fill(ram, npages);
	register_ram(ram, npages * page_size);
	while ((size_t)merged_pages() < npages / 2 && time(NULL) < deadline)
		usleep(100000);
	printf("%zu pages registered, %ld of them merged\n", npages, merged_pages());
	return verify(ram, npages);
}

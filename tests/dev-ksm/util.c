// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"

#define KNOBS "/sys/kernel/mm/ksm/"

size_t page_size;

int open_device(void)
{
	int fd = open("/dev/ksm", O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

int new_area(void)
{
	int device = open_device(), area = ioctl(device, KSM_CREATE_SHARED_MEMORY_AREA);

	CHECK(area >= 0);
	CHECK(close(device) == 0);
	return area;
}

int register_pages(int area, const void *addr, uint32_t npages)
{
	struct ksm_memory_region region = { .npages = npages, .addr = (uintptr_t)addr };

	return ioctl(area, KSM_REGISTER_MEMORY_REGION, &region);
}

unsigned char *new_memory(size_t npages, int first)
{
	unsigned char *memory = mmap(NULL, npages * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	CHECK(memory != MAP_FAILED);
	CHECK(madvise(memory, npages * page_size, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
	for (i = 0; i < npages; i++)
		memset(memory + i * page_size, first + i, page_size);
	return memory;
}

bool memory_is(const unsigned char *memory, size_t npages, int first)
{
	size_t i, at;

	for (i = 0; i < npages; i++)
		for (at = 0; at < page_size; at++)
			if (memory[i * page_size + at] != (unsigned char)(first + i))
				return false;
	return true;
}

size_t mergeable_pages(const void *addr, size_t npages)
{
	uintptr_t wanted_start = (uintptr_t)addr, wanted_end = wanted_start + npages * page_size;
	uintptr_t start, end, from = 0, to = 0;
	size_t bytes = 0;
	char line[512];
	FILE *smaps = fopen("/proc/self/smaps", "r");

	CHECK(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			from = start > wanted_start ? start : wanted_start;
			to = end < wanted_end ? end : wanted_end;
		} else if (!strncmp(line, "VmFlags:", 8) && strstr(line, " mg") && from < to) {
			bytes += to - from;
		}
	}
	fclose(smaps);
	return bytes / page_size;
}

uint64_t pfn_of(const void *addr)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	CHECK(fd >= 0);
	CHECK(pread(fd, &entry, sizeof(entry), (uintptr_t)addr / page_size * sizeof(entry)) == sizeof(entry));
	close(fd);
	return entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
}

void read_knob_text(const char *name, char *text, size_t size)
{
	char path[128];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), KNOBS "%s", name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		ktap_fail(__FILE__, __LINE__, "cannot open %s: %m", path);
	len = read(fd, text, size - 1);
	CHECK(len >= 0);
	text[len] = 0;
	close(fd);
}

long read_knob(const char *name)
{
	char text[64];

	read_knob_text(name, text, sizeof(text));
	return atol(text);
}

int write_knob(const char *name, const char *text)
{
	char path[128];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), KNOBS "%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		ktap_fail(__FILE__, __LINE__, "cannot open %s: %m", path);
	len = write(fd, text, strlen(text));
	close(fd);
	return len == (ssize_t)strlen(text) ? 0 : -1;
}

int module_references(void)
{
	FILE *file = fopen("/sys/module/swapksm/refcnt", "r");
	int count = 0;

	CHECK(file);
	CHECK(fscanf(file, "%d", &count) == 1);
	fclose(file);
	return count;
}

void in_child(void (*child)(void *), void *argument)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		child(argument);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		ktap_fail(__FILE__, __LINE__, "the child failed (wait status %#x)", status);
}

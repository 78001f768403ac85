// SPDX-License-Identifier: GPL-2.0
/*
 * 32-bit programs: the same requests through the system call entry of i386, which 64-bit code may use as well.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

#ifdef __x86_64__

#define I386_GETPID 20
#define I386_IOCTL 54

static long i386_call(long number, long first, long second, long third)
{
	long result;

	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static void no_such_entry(int signal)
{
	(void)signal;
	_exit(1);
}

static bool i386_calls_work(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		/* A fault that nobody handles would stand in the kernel's log. */
		signal(SIGSEGV, no_such_entry);
		_exit(i386_call(I386_GETPID, 0, 0, 0) != getpid());
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void *new_low_memory(size_t npages)
{
	void *memory = mmap(NULL, npages * page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT | MAP_POPULATE, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

void test_programs_of_32_bits(void)
{
	int device = open_device(), area;
	struct ksm_kthread_info *info = new_low_memory(1);
	struct ksm_memory_region *region = (void *)(info + 1);
	void *memory = new_low_memory(4);
	long in = (uintptr_t)info, re = (uintptr_t)region;

	if (!i386_calls_work())
		ktap_skip("this kernel runs no 32-bit programs");
	CHECK_EQUAL(i386_call(I386_IOCTL, device, KSM_GET_API_VERSION, 0), 1);
	CHECK_EQUAL(i386_call(I386_IOCTL, device, KSM_GET_INFO_KTHREAD, in), 0);
	CHECK_EQUAL(info->sleep, read_knob("sleep"));
	info->flags = 0;
	CHECK_EQUAL(i386_call(I386_IOCTL, device, KSM_START_STOP_KTHREAD, in), 0);
	info->reserved_bits = 1;
	CHECK_EQUAL(i386_call(I386_IOCTL, device, KSM_START_STOP_KTHREAD, in), -EINVAL);
	CHECK_EQUAL(i386_call(I386_IOCTL, device, _IO(KSMIO, 0x7F), in), -ENOTTY);

	area = i386_call(I386_IOCTL, device, KSM_CREATE_SHARED_MEMORY_AREA, 0);
	CHECK(area >= 0);
	*region = (struct ksm_memory_region){ .npages = 4, .addr = (uintptr_t)memory };
	CHECK_EQUAL(i386_call(I386_IOCTL, area, KSM_REGISTER_MEMORY_REGION, re), 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 4);
	CHECK_EQUAL(i386_call(I386_IOCTL, area, KSM_REMOVE_MEMORY_REGION, 0), 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 0);
	CHECK_EQUAL(i386_call(I386_IOCTL, area, KSM_GET_API_VERSION, 0), -ENOTTY);
}

#else

void test_programs_of_32_bits(void)
{
	ktap_skip("written for x86-64");
}

#endif

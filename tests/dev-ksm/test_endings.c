// SPDX-License-Identifier: GPL-2.0
/*
 * The last close of an area unmerges for whoever lives, and for nobody else: each case counts the copies that are made
 * (cow_ksm of /proc/vmstat).
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

/* 64 MiB of one content. */
#define PAGES 16384
/* Some find no partner: a page is shared max_page_sharing times at most. */
#define MERGED (PAGES - 256)
#define WAIT_SECONDS patience(60)

/* What a child and its parent both see. */
static struct shared {
	unsigned char *memory;
	int area;
	pid_t sharer;
	bool with_sharer;
	atomic_bool close_now;
} *shared;

static long copies(void)
{
	FILE *file = fopen("/proc/vmstat", "r");
	char name[64];
	long value = -1, found = -1;

	CHECK(file);
	while (found < 0 && fscanf(file, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, "cow_ksm"))
			found = value;
	fclose(file);
	CHECK(found >= 0);
	return found;
}

static long merged_pages_of(pid_t pid)
{
	char path[64], name[64];
	long value, found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/ksm_stat", pid);
	file = fopen(path, "r");
	CHECK(file);
	while (fscanf(file, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, "ksm_merging_pages"))
			found = value;
	fclose(file);
	return found;
}

static int wait_for_ever(void *unused)
{
	(void)unused;
	while (pause())
		;
	return 0;
}

/* A process with the caller's memory and copies of the descriptors it has by now. */
static pid_t new_sharer(void)
{
	static char stack[16384] __attribute__((aligned(16)));

	return clone(wait_for_ever, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
}

/* Registers memory, and closes the area when told to. Does not end by itself. */
static void owner(void)
{
	if (shared->with_sharer)
		shared->sharer = new_sharer();
	shared->area = new_area();
	shared->memory = new_memory(PAGES, 0);
	memset(shared->memory, 0x5a, PAGES * page_size);
	CHECK(register_pages(shared->area, shared->memory, PAGES) == 0);
	while (!shared->close_now)
		usleep(1000);
	close(shared->area);
	for (;;)
		pause();
}

static void share(void)
{
	shared = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
}

/* An owner, and the scanner stopped when its memory is merged. With CLONE_FILES in @flags its files are the caller's, too. */
static pid_t merged_owner(int flags)
{
	struct ksm_kthread_info info = { .sleep = 1000, .pages_to_scan = 10000, .flags = ksm_control_flags_run };
	time_t deadline = time(NULL) + WAIT_SECONDS;
	pid_t pid;

	if (!shared)
		share();
	CHECK(write_knob("advisor_mode", "none") == 0);
	CHECK(ioctl(open_device(), KSM_START_STOP_KTHREAD, &info) == 0);
	pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		owner();
	}
	while (merged_pages_of(pid) < MERGED) {
		if (time(NULL) > deadline)
			ktap_fail(__FILE__, __LINE__, "after %d s %ld of %d pages are merged", WAIT_SECONDS,
				  merged_pages_of(pid), PAGES);
		usleep(20000);
	}
	info.flags = 0;
	CHECK(ioctl(open_device(), KSM_START_STOP_KTHREAD, &info) == 0);
	return pid;
}

/* A destination that nobody fills: who copies there waits. */
static unsigned char *endless;
static int endless_fd;

static void make_endless(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	endless_fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	CHECK(endless_fd >= 0);
	CHECK(ioctl(endless_fd, UFFDIO_API, &api) == 0);
	endless = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(endless != MAP_FAILED);
	range.range.start = (uintptr_t)endless;
	range.range.len = page_size;
	CHECK(ioctl(endless_fd, UFFDIO_REGISTER, &range) == 0);
}

static void *hold_memory_of(void *pid)
{
	struct iovec to = { .iov_base = endless, .iov_len = page_size };
	struct iovec from = { .iov_base = shared->memory, .iov_len = page_size };

	process_vm_readv(*(pid_t *)pid, &to, 1, &from, 1, 0);
	return NULL;
}

/* Waits until the one who holds the memory waits. */
static void wait_until_held(void)
{
	struct uffd_msg message;

	CHECK(read(endless_fd, &message, sizeof(message)) == sizeof(message));
	CHECK(message.event == UFFD_EVENT_PAGEFAULT);
}

static void let_go(void)
{
	struct uffdio_zeropage fill = { .range = { .start = (uintptr_t)endless, .len = page_size } };

	CHECK(ioctl(endless_fd, UFFDIO_ZEROPAGE, &fill) == 0);
}

void test_killed_while_its_memory_is_held(void)
{
	pid_t pid = merged_owner(0);
	pthread_t holder;
	long before;
	int status;

	make_endless();
	CHECK(pthread_create(&holder, NULL, hold_memory_of, &pid) == 0);
	wait_until_held();
	before = copies();
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQUAL(copies() - before, 0);
	let_go();
	CHECK(pthread_join(holder, NULL) == 0);
}

/* Kills @pid once its memory is being unmerged, and waits for its end. The number of copies made. */
static long kill_at_work(pid_t pid, long before)
{
	time_t deadline = time(NULL) + WAIT_SECONDS;
	int status;

	while (copies() == before) {
		if (time(NULL) > deadline)
			ktap_fail(__FILE__, __LINE__, "closing the area unmerges nothing");
		sched_yield();
	}
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	return copies() - before;
}

void test_killed_while_it_closes(void)
{
	pid_t pid = merged_owner(0);
	long before = copies(), made;

	shared->close_now = true;
	made = kill_at_work(pid, before);
	ktap_note("%ld of %d pages were copied", made, PAGES);
	CHECK(made < MERGED);
}

static void *close_area(void *unused)
{
	(void)unused;
	CHECK(close(shared->area) == 0);
	return NULL;
}

void test_killed_while_another_closes(void)
{
	pid_t pid = merged_owner(CLONE_FILES);
	long before = copies(), made;
	pthread_t closer;

	CHECK(pthread_create(&closer, NULL, close_area, NULL) == 0);
	made = kill_at_work(pid, before);
	CHECK(pthread_join(closer, NULL) == 0);
	ktap_note("%ld of %d pages were copied", made, PAGES);
	CHECK(made < MERGED);
}

void test_alive_while_another_closes(void)
{
	pid_t pid = merged_owner(CLONE_FILES);
	long before = copies();
	int status;

	close_area(NULL);
	CHECK(copies() - before >= MERGED);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
}

void test_killed_while_another_shares_its_memory(void)
{
	long before;
	int status;
	pid_t pid;

	share();
	shared->with_sharer = true;
	pid = merged_owner(0);
	CHECK(shared->sharer > 0);
	before = copies();
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(copies() - before >= MERGED);
	CHECK(kill(shared->sharer, SIGKILL) == 0);
}

// SPDX-License-Identifier: GPL-2.0
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

static unsigned char *memory;

/* Whoever has the descriptor but not the address space gets nowhere. */
static void foreign_requests_are_refused(int area)
{
	CHECK_ERRNO(register_pages(area, memory, 4), EPERM);
	CHECK_ERRNO(ioctl(area, KSM_REMOVE_MEMORY_REGION), EPERM);
}

static void child_of_fork(void *area)
{
	foreign_requests_are_refused(*(int *)area);
	/* The copied mapping is mergeable like the parent's, and stays so: only the parent's last close would end that. */
	CHECK(close(*(int *)area) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 4);
}

void test_fork_keeps_the_area_to_the_parent(void)
{
	int area = new_area();

	memory = new_memory(4, 1);
	CHECK(register_pages(area, memory, 4) == 0);
	in_child(child_of_fork, &area);
	CHECK_EQUAL(mergeable_pages(memory, 4), 4);
	CHECK(ioctl(area, KSM_REMOVE_MEMORY_REGION) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 0);
}

static void exec_with_area(void *unused)
{
	int area = new_area();
	char number[16];

	(void)unused;
	memory = new_memory(4, 1);
	CHECK(register_pages(area, memory, 4) == 0);
	snprintf(number, sizeof(number), "%d", area);
	execl("/proc/self/exe", "dev_ksm_test", "--after-exec", number, NULL);
	ktap_fail(__FILE__, __LINE__, "cannot exec: %m");
}

int after_exec(int area)
{
	memory = new_memory(4, 1);
	foreign_requests_are_refused(area);
	CHECK(close(area) == 0);
	return 0;
}

void test_exec_ends_the_area(void)
{
	in_child(exec_with_area, NULL);
}

static void send_descriptor(int socket, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec byte = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	CHECK(sendmsg(socket, &message, 0) == 1);
}

static int receive_descriptor(int socket)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char got;
	struct iovec byte = { .iov_base = &got, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fd;

	CHECK(recvmsg(socket, &message, 0) == 1);
	CHECK(CMSG_FIRSTHDR(&message));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

static void create_and_send(void *socket)
{
	int area = new_area();

	memory = new_memory(4, 1);
	CHECK(register_pages(area, memory, 4) == 0);
	send_descriptor(*(int *)socket, area);
}

void test_a_creator_that_exited(void)
{
	int sockets[2], round;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
	memory = new_memory(4, 1);
	for (round = 0; round < 64; round++) {
		int area;

		in_child(create_and_send, &sockets[1]);
		area = receive_descriptor(sockets[0]);
		foreign_requests_are_refused(area);
		CHECK(close(area) == 0);
	}
}

static void *register_from_thread(void *area)
{
	CHECK(register_pages(*(int *)area, memory, 4) == 0);
	return NULL;
}

void test_threads_share_the_area(void)
{
	int area = new_area();
	pthread_t thread;

	memory = new_memory(4, 1);
	CHECK(pthread_create(&thread, NULL, register_from_thread, &area) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 4);
	CHECK(close(area) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 0);
}

void test_open_files_pin_the_module(void)
{
	int before = module_references(), device = open_device(), area;

	CHECK_EQUAL(module_references(), before + 1);
	area = ioctl(device, KSM_CREATE_SHARED_MEMORY_AREA);
	CHECK(area >= 0);
	CHECK_EQUAL(module_references(), before + 2);
	CHECK(close(device) == 0);
	CHECK_EQUAL(module_references(), before + 1);
	CHECK(close(area) == 0);
	CHECK_EQUAL(module_references(), before);
}

int hold(void)
{
	int device = open_device(), area = new_area(), tries;
	struct ksm_kthread_info info = { .flags = ksm_control_flags_run };

	memory = new_memory(4, 1);
	CHECK(register_pages(area, memory, 4) == 0);
	printf("held\n");
	fflush(stdout);
	for (tries = 0; !access("/dev/ksm", F_OK); tries++) {
		CHECK(tries < 600);
		usleep(100000);
	}
	CHECK_ERRNO(ioctl(device, KSM_GET_API_VERSION), ENODEV);
	CHECK_ERRNO(ioctl(device, KSM_CREATE_SHARED_MEMORY_AREA), ENODEV);
	CHECK_ERRNO(ioctl(device, KSM_START_STOP_KTHREAD, &info), ENODEV);
	CHECK_ERRNO(ioctl(device, KSM_GET_INFO_KTHREAD, &info), ENODEV);
	CHECK_ERRNO(ioctl(device, _IO(KSMIO, 0x7F)), ENOTTY);
	CHECK_ERRNO(register_pages(area, memory, 4), ENODEV);
	CHECK_ERRNO(ioctl(area, KSM_REMOVE_MEMORY_REGION), ENODEV);
	CHECK_EQUAL(mergeable_pages(memory, 4), 4);
	printf("refused\n");
	fflush(stdout);
	/* Until the script has seen that the module is pinned. */
	CHECK(getchar() == '\n');
	CHECK(close(device) == 0);
	CHECK(close(area) == 0);
	CHECK_EQUAL(mergeable_pages(memory, 4), 0);
	CHECK(memory_is(memory, 4, 1));
	return 0;
}

#define RACE_PAGES 64
#define RACE_SECONDS 3

static int raced_area;
static atomic_bool race_over;

static void *race_register(void *unused)
{
	unsigned int seed = 1;

	(void)unused;
	while (!race_over) {
		unsigned int at = rand_r(&seed) % RACE_PAGES, count = 1 + rand_r(&seed) % (RACE_PAGES - at);

		if (register_pages(raced_area, memory + at * page_size, count))
			CHECK(errno == ENOMEM);
	}
	return NULL;
}

static void *race_remove(void *unused)
{
	(void)unused;
	while (!race_over)
		CHECK(ioctl(raced_area, KSM_REMOVE_MEMORY_REGION) == 0);
	return NULL;
}

static void *race_map(void *unused)
{
	unsigned int seed = 2;

	(void)unused;
	while (!race_over) {
		unsigned char *page = memory + rand_r(&seed) % RACE_PAGES * page_size;

		CHECK(munmap(page, page_size) == 0);
		CHECK(mmap(page, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
		*page = 1;
	}
	return NULL;
}

void test_races_of_threads(void)
{
	void *(*const racers[])(void *) = { race_register, race_register, race_remove, race_map };
	pthread_t threads[4];
	int i;

	raced_area = new_area();
	memory = new_memory(RACE_PAGES, 1);
	for (i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, racers[i], NULL) == 0);
	sleep(RACE_SECONDS);
	race_over = true;
	for (i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(close(raced_area) == 0);
	CHECK_EQUAL(mergeable_pages(memory, RACE_PAGES), 0);
}

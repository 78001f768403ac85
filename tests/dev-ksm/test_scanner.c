// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests.h"
#include "util.h"

/* An address that no memory is behind. */
#define NOWHERE ((void *)8)

static struct ksm_kthread_info get_info(int device)
{
	struct ksm_kthread_info info;

	memset(&info, 0xFF, sizeof(info));
	CHECK(ioctl(device, KSM_GET_INFO_KTHREAD, &info) == 0);
	CHECK(info.pad == 0);
	CHECK(info.reserved_bits == 0);
	return info;
}

static void start(int device, uint32_t pages_to_scan, uint32_t sleep_us)
{
	struct ksm_kthread_info info = {
		.sleep = sleep_us,
		.pages_to_scan = pages_to_scan,
		.flags = ksm_control_flags_run,
	};

	CHECK(ioctl(device, KSM_START_STOP_KTHREAD, &info) == 0);
}

static void stop(int device)
{
	/* As the original's tool does it: it fills in the flags and nothing else but what must be 0. */
	struct ksm_kthread_info info = { .sleep = 0xAAAA, .pages_to_scan = 0xBBBB, .pad = 0xCCCC };

	CHECK(ioctl(device, KSM_START_STOP_KTHREAD, &info) == 0);
}

static void become_nobody(void)
{
	CHECK(setgid(65534) == 0);
	CHECK(setuid(65534) == 0);
}

static void open_as_nobody(void *unused)
{
	(void)unused;
	become_nobody();
	CHECK_ERRNO(open("/dev/ksm", O_RDWR), EACCES);
	CHECK_ERRNO(open("/dev/ksm", O_RDONLY), EACCES);
}

void test_device_is_roots_alone(void)
{
	struct stat stat_of_it;

	CHECK(stat("/dev/ksm", &stat_of_it) == 0);
	CHECK(S_ISCHR(stat_of_it.st_mode));
	CHECK_EQUAL(stat_of_it.st_mode & 07777, 0600);
	CHECK_EQUAL(stat_of_it.st_uid, 0);
	CHECK_EQUAL(stat_of_it.st_gid, 0);
	in_child(open_as_nobody, NULL);
}

void test_api_version(void)
{
	CHECK_EQUAL(ioctl(open_device(), KSM_GET_API_VERSION), 1);
}

void test_unknown_requests(void)
{
	int device = open_device(), area = new_area();
	unsigned char buffer[64] = { 0 };
	unsigned int nr;

	for (nr = 0; nr < 256; nr++) {
		if (nr > 1)
			CHECK_ERRNO(ioctl(device, _IO(KSMIO, nr), buffer), ENOTTY);
		if (nr != 0x21)
			CHECK_ERRNO(ioctl(area, _IO(KSMIO, nr), buffer), ENOTTY);
	}
	/* Other directions and sizes are other requests, and each kind of file has its own. */
	CHECK_ERRNO(ioctl(device, _IOR(KSMIO, 0x03, struct ksm_kthread_info), buffer), ENOTTY);
	CHECK_ERRNO(ioctl(device, _IOW(KSMIO, 0x03, uint32_t), buffer), ENOTTY);
	CHECK_ERRNO(ioctl(device, KSM_REGISTER_MEMORY_REGION, buffer), ENOTTY);
	CHECK_ERRNO(ioctl(device, KSM_REMOVE_MEMORY_REGION), ENOTTY);
	CHECK_ERRNO(ioctl(area, KSM_GET_API_VERSION), ENOTTY);
	CHECK_ERRNO(ioctl(area, KSM_CREATE_SHARED_MEMORY_AREA), ENOTTY);
	CHECK_ERRNO(ioctl(area, KSM_START_STOP_KTHREAD, buffer), ENOTTY);
	CHECK_ERRNO(ioctl(area, _IOW(KSMIO, 0x20, uint64_t), buffer), ENOTTY);
	CHECK_ERRNO(ioctl(device, _IO(0xAC, 0), buffer), ENOTTY);
	CHECK_ERRNO(read(device, buffer, 1), EINVAL);
	CHECK_ERRNO(write(area, buffer, 1), EINVAL);
}

void test_info_is_what_sysfs_says(void)
{
	int device = open_device();
	struct ksm_kthread_info info = get_info(device);

	CHECK_EQUAL(info.sleep, read_knob("sleep"));
	CHECK_EQUAL(info.pages_to_scan, read_knob("pages_to_scan"));
	CHECK_EQUAL(info.flags, read_knob("run") == 1);
	CHECK_ERRNO(ioctl(device, KSM_GET_INFO_KTHREAD, NOWHERE), EFAULT);
	CHECK_ERRNO(ioctl(device, KSM_GET_INFO_KTHREAD, (void *)-4096L), EFAULT);
	/* Longer than the field can tell. */
	CHECK(write_knob("sleep_millisecs", "4294967295") == 0);
	CHECK_EQUAL(get_info(device).sleep, 4294967295);
}

void test_start_and_stop(void)
{
	int device = open_device();

	CHECK(write_knob("run", "0") == 0);
	start(device, 321, 7654);
	CHECK_EQUAL(read_knob("run"), 1);
	CHECK_EQUAL(read_knob("pages_to_scan"), 321);
	CHECK_EQUAL(read_knob("sleep"), 7654);
	CHECK_EQUAL(read_knob("sleep_millisecs"), 8);
	CHECK_EQUAL(get_info(device).flags, ksm_control_flags_run);

	stop(device);
	CHECK_EQUAL(read_knob("run"), 0);
	CHECK_EQUAL(read_knob("pages_to_scan"), 321);
	CHECK_EQUAL(read_knob("sleep"), 7654);
	CHECK_EQUAL(get_info(device).flags, 0);
}

void test_bad_settings_change_nothing(void)
{
	int device = open_device();
	struct ksm_kthread_info before = get_info(device), after;
	const struct ksm_kthread_info bad[] = {
		{ .sleep = 1, .pages_to_scan = 1, .flags = 2 },
		{ .sleep = 1, .pages_to_scan = 1, .flags = 3 },
		{ .sleep = 1, .pages_to_scan = 1, .flags = 0x80000001 },
		{ .sleep = 1, .pages_to_scan = 1, .flags = 1, .reserved_bits = 1 },
		{ .sleep = 1, .pages_to_scan = 1, .flags = 1, .reserved_bits = 1ULL << 63 },
		{ .flags = 0, .reserved_bits = 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_ERRNO(ioctl(device, KSM_START_STOP_KTHREAD, &bad[i]), EINVAL);
	CHECK_ERRNO(ioctl(device, KSM_START_STOP_KTHREAD, NULL), EFAULT);
	CHECK_ERRNO(ioctl(device, KSM_START_STOP_KTHREAD, NOWHERE), EFAULT);
	after = get_info(device);
	CHECK(!memcmp(&before, &after, sizeof(before)));
}

void test_the_advisor_keeps_its_pages(void)
{
	int device = open_device();
	struct ksm_kthread_info info = { .flags = ksm_control_flags_run, .sleep = 1234 };

	CHECK(write_knob("run", "0") == 0);
	CHECK(write_knob("advisor_mode", "scan-time") == 0);
	info.pages_to_scan = read_knob("pages_to_scan") + 1;
	CHECK_ERRNO(ioctl(device, KSM_START_STOP_KTHREAD, &info), EINVAL);
	CHECK_EQUAL(read_knob("run"), 0);
	info.pages_to_scan--;
	CHECK(ioctl(device, KSM_START_STOP_KTHREAD, &info) == 0);
	CHECK_EQUAL(read_knob("run"), 1);
	CHECK_EQUAL(read_knob("sleep"), 1234);
	stop(device);
	CHECK_EQUAL(read_knob("run"), 0);
	CHECK(write_knob("advisor_mode", "none") == 0);
}

static void start_as_nobody(void *device)
{
	struct ksm_kthread_info info = { .flags = ksm_control_flags_run, .pages_to_scan = 100 };

	become_nobody();
	CHECK_ERRNO(ioctl(*(int *)device, KSM_START_STOP_KTHREAD, &info), EPERM);
	info.flags = 0;
	CHECK_ERRNO(ioctl(*(int *)device, KSM_START_STOP_KTHREAD, &info), EPERM);
	/* Looking and registering need no more than the open file. */
	CHECK(ioctl(*(int *)device, KSM_GET_INFO_KTHREAD, &info) == 0);
	CHECK(ioctl(*(int *)device, KSM_CREATE_SHARED_MEMORY_AREA) >= 0);
}

void test_start_needs_the_capability(void)
{
	int device = open_device();

	in_child(start_as_nobody, &device);
}

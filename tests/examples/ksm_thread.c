// SPDX-License-Identifier: GPL-2.0
/*
 * ksm_thread start PAGES SLEEP | stop | info: steers the merging thread through /dev/ksm.
 *
 * The first of the two example programs that came with the driver of 2009, written anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ksm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int usage(void)
{
	fprintf(stderr,
		"usage: ksm_thread start PAGES SLEEP   visit PAGES pages, sleep SLEEP microseconds, and so on\n"
		"       ksm_thread stop                rest; what is merged stays merged\n"
		"       ksm_thread info                show the settings\n");
	return 2;
}

/* A number of 32 bits, or the program ends. */
static __u32 number(const char *what, const char *text)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > 0xFFFFFFFF) {
		fprintf(stderr, "ksm_thread: %s '%s' is not a number from 0 to 4294967295\n", what, text);
		exit(2);
	}
	return value;
}

static int request(unsigned long number_of_it, struct ksm_kthread_info *info, const char *what)
{
	int device = open("/dev/ksm", O_RDWR);

	if (device < 0) {
		fprintf(stderr, "ksm_thread: cannot open /dev/ksm: %m. Is swapksm loaded, and are you root?\n");
		return 1;
	}
	if (ioctl(device, number_of_it, info)) {
		fprintf(stderr, "ksm_thread: cannot %s the merging thread: %m%s\n", what,
			errno == EINVAL ? " (the advisor sets PAGES now: see advisor_mode in /sys/kernel/mm/ksm)" : "");
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ksm_kthread_info info;

	memset(&info, 0, sizeof(info));
	if (argc == 4 && !strcmp(argv[1], "start")) {
		info.pages_to_scan = number("PAGES", argv[2]);
		info.sleep = number("SLEEP", argv[3]);
		info.flags = ksm_control_flags_run;
		return request(KSM_START_STOP_KTHREAD, &info, "start");
	}
	if (argc == 2 && !strcmp(argv[1], "stop"))
		return request(KSM_START_STOP_KTHREAD, &info, "stop");
	if (argc == 2 && !strcmp(argv[1], "info")) {
		if (request(KSM_GET_INFO_KTHREAD, &info, "ask"))
			return 1;
		printf("%s, %u pages, then %u microseconds of sleep\n",
		       info.flags & ksm_control_flags_run ? "running" : "stopped", info.pages_to_scan, info.sleep);
		return 0;
	}
	return usage();
}

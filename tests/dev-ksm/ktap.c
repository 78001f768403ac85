// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ktap.h"

enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

/* Seconds a test may take. */
#define LIMIT 120

static void line(const char *prefix, const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	printf("# %s%s\n", prefix, text);
	fflush(stdout);
}

void ktap_note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line("", format, args);
	va_end(args);
}

void ktap_fail(const char *file, int at, const char *format, ...)
{
	char prefix[128];
	va_list args;

	snprintf(prefix, sizeof(prefix), "%s:%d: ", file, at);
	va_start(args, format);
	line(prefix, format, args);
	va_end(args);
	_exit(FAILED);
}

void ktap_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	line("skipped: ", format, args);
	va_end(args);
	_exit(SKIPPED);
}

int patience(int seconds)
{
	/* Files of lockdep, kmemleak, KCSAN, as in tests/guest/src/slow.rs. */
	static const char *const signs[] = {
		"/proc/lockdep_stats", "/sys/kernel/debug/kmemleak", "/sys/kernel/debug/kcsan",
	};

	for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (access(signs[i], F_OK) == 0)
			return 6 * seconds;
	return seconds;
}

static int run_one(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == -1)
		return FAILED;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(patience(LIMIT));
		test->run();
		_exit(PASSED);
	}
	if (waitpid(pid, &status, 0) != pid)
		return FAILED;
	if (WIFSIGNALED(status)) {
		ktap_note("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
		return FAILED;
	}
	return WEXITSTATUS(status);
}

int ktap_run(const struct test *tests, int count, const char *only)
{
	int i, number = 0, planned = 0, failed = 0;

	for (i = 0; i < count; i++)
		planned += !only || strstr(tests[i].name, only);
	printf("KTAP version 1\n1..%d\n", planned);
	for (i = 0; i < count; i++) {
		int result;

		if (only && !strstr(tests[i].name, only))
			continue;
		result = run_one(&tests[i]);
		failed += result != PASSED && result != SKIPPED;
		printf("%s %d %s%s\n", result == PASSED || result == SKIPPED ? "ok" : "not ok", ++number,
		       tests[i].name, result == SKIPPED ? " # SKIP" : "");
	}
	if (!planned)
		fprintf(stderr, "dev_ksm_test: no test has '%s' in its name\n", only);
	return failed || !planned;
}

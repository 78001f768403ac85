/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Test results in the kernel's format (KTAP).
 *
 * A test is a function that returns when it passes. The macros below end it early otherwise. Each test runs in a
 * process of its own, so nothing it leaves behind reaches the next one, and a crash is its failure alone.
 */
#ifndef KTAP_H
#define KTAP_H

struct test {
	const char *name;
	void (*run)(void);
};

/* Runs those of @tests whose name contains @only (all if NULL). The exit code of the program. */
int ktap_run(const struct test *tests, int count, const char *only);

/* Ends the running test. */
void ktap_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void ktap_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A line of diagnosis. */
void ktap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			ktap_fail(__FILE__, __LINE__, "%s (errno %m)", #condition); \
	} while (0)

/* @seconds, a time limit of a stock kernel's, or six times as long on one that checks every access, lock or object. */
int patience(int seconds);

/* @call must fail with @error. */
#define CHECK_ERRNO(call, error) \
	do { \
		errno = 0; \
		long result_ = (call); \
		if (result_ != -1 || errno != (error)) \
			ktap_fail(__FILE__, __LINE__, "%s gave %ld (%s), not %s", #call, result_, \
				  result_ == -1 ? strerrorname_np(errno) : "no error", #error); \
	} while (0)

/* Two numbers must be equal. */
#define CHECK_EQUAL(left, right) \
	do { \
		long left_ = (left), right_ = (right); \
		if (left_ != right_) \
			ktap_fail(__FILE__, __LINE__, "%s is %ld, %s is %ld", #left, left_, #right, right_); \
	} while (0)

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * merge_any COMMAND [ARG]...: runs a command all of whose memory, and that of whatever it starts, is mergeable.
 * So a test that knows nothing of samepage merging becomes one for it.
 */
#include <err.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

int main(int argc, char **argv)
{
	if (argc < 2)
		errx(125, "usage: merge_any COMMAND [ARG]...");
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))
		err(125, "prctl(PR_SET_MEMORY_MERGE)");
	execvp(argv[1], argv + 1);
	err(125, "cannot run %s", argv[1]);
}

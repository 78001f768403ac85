// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's make-believe device with memory of its own (lib/test_hmm.c), which Debian's kernels do not have as a module.
 */
#include "lib/test_hmm.c"

# SPDX-License-Identifier: GPL-2.0
# Who may know whom in the module, and where unsafe code may stand: the rules are in the file `layers`.

LAYERS=$REPO/tools/lib/lint/layers

layering() {
	local rc=0
	perl "$REPO/tools/lib/lint/layers.pl" "$LAYERS" "${module_rust[@]}" >"$WORK/layers" || rc=1
	counted "$(tail -n 1 "$WORK/layers")"
	sed '$d' "$WORK/layers"
	return $rc
}

# Kernel versions are told apart in one header; no other file may ask.
versions() {
	local found
	found=$(grep -nE '\b(LINUX_VERSION_CODE|KERNEL_VERSION|LINUX_VERSION_MAJOR|LINUX_VERSION_PATCHLEVEL|UTS_RELEASE)\b' \
		"${shims[@]}" "${module_rust[@]}" Kbuild | grep -v '^shims/compat\.h:' || true)
	counted "$(grep -cE '^#(if|elif).*VERSION' shims/compat.h) tests of the version, all in shims/compat.h"
	[ -z "$found" ] || { printf 'tests of the kernel version outside shims/compat.h:\n%s\n' "$found"; return 1; }
}

# SPDX-License-Identifier: GPL-2.0
# C by the kernel's checkpatch, shell by shellcheck, words by codespell, and a licence line in every source.

style_c() {
	local kernel programs found accepted stale rc=0
	# The lines may be 120 columns wide. Not for us: tests of the version (shims/compat.h is there for them), declarations
	# of what Rust defines; for programs also macros that only the kernel's headers have.
	mapfile -t kernel < <(printf '%s\n' "${c_sources[@]}" | grep -vE '^tests/(dev-ksm|examples)/')
	mapfile -t programs < <(printf '%s\n' "${c_sources[@]}" | grep -E '^tests/(dev-ksm|examples)/')
	checkpatch LINUX_VERSION_CODE,CONSTANT_COMPARISON,AVOID_EXTERNS "${kernel[@]}" >"$WORK/checkpatch"
	checkpatch PREFER_DEFINED_ATTRIBUTE_MACRO,ARRAY_SIZE,EMBEDDED_FUNCTION_NAME "${programs[@]}" >>"$WORK/checkpatch"
	# What is accepted, with its reason; an entry that fits nothing any more has to go.
	accepted=$(sed 's/#.*//' "$REPO/tools/lib/lint/checkpatch.accepted" | awk 'NF { print $1, $2 }')
	found=$(sed -E 's/^([^:]*):[0-9]+: [A-Z]+:([A-Z_]+):.*/\1 \2/' "$WORK/checkpatch" | sort -u)
	stale=$(comm -13 <(printf '%s\n' "$found") <(sort -u <<<"$accepted"))
	[ -z "$stale" ] || { printf 'accepted, but not there any more (tools/lib/lint/checkpatch.accepted):\n%s\n' "$stale"; rc=1; }
	awk 'NR == FNR { ok[$1 " " $2] = 1; next } { split($0, part, ":"); if (!((part[1] " " part[4]) in ok)) { print; bad = 1 } } END { exit bad }' \
		<(printf '%s\n' "$accepted") "$WORK/checkpatch" || rc=1
	counted "${#kernel[@]} files of the module, ${#programs[@]} of programs; $(grep -c . <<<"$accepted") findings accepted"
	return $rc
}

# checkpatch TYPES-LEFT-OUT FILE…
checkpatch() {
	local leave_out=$1
	shift
	in_tree perl "$KERNELS/$KREL/build/scripts/checkpatch.pl" --no-tree --no-summary --terse --show-types --max-line-length=120 \
		--ignore "$leave_out" --file "$@"
}

style_shell() {
	counted "${#scripts[@]} scripts, ${#script_parts[@]} parts of scripts"
	# A script for the host names the parts it sources by variables, so shellcheck sees each file alone and not what others
	# set or use of it (SC1090, SC1091, SC2034, SC2154); all of them run under `set -eu`, which catches a name that nobody
	# sets and a cd that fails (SC2164). `name= other=` empties a variable on purpose (SC1007).
	local left_out=SC1090,SC1091,SC2034,SC2154,SC2164,SC1007 guest_scripts host_scripts rc=0
	mapfile -t guest_scripts < <(grep -lE '^#!/bin/sh' "${scripts[@]}")
	mapfile -t host_scripts < <(grep -LE '^#!/bin/sh' "${scripts[@]}")
	in_tree shellcheck -S warning -e SC1007 "${guest_scripts[@]}" || rc=1
	in_tree shellcheck -S warning -e "$left_out" "${host_scripts[@]}" || rc=1
	in_tree shellcheck -s bash -S warning -e "$left_out" "${script_parts[@]}" || rc=1
	return $rc
}

spelling() {
	local files
	mapfile -t files < <(git ls-files -co --exclude-standard | grep -vE '(^|/)Cargo\.lock$|\.(svg|png)$' | while read -r f; do [ ! -f "$f" ] || echo "$f"; done)
	counted "${#files[@]} files"
	in_tree codespell --ignore-words "$REPO/tools/lib/lint/words" "${files[@]}"
}

licences() {
	local file rc=0
	for file in "${module_rust[@]}" "${programs_rust[@]}" "${c_sources[@]}" "${scripts[@]}" "${script_parts[@]}"; do
		head -n 3 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0' || { echo "$file: no SPDX line in its head"; rc=1; }
	done
	counted "$((${#module_rust[@]} + ${#programs_rust[@]} + ${#c_sources[@]} + ${#scripts[@]} + ${#script_parts[@]})) files"
	return $rc
}

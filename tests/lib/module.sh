# SPDX-License-Identifier: GPL-2.0
# Kernel modules of the tests' own.

# test_module FOLDER [KERNEL]: builds the folder's module for a prepared kernel; prints its path
test_module() {
	local folder=$1 build krel out made
	local which=(${2:+--kernel "$2"})
	krel=$("$REPO/tools/prepare" "${which[@]}" --print KREL)
	build=$("$REPO/tools/prepare" "${which[@]}" --print build)
	out=$("$REPO/tools/prepare" "${which[@]}" --print out)/$(basename "$folder")
	made=$(sed -n 's/^obj-m := \(.*\)\.o$/\1.ko/p' "$folder/Kbuild")
	mkdir -p "$out"
	(
		use_suite "$(suite_of "$krel")"
		in_tree make -s -C "$build" M="$folder" MO="$out" modules >"$out/build.log" 2>&1 </dev/null
	) || {
		sed 's/^/# /' "$out/build.log" >&2
		die "$made, a module of the tests, does not build for $krel" "the errors are above"
	}
	printf '%s\n' "$out/$made"
}

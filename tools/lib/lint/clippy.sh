# SPDX-License-Identifier: GPL-2.0
# clippy, and the compilers' own warnings. Both want a SAFETY comment at every unsafe block, and a reason at every allow.
# The settings make an error of each warning: one that only warned would be silent in the next run, since what was
# compiled is not compiled again.

# What we ask for beyond clippy's default. clippy 1.85 alone counts shifts beside bit operators under `precedence`; the
# kernel turns it off for that reason, and so do we.
CLIPPY_LINTS=(-D warnings -D clippy::undocumented_unsafe_blocks -D clippy::missing_safety_doc
	-D clippy::unnecessary_safety_comment -D clippy::allow_attributes_without_reason -A clippy::precedence)

clippy_programs() {
	local manifest rc=0
	for manifest in "${manifests[@]}"; do
		fetch_crates "$REPO/$manifest"
		in_cargo clippy --quiet --locked --offline --keep-going --all-targets --target "$RUST_TARGET" \
			--manifest-path "$manifest" -- "${CLIPPY_LINTS[@]}" || rc=1
	done
	counted "$(find tools tests kmod -name Cargo.toml -exec grep -l '^name = ' {} + | wc -l) packages, $(unsafe_in "${programs_rust[@]}") unsafe"
	return $rc
}

# build_strictly KREL OBJECTS DEBUG ARGS…: the module, any warning an error
build_strictly() {
	local krel=$1 objects=$2 debug=$3 output
	shift 3
	mkdir -p "$objects"
	output=$(use_suite "$(suite_of "$krel")" && in_tree nice -n 5 make -s -j2 --no-print-directory -C "$KERNELS/$krel/build" M="$REPO" MO="$objects" \
		KBUILD_MODPOST_WARN=1 KCFLAGS=-Werror CONFIG_OBJTOOL_WERROR=y SWAPKSM_VENDOR="$SWAPKSM_VENDOR" SWAPKSM_DEBUG="$debug" \
		"$@" modules 2>&1 </dev/null) || {
		printf 'for %s, SWAPKSM_DEBUG=%s:\n' "$krel" "$debug"
		build_remarks <<<"$output"
		return 1
	}
	# What only warns all the same.
	output=$(build_remarks <<<"$output")
	[ -z "$output" ] || { printf 'for %s, SWAPKSM_DEBUG=%s:\n%s\n' "$krel" "$debug" "$output"; return 1; }
}

# The kernel's own choice of lints (its top Makefile and .clippy.toml), through Kbuild.
clippy_module() {
	local debug rc=0
	vendor_crates
	for debug in 0 1; do
		build_strictly "$KREL" "$CACHE/out/$KREL/lint/clippy$debug" "$debug" CLIPPY=1 \
			KRUSTFLAGS='-Dwarnings -Wclippy::allow_attributes_without_reason -Wclippy::significant_drop_in_scrutinee' || rc=1
	done
	grep -q undocumented_unsafe_blocks "$KERNELS/$KREL/build/Makefile" || {
		echo "the kernel no longer asks for SAFETY comments; tools/lib/lint/clippy.sh has to"
		rc=1
	}
	counted "$(find kmod -name '*.rs' | wc -l) files, with and without self-check, $(find kmod -name '*.rs' -exec cat {} + | unsafe_in) unsafe"
	return $rc
}

# As the module is really built (clippy compiles without some optimisations), for each stock kernel in the cache.
warnings_module() {
	local krel debug kernels='' rc=0
	vendor_crates
	for krel in "$KERNELS"/[0-9]*/build/.config; do
		krel=${krel%/build/.config}
		krel=${krel##*/}
		kernels="$kernels${kernels:+, }${krel%%+*}"
		for debug in 0 1; do
			build_strictly "$krel" "$CACHE/out/$krel/lint/build$debug" "$debug" KRUSTFLAGS=-Dwarnings || rc=1
		done
	done
	counted "$(find shims -name '*.c' | wc -l) C files and the crate for $kernels, with and without self-check"
	return $rc
}

# unsafe_in [FILE…]: how often it stands there as code
unsafe_in() { sed -E 's,//.*,,' "$@" | grep -oE '\bunsafe\b' | wc -l; }

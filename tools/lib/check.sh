# SPDX-License-Identifier: GPL-2.0
# Is this a kernel that swapksm can work on, and does our Rust metadata match it?

# Options a kernel must have, and why.
WANTED_OPTIONS="RUST:the module is written in Rust
LIVEPATCH:mm/ksm.c is taken over by a live patch
KSM:there must be a samepage merging to take over
KALLSYMS_ALL:unexported data is resolved through kallsyms
MMU_NOTIFIER:page pointers are kept true by mmu notifiers
MEMCG:memory that is kept for a process is charged to its cgroup"

# check_options KREL CONFIG
check_options() {
	local krel=$1 config=$2 option why bad=
	while IFS=: read -r option why; do
		grep -q "^CONFIG_$option=y$" "$config" || bad="$bad CONFIG_$option=y ($why);"
	done <<<"$WANTED_OPTIONS"
	! grep -q '^CONFIG_MODVERSIONS=y$' "$config" || bad="$bad CONFIG_MODVERSIONS off (its checksums cannot be rebuilt from source);"
	[ -z "$bad" ] || die "kernel $krel cannot run swapksm, it lacks:$bad" "choose another kernel with --kernel VERSION"
}

options_set() { grep -E '^CONFIG_' "$1" | grep -vE '^CONFIG_(CC_VERSION_TEXT|BINDGEN_VERSION_TEXT|PAHOLE_VERSION)=' | sort; }

# A toolchain that differs from the kernel's makes Kconfig change or drop options: then nothing built would fit.
check_options_kept() {
	local krel=$1 changed
	changed=$(diff <(options_set "$2") <(options_set "$3") | grep '^[<>]' | head -n 3 | tr '\n' ' ' || true)
	[ -z "$changed" ] || die "the toolchain does not fit kernel $krel, its configuration changed: $changed" \
		"the kernel (<) was built by other compiler packages than the build tree has (>): remove $TREE so that it is made anew, or choose another kernel with --kernel VERSION"
}

# Rust symbols carry a hash of crate and compiler: only with the hashes the running kernel exports does a module load.
check_metadata() {
	local krel=$1 build=$2 kernels ours wanted missing
	kernels=$(awk -F '\t' '$3 == "vmlinux" && $2 ~ /^_R/ { print $2 }' "$build/Module.symvers" | sort -u)
	ours=$(cd "$build" && in_tree sh -c 'find rust -name "*.o" -exec nm --defined-only {} + 2>/dev/null' | awk '$3 ~ /^_R/ { print $3 }' | sort -u)
	wanted=$(grep -c . <<<"$kernels" || true)
	missing=$(comm -23 <(printf '%s\n' "$kernels") <(printf '%s\n' "$ours") | grep -c . || true)
	[ "$wanted" -gt 0 ] || die "kernel $krel exports no Rust symbols" "choose another kernel with --kernel VERSION"
	# A handful of statics are placed by the linker alone; a differing hash shows in hundreds of names.
	[ $((missing * 100)) -le "$wanted" ] ||
		die "Rust metadata mismatch: $missing of the $wanted Rust symbols that kernel $krel exports differ from those built here, the module would not load" \
			"kernel: $(grep -oE '"rustc [^"]*"' "$build/.config"), here: $(in_tree rustc --version); remove $TREE so that it is made anew, or choose another kernel with --kernel VERSION"
	say "Rust metadata of $krel: $((wanted - missing)) of $wanted exported symbols identical"
}

# The proof: a Rust module with a shim that reads mm/internal.h builds, and names the stock kernel as its own.
trial_module() {
	local krel=$1 part=$2 vermagic stock
	rm -rf "$part/trial"
	cp -r "$REPO/tools/kernel/trial" "$part/trial"
	kmake "$part/build" M="$part/trial" modules
	vermagic=$(in_tree modinfo -F vermagic "$part/trial/trial.ko")
	stock=$(in_tree modinfo -F vermagic "$(find "$part/modules/kernel" -name '*.ko*' -print -quit)")
	[ "$vermagic" = "$stock" ] || { echo "error: the trial module says '$vermagic', the kernel's own say '$stock'"; return 1; }
	rm -rf "$part/trial"
}

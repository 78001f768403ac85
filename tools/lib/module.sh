# SPDX-License-Identifier: GPL-2.0
# swapksm.ko for one prepared kernel: Kbuild links it, klp-link makes livepatch symbols of what the kernel does not export.

# The kernel's own symbol table, read out of its image: Debian's System.map is a stub.
make_system_map() {
	local dir=$1
	[ "$(head -n 2 "$dir/System.map" 2>/dev/null | wc -l)" -lt 2 ] || return 0
	"$BIN/klp-link" symbols "$dir/vmlinuz" "$dir/System.map.part" >&2 ||
		die "cannot read the symbols of $dir/vmlinuz" "remove $dir and run tools/prepare again"
	mv "$dir/System.map.part" "$dir/System.map"
}

# Names that stand more than once in the kernel, and a symbol of the file whose one is meant.
klp_picks() {
	local name anchor
	[ -e "$REPO/shims/klp.picks" ] || return 0
	while read -r name anchor _; do
		case $name in "" | "#"*) continue ;; esac
		printf -- '--pick\n%s=%s\n' "$name" "$anchor"
	done <"$REPO/shims/klp.picks"
}

# What the kernel's build says that is worth reading: modpost warns of every symbol that klp-link is there for.
build_remarks() {
	sed -uE '/WARNING: modpost: .* undefined!$/d; /WARNING: modpost: suppressed [0-9]+ unresolved/d
		/^Skipping BTF generation/d; /^make(\[|: (Entering|Leaving))/d'
}

# build_module [KERNEL]
build_module() {
	local krel dir out picks
	krel=$("$REPO/tools/prepare" ${1:+--kernel "$1"} --print KREL)
	dir=$KERNELS/$krel
	out=$CACHE/out/$krel
	if [ "${SWAPKSM_COVERAGE:-0}" = 1 ]; then
		SWAPKSM_DEBUG=1 out=$out/coverage
	elif debug_flavour "$krel" >/dev/null; then
		SWAPKSM_DEBUG=1
	elif [ "${SWAPKSM_DEBUG:-0}" = 1 ]; then
		out=$out/debug
	fi
	mkdir -p "$out/obj"
	exec 7>"$out/.lock"
	flock 7
	build_tools klp-link
	make_system_map "$dir"
	vendor_crates
	use_suite "$(suite_of "$krel")"
	in_tree nice -n 5 make -j2 --no-print-directory -C "$dir/build" M="$REPO" MO="$out/obj" \
		KBUILD_MODPOST_WARN=1 SWAPKSM_VENDOR="$SWAPKSM_VENDOR" SWAPKSM_DEBUG="${SWAPKSM_DEBUG:-0}" \
		SWAPKSM_COVERAGE="${SWAPKSM_COVERAGE:-0}" modules 2>&1 </dev/null |
		build_remarks >&2 ||
		die "the module does not build for $krel (the errors are above)" "mend the file they name, then run make module again"
	mapfile -t picks < <(klp_picks)
	"$BIN/klp-link" link --system-map "$dir/System.map" --symvers "$dir/build/Module.symvers" "${picks[@]}" \
		"$out/obj/swapksm.ko" "$out/swapksm.ko.part" >&2 ||
		die "the module cannot be linked for $krel (klp-link says why above)" "a symbol this kernel lacks needs a shim for it"
	mv "$out/swapksm.ko.part" "$out/swapksm.ko"
	! debug_flavour "$krel" >/dev/null || [ "${SWAPKSM_COVERAGE:-0}" = 1 ] || { mkdir -p "$out/debug" && ln -f "$out/swapksm.ko" "$out/debug/swapksm.ko"; }
	flock -u 7
	use_suite trixie
	say "$out/swapksm.ko"
}

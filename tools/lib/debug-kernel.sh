# SPDX-License-Identifier: GPL-2.0
# The debug kernel: the same source as a stock kernel, with KASAN, lockdep and other checkers (tools/kernel/debug.config),
# laid out like a stock one under kernel/debug-VERSION.

DEBUG_PACKAGES="clang-19"

# What the fragment asks for and the configuration does not have: merge_config drops such options with a mere warning.
options_dropped() {
	local line name
	while read -r line; do
		name=${line%%=*}
		case $line in
		CONFIG_PROC_SYSCTL=y) grep -qE '^CONFIG_(PROC_)?SYSCTL=y$' "$2" || printf '%s ' "$line" ;;
		*=n) ! grep -qE "^$name=[ym]$" "$2" || printf '%s ' "$line" ;;
		CONFIG_*) grep -qxF "$line" "$2" || printf '%s ' "$line" ;;
		esac
	done <"$1"
}

configure_debug() {
	local build=$1
	cat >"$build/.kernelvariables" <<-'END'
		override ARCH = x86
		CC = clang-19
		HOSTCC = gcc-14
		KBUILD_BUILD_TIMESTAMP = 1970-01-01
	END
	printf -- '-swapksm-debug\n' >"$build/localversion-debug"
	cd "$build"
	in_tree scripts/kconfig/merge_config.sh -n "$REPO/tools/kernel/debug.config"
	cp "$REPO/tools/kernel/debug.config" "$build/.swapksm-fragment"
}

debug_progress() { printf '%s steps of about 1960, %s' "$(wc -l <"$1")" "$(tail -n 1 "$1" | sed 's/^ *//' | cut -c 1-50)"; }

build_debug() {
	local part=$1
	in_tree nice -n 19 make -C "$part/build" -j2 bzImage modules
	rm -rf "${part:?}/lib" "$part/modules"
	in_tree make -C "$part/build" INSTALL_MOD_PATH="$part" modules_install
	mv "$part"/lib/modules/* "$part/modules"
	rm -rf "${part:?}/lib" "$part/modules/build" "$part/modules/source"
	cp "$part/build/arch/x86/boot/bzImage" "$part/vmlinuz"
	cp "$part/build/System.map" "$part/System.map"
	: >"$part/.build"
}

# prepare_debug KREL VERSION: the debug kernel from the source of this stock kernel's packages
prepare_debug() {
	local krel=$1 version=$2 name part dropped
	name=debug-${krel%%+*}
	part=$KERNELS/$name.part
	# One of an older fragment is the start of the new one: make rebuilds what the options changed.
	[ -e "$part" ] || [ ! -e "$KERNELS/$name/build" ] || mv "$KERNELS/$name" "$part"
	mkdir -p "$part"
	need_space "$part" 4000 "the debug kernel"
	[ -e "$part/build" ] || long "kernel source for $name" source_progress unpack_source "$krel" "$version" "$part"
	if ! cmp -s "$REPO/tools/kernel/debug.config" "$part/build/.swapksm-fragment"; then
		long "configuration of $name" - configure_debug "$part/build"
		rm -f "$part/.build"
	fi
	dropped=$(options_dropped "$REPO/tools/kernel/debug.config" "$part/build/.config")
	[ -z "$dropped" ] || die "$name: the configuration lost $dropped" \
		"another option they depend on changed in this kernel version: correct tools/kernel/debug.config"
	check_options "$name" "$part/build/.config"
	[ -e "$part/.build" ] || long "build of $name (10 minutes on two free cores)" debug_progress build_debug "$part"
	long "trial module for $name" - trial_module "$name" "$part"
	install_kernel "$name"
}

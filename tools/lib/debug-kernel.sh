# SPDX-License-Identifier: GPL-2.0
# Kernels with checkers, built from the same source as a stock kernel and laid out like one under kernel/FLAVOUR-VERSION:
# debug (KASAN, lockdep and others) and kcsan (data races). Their options: tools/kernel/base.config and FLAVOUR.config.

DEBUG_PACKAGES="clang-19"

# debug_fragment FLAVOUR: all options that it is made of
debug_fragment() { cat "$REPO/tools/kernel/base.config" "$REPO/tools/kernel/$1.config"; }

# debug_is_current NAME BUILD: was it built of the options that stand there now?
debug_is_current() { cmp -s <(debug_fragment "$(debug_flavour "$1")") "$2/.swapksm-fragment"; }

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
	local flavour=$1 build=$2
	cat >"$build/.kernelvariables" <<-'END'
		override ARCH = x86
		CC = clang-19
		HOSTCC = gcc-14
		KBUILD_BUILD_TIMESTAMP = 1970-01-01
	END
	printf -- '-swapksm-%s\n' "$flavour" >"$build/localversion-debug"
	cd "$build"
	debug_fragment "$flavour" >"$build/.swapksm-fragment.part"
	in_tree scripts/kconfig/merge_config.sh -n .swapksm-fragment.part
	mv "$build/.swapksm-fragment.part" "$build/.swapksm-fragment"
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

# prepare_debug FLAVOUR KREL VERSION: such a kernel from the source of this stock kernel's packages
prepare_debug() {
	local flavour=$1 krel=$2 version=$3 name part dropped
	name=$flavour-${krel%%+*}
	part=$KERNELS/$name.part
	# One of an older fragment is the start of the new one: make rebuilds what the options changed.
	[ -e "$part" ] || [ ! -e "$KERNELS/$name/build" ] || mv "$KERNELS/$name" "$part"
	mkdir -p "$part"
	need_space "$part" 4000 "the $flavour kernel"
	[ -e "$part/build" ] || long "kernel source for $name" source_progress unpack_source "$krel" "$version" "$part"
	if ! debug_is_current "$name" "$part/build"; then
		long "configuration of $name" - configure_debug "$flavour" "$part/build"
		rm -f "$part/.build"
	fi
	dropped=$(options_dropped "$part/build/.swapksm-fragment" "$part/build/.config")
	[ -z "$dropped" ] || die "$name: the configuration lost $dropped" \
		"another option they depend on changed in this kernel version: correct tools/kernel/base.config or $flavour.config"
	check_options "$name" "$part/build/.config"
	[ -e "$part/.build" ] || long "build of $name (10 minutes on two free cores)" debug_progress build_debug "$part"
	long "trial module for $name" - trial_module "$name" "$part"
	install_kernel "$name"
}

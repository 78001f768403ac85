# SPDX-License-Identifier: GPL-2.0
# The build tree: Debian 13's toolchain, in a chroot of the cache or, on a Debian 13 host, the host itself; and for kernels
# of sid, which sid's compilers have built, one with those.

HOST_RELEASE=$(. /etc/os-release && printf '%s %s' "${ID:-}" "${VERSION_ID:-}")

# use_suite trixie|sid: whose toolchain in_tree has from now on
use_suite() {
	local compilers
	SUITE=$1
	case $SUITE in
	trixie) TREE=$CACHE/tree compilers='gcc-14 libclang-19-dev' ;;
	sid) TREE=$CACHE/tree-sid compilers='gcc-16 libclang-dev' ;;
	esac
	TOOLCHAIN="$compilers libc6-dev make rustc rust-src rustfmt rust-clippy cargo bindgen flex bison bc perl
		libelf-dev libssl-dev zlib1g-dev dwarves kmod cpio xz-utils zstd python3 busybox-static ca-certificates"
}
use_suite trixie
# A mirror that is a snapshot has lists that were valid once.
LISTS_EXPIRE=$([ "${SWAPKSM_STALE_LISTS:-}" = 1 ] && echo false || echo true)

# suite_of KREL: where a kernel comes from
suite_of() {
	case $1 in
	*+deb13-*) echo trixie ;;
	*) debug_flavour "$1" >/dev/null && echo trixie || echo sid ;;
	esac
}

# The kernel's Rust metadata needs the very compiler that built the kernel, so nothing but its own suite's will do.
host_is_tree() {
	[ "$HOST_RELEASE $SUITE" = "debian 13 trixie" ]
}

# in_tree COMMAND…: in the current directory, output and exit code are the command's. Mounts live in a namespace of
# their own and end with it.
in_tree() {
	export CARGO_HOME=$CACHE/cargo
	if host_is_tree; then
		# Debian's compilers, whatever else is installed: the kernel was built by these.
		env -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
		return
	fi
	[ "$(id -u)" = 0 ] || die "the build tree is a chroot, which needs root" "run it again as root, for instance with sudo"
	unshare --mount --propagation private bash "$REPO/tools/lib/enter-tree.sh" "$TREE" "$CACHE" "$REPO" "$@"
}

# missing_packages PACKAGE…: those the tree does not have installed
missing_packages() {
	local status p
	status=$(in_tree dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' "$@" 2>/dev/null || true)
	for p in "$@"; do
		grep -q "^$p ii" <<<"$status" || printf '%s ' "$p"
	done
}

make_tree() {
	rm -rf "$TREE.part"
	local more=("deb $MIRROR $SUITE-updates main" "deb ${MIRROR%/debian}/debian-security $SUITE-security main")
	[ "$SUITE" != sid ] || more=()
	# shellcheck disable=SC2086
	unshare --mount --propagation private mmdebstrap --variant=apt --aptopt="Acquire::Check-Valid-Until \"$LISTS_EXPIRE\"" \
		--include="$(xargs <<<"$TOOLCHAIN" | tr ' ' ',')" "$SUITE" "$TREE.part" "deb $MIRROR $SUITE main" "${more[@]}"
	mv "$TREE.part" "$TREE"
}

tree_progress() { printf '%s MiB of about 1700 unpacked' "$(du -sm "$TREE.part" 2>/dev/null | cut -f 1)"; }

install_in_tree() {
	in_tree env DEBIAN_FRONTEND=noninteractive sh -c \
		'apt-get update && apt-get -y -o APT::Install-Recommends=false install "$@"' sh "$@"
}

# The tree is renamed into place when whole; its stamp lists what was found installed in it.
tree_ready() {
	if host_is_tree; then
		# shellcheck disable=SC2086
		[ -z "$(missing_packages $TOOLCHAIN ${1:-})" ]
	else
		[ -z "$(comm -23 <(xargs -n 1 <<<"$TOOLCHAIN ${1:-}" | sort -u) "$TREE/.swapksm-packages" 2>/dev/null || echo new)" ]
	fi
}

# prepare_tree [MORE-PACKAGES]: the tree with the toolchain and, when named, more.
prepare_tree() {
	local wanted needs
	! tree_ready "${1:-}" || return 0
	need_root
	wanted=$(xargs -n 1 <<<"$TOOLCHAIN ${1:-} $(cat "$TREE/.swapksm-packages" 2>/dev/null)" | sort -u)
	if ! host_is_tree; then
		if [ ! -e "$TREE/etc/debian_version" ]; then
			rm -rf "$TREE.part"
			need_space "$CACHE" 3000 "the build tree"
			long "build tree (toolchain of Debian $SUITE)" tree_progress make_tree
		fi
	fi
	# shellcheck disable=SC2086
	needs=$(missing_packages $wanted)
	if [ -n "$needs" ]; then
		# shellcheck disable=SC2086
		long "packages for the build tree: $(xargs <<<"$needs" | cut -c 1-60)" - install_in_tree $needs
	fi
	host_is_tree || { printf '%s\n' "$wanted" >"$TREE/.swapksm-packages.part" && mv "$TREE/.swapksm-packages.part" "$TREE/.swapksm-packages"; }
}

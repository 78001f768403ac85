# SPDX-License-Identifier: GPL-2.0
# What the host itself needs: QEMU 10 or newer (7.2 crashes these kernels under TCG) and, for the tree, mmdebstrap.

MIRROR=${SWAPKSM_MIRROR:-http://deb.debian.org/debian}
QEMU_NEEDED=10

qemu_new_enough() {
	local major
	command -v qemu-system-x86_64 >/dev/null || return 1
	major=$(qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9]*\)\..*/\1/p')
	[ "${major:-0}" -ge "$QEMU_NEEDED" ]
}

host_needs() {
	qemu_new_enough || printf 'qemu-system-x86 '
	if ! host_is_tree; then
		command -v mmdebstrap >/dev/null || printf 'mmdebstrap '
		command -v xz >/dev/null || printf 'xz-utils '
	fi
}

host_apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 "$@"
}

install_host() {
	local release=(-o APT::Install-Recommends=false)
	# A foreign source that does not answer must not stop us: what counts is whether the packages can be had.
	host_apt update || true
	if [ "$HOST_RELEASE" = "debian 12" ] && [[ " $* " == *" qemu-system-x86 "* ]]; then
		if [[ $(apt-cache policy) != *n=bookworm-backports* ]]; then
			cat >/etc/apt/sources.list.d/swapksm-backports.sources <<-END
				# Made by swapksm's tools/prepare for QEMU $QEMU_NEEDED; nothing else is taken from it unless asked for.
				Types: deb
				URIs: $MIRROR
				Suites: bookworm-backports
				Components: main
				Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
			END
			host_apt -o Dir::Etc::SourceList=/etc/apt/sources.list.d/swapksm-backports.sources \
				-o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=false update
		fi
		release+=(-t bookworm-backports)
	fi
	host_apt "${release[@]}" install "$@"
}

prepare_host() {
	local needs
	needs=$(host_needs)
	[ -n "$needs" ] || return 0
	need_root
	case $HOST_RELEASE in
	"debian 12" | "debian 13") ;;
	*) die "this machine ($HOST_RELEASE) lacks $needs" "swapksm knows how to install them on Debian 12 and 13 only: install them by hand (QEMU $QEMU_NEEDED or newer) and run this again" ;;
	esac
	# shellcheck disable=SC2086
	long "packages for this machine: $(xargs <<<"$needs" | cut -c 1-60)" - install_host $needs
	qemu_new_enough || die "QEMU is still older than $QEMU_NEEDED: $(qemu-system-x86_64 --version | head -n 1)" \
		"install QEMU $QEMU_NEEDED or newer as qemu-system-x86_64"
}

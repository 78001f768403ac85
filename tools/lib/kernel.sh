# SPDX-License-Identifier: GPL-2.0
# Lays one stock kernel out under kernel/KREL/: build (source tree with headers and Rust metadata, to build modules
# against), vmlinuz, modules, System.map. Works in kernel/KREL.part, renamed when all is there and checked.

# The package version's rules for what a complete kernel/KREL is; raise it when the layout changes.
LAYOUT=1

kernel_complete() {
	# A debug kernel of other options is not the one asked for.
	! debug_flavour "$1" >/dev/null || debug_is_current "$1" "$KERNELS/$1/build" || return 1
	[ "$(cat "$KERNELS/$1/.complete" 2>/dev/null)" = "$LAYOUT" ]
}

# deb PACKAGE VERSION: the path of a downloaded package
deb() {
	local f
	for f in "$DEBS/$1_${2//:/%3a}_"{amd64,all}.deb; do
		[ ! -e "$f" ] || { printf '%s\n' "$f"; return 0; }
	done
	return 1
}

unpack_image() {
	local krel=$1 version=$2 part=$3 tmp p d
	tmp=$part/image.tmp
	rm -rf "$tmp" "$part/modules"
	mkdir -p "$tmp"
	for p in $(image_packages "$krel"); do
		d=$(deb "$p" "$version") || continue
		dpkg-deb -x "$d" "$tmp"
	done
	# Since 7.x everything lies in usr/lib/modules/KREL; before, kernel and map were in boot/.
	mv "$tmp/usr/lib/modules/$krel" "$part/modules" || mv "$tmp/lib/modules/$krel" "$part/modules"
	for p in "$part/modules/vmlinuz.unsigned" "$part/modules/vmlinuz" "$tmp/boot/vmlinuz-$krel"*; do
		[ ! -e "$p" ] || mv "$p" "$part/vmlinuz"
	done
	# A stub that names the -dbg package; the symbols are read out of the kernel file instead (klp-link).
	rm -f "$part/modules/System.map"
	[ -s "$part/vmlinuz" ] || { echo "error: no kernel file in the packages of $krel"; return 1; }
	rm -rf "$tmp" "${part:?}/lib"
	# depmod looks under BASE/lib/modules/KREL
	mkdir -p "$part/lib/modules"
	ln -s ../../modules "$part/lib/modules/$krel"
	(cd "$part" && in_tree depmod -b "$part" "$krel")
	rm -rf "${part:?}/lib"
	: >"$part/.image"
}

# tar counts records of 10 KiB
source_progress() {
	local records
	records=$(tail -n 1 "$1" | grep -oE '[0-9]+' | tail -n 1)
	printf '%s of about 1700 MiB unpacked' $((${records:-0} * 10 / 1024))
}

unpack_source() {
	local krel=$1 version=$2 part=$3 package
	package=$(source_package "$krel")
	rm -rf "$part/build" "$part/source.tmp"
	mkdir -p "$part/source.tmp"
	dpkg-deb --fsys-tarfile "$(deb "$package" "$version")" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		xz -dc -T0 |
		tar -x -C "$part/source.tmp" --strip-components=1 --checkpoint=2000 --checkpoint-action=echo='%u'
	mv "$part/source.tmp" "$part/build"
}

# kmake DIR TARGET…: make in a kernel tree the way Debian builds it; .kernelvariables gives ARCH, CC and the release.
kmake() {
	local dir=$1
	shift
	in_tree nice -n 5 make -C "$dir" -j2 "$@"
}

make_progress() { printf '%s steps of about 225, %s' "$(wc -l <"$1")" "$(tail -n 1 "$1" | sed 's/^ *//' | cut -c 1-50)"; }

# The stock kernel's configuration, exports, compiler and release name (.kernelvariables).
configure_stock() {
	local krel=$1 version=$2 part=$3 base=${1%%+*}
	dpkg-deb --fsys-tarfile "$(deb "linux-headers-$krel" "$version")" |
		tar -x -C "$part/build" --strip-components=4 "./usr/src/linux-headers-$krel/.config" \
			"./usr/src/linux-headers-$krel/.kernelvariables" "./usr/src/linux-headers-$krel/Module.symvers"
	# For whoever asks the tree itself for its release.
	printf '%s\n' "${krel#"$base"}" >"$part/build/localversion-debian"
	cp "$part/build/.config" "$part/config.stock.tmp"
	kmake "$part/build" olddefconfig
	mv "$part/config.stock.tmp" "$part/config.stock"
}

prepare_build() {
	local part=$1
	kmake "$part/build" prepare modules_prepare
	: >"$part/.build"
}

# install_kernel NAME: what was made in NAME.part is whole
install_kernel() {
	printf '%s\n' "$LAYOUT" >"$KERNELS/$1.part/.complete"
	rm -rf "${KERNELS:?}/$1"
	mv "$KERNELS/$1.part" "$KERNELS/$1"
	say "$1 is ready: $KERNELS/$1"
}

# prepare_stock KREL VERSION
prepare_stock() {
	local krel=$1 version=$2 part
	part=$KERNELS/$krel.part
	mkdir -p "$part"
	need_space "$part" 4000 "the kernel tree of $krel"
	[ -e "$part/.image" ] || long "kernel image and modules of $krel" - unpack_image "$krel" "$version" "$part"
	[ -e "$part/build" ] || long "kernel source of $krel" source_progress unpack_source "$krel" "$version" "$part"
	[ -e "$part/config.stock" ] || long "configuration of $krel" - configure_stock "$krel" "$version" "$part"
	check_options "$krel" "$part/config.stock"
	check_options_kept "$krel" "$part/config.stock" "$part/build/.config"
	[ -e "$part/.build" ] || long "headers and Rust metadata of $krel" make_progress prepare_build "$part"
	check_metadata "$krel" "$part/build"
	long "trial module for $krel" - trial_module "$krel" "$part"
	install_kernel "$krel"
}

# SPDX-License-Identifier: GPL-2.0
# The suites' programs: the kernel's selftests, unmodified, from the source that the kernel itself was built from, and
# Debian's stress-ng. All end in BIN, linked statically except stress-ng, which brings its libraries.

PEER_PACKAGES="stress-ng libnuma-dev libcap-dev liburing-dev"

# What selftests include from the kernel's tree, and what makes its headers for programs.
SELFTEST_SOURCES="Makefile Kbuild Kconfig scripts include arch/x86 mm tools usr"

# programs_of DIRECTORY: the programs of selftests/DIRECTORY that the list names
programs_of() {
	local p
	while read -r p; do
		[ ! -e "$BUILD/tools/testing/selftests/$1/$p.c" ] || printf '%s\n' "$p"
	done < <(awk '/^(same|all|most|often|sound|clean) / { for (i = 3; i <= NF && i <= 4; i++) print $i }' "$LIST" | sort -u)
}

copy_selftests() {
	local sources
	read -ra sources <<<"$SELFTEST_SOURCES"
	rm -rf "$SOURCE"
	mkdir -p "$SOURCE"
	# The tree that modules are built against stays as it is: these tests write into their own.
	tar -C "$BUILD" -c --exclude='*.o' --exclude='*.cmd' .config .kernelvariables "${sources[@]}" | tar -x -C "$SOURCE"
	cd "$SOURCE"
	in_tree nice make -j2 headers
}

build_selftests() {
	local directory programs
	for directory in mm proc; do
		mapfile -t programs < <(programs_of "$directory")
		cd "$SOURCE/tools/testing/selftests/$directory"
		in_tree nice make -j2 CC=gcc-14 LDFLAGS=-static OUTPUT="$BIN.part" "${programs[@]/#/$BIN.part/}"
	done
	in_tree gcc-14 -O2 -Wall -Wextra -Werror -static -o "$BIN.part/merge_any" "$REPO/tests/peers/merge_any.c"
}

copy_stress_ng() {
	local to=$PEERS/stress-ng.part library
	rm -rf "$to"
	mkdir -p "$to/lib"
	cd "$CACHE"
	in_tree ldd /usr/bin/stress-ng | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r library; do
		in_tree cp -L "$library" "$to/lib/"
	done
	in_tree strip -o "$to/stress-ng" /usr/bin/stress-ng
	in_tree dpkg-query -W -f '${Version}\n' stress-ng >"$to/version"
	rm -rf "$PEERS/stress-ng"
	mv "$to" "$PEERS/stress-ng"
}

# What BIN is made of: made anew when the list names other programs.
bin_recipe() {
	programs_of mm
	programs_of proc
	cat "$REPO/tests/peers/merge_any.c" "$REPO/tests/peers/lib/build.sh"
}

prepare_packages() {
	! tree_ready "$PEER_PACKAGES" || return 0
	(lock_cache && prepare_tree "$PEER_PACKAGES")
}

build_peers() {
	SOURCE=$PEERS/source
	mkdir -p "$PEERS"
	prepare_packages
	[ -e "$PEERS/stress-ng/version" ] || long "stress-ng and its libraries" - copy_stress_ng
	! bin_recipe | cmp -s - "$BIN/.recipe" || return 0
	need_space "$PEERS" 600 "building the kernel's selftests"
	rm -rf "$BIN.part"
	mkdir -p "$BIN.part"
	long "headers for the selftests of $KREL" - copy_selftests
	long "selftests of $KREL" - build_selftests
	bin_recipe >"$BIN.part/.recipe"
	rm -rf "$BIN" "$SOURCE"
	mv "$BIN.part" "$BIN"
}

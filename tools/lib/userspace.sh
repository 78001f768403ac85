# SPDX-License-Identifier: GPL-2.0
# Rust programs for host and guest, built by the tree's cargo, linked statically so that they run on either.

RUST_TARGET=x86_64-unknown-linux-gnu
BIN=$CACHE/out/bin
# What cargo makes, apart for each checkout that uses this cache: cargo goes by the time of a file alone, and would take
# another checkout's program for ours.
TARGETS=$CACHE/target/$(printf '%s' "$REPO" | cksum | cut -d ' ' -f 1)

# in_cargo ARGS…: cargo in the tree. One crate, which has the module's own files in it, may use what the kernel uses of the
# compiler: its name stands here.
in_cargo() {
	CARGO_TARGET_DIR=$TARGETS RUSTC_BOOTSTRAP=engine_on_host \
		CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static' in_tree nice -n 5 cargo "$@"
}

# The crates a lock file names; the network is asked only for those the cache lacks.
fetch_crates() {
	local manifest=$1 stamp
	stamp=$CACHE/cargo/.fetched-$(cksum <"${manifest%Cargo.toml}Cargo.lock" | cut -d ' ' -f 1)
	[ ! -e "$stamp" ] || return 0
	mkdir -p "$CACHE/cargo"
	long "crates of ${manifest#"$REPO"/}" - in_cargo fetch --locked --target "$RUST_TARGET" --manifest-path "$manifest"
	: >"$stamp"
}

# install_program FILE DIR: in place at once, a running copy is not disturbed
install_program() {
	local to=$2/${1##*/}
	! cmp -s "$1" "$to" || return 0
	cp "$1" "$to.part"
	mv "$to.part" "$to"
}

# build_tools [PROGRAM]: all of them, or one. cargo finds out itself what has changed.
build_tools() {
	local f which=(--workspace) rc=0
	[ -z "${1:-}" ] || which=(--package "$1")
	[ -e "$REPO/tools/Cargo.lock" ] || die "tools/Cargo.lock is missing" "restore it from git: it pins the crates"
	mkdir -p "$BIN"
	exec 8>"$BIN/.lock"
	flock 8
	fetch_crates "$REPO/tools/Cargo.toml"
	in_cargo build --quiet --keep-going --release --locked --offline --target "$RUST_TARGET" \
		--manifest-path "$REPO/tools/Cargo.toml" "${which[@]}" >&2 || rc=$?
	for f in "$TARGETS/$RUST_TARGET/release"/${1:-*}; do
		[ ! -f "$f" ] || [ ! -x "$f" ] || install_program "$f" "$BIN"
	done
	flock -u 8
	[ "$rc" = 0 ] || die "the tools do not build (the errors are above)" "mend the program they name, then run make tools again"
}

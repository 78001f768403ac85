# SPDX-License-Identifier: GPL-2.0
# Building the test programs, and the tests that need no virtual machine.

GUEST_TESTS=$TARGETS/$RUST_TARGET/release/guest-tests
C_TESTS=$CACHE/out/tests

build_guest_tests() {
	fetch_crates "$REPO/tests/Cargo.toml"
	long "guest tests" - in_cargo build --release --locked --offline --target "$RUST_TARGET" \
		--manifest-path "$REPO/tests/Cargo.toml" --package guest-tests
	[ ! -x "$REPO/tests/build-c" ] || long "test programs in C" - "$REPO/tests/build-c" "$C_TESTS"
}

# The unit tests of a cargo workspace, one result each.
cargo_tests() {
	local name=$1 manifest=$2 log rc=0 line
	log=$RESULTS/host-$name.log
	say "host tests of $name …"
	fetch_crates "$manifest"
	in_cargo test --locked --offline --no-fail-fast --target "$RUST_TARGET" --manifest-path "$manifest" \
		--workspace >"$log" 2>&1 </dev/null || rc=$?
	while read -r line; do
		case $line in
		"test "*" ... ok") count_host "$name" ok "${line#test }" ;;
		"test "*" ... FAILED") count_host "$name" fail "${line#test }" ;;
		"test "*" ... ignored"*) count_host "$name" skip "${line#test }" ;;
		esac
	done <"$log"
	if [ "$rc" != 0 ] && ! grep -q '^test .* FAILED$' "$log"; then
		result fail "host/$name" "does not build or run"
		grep -m 20 -A 8 '^error' "$log" | sed 's/^/    /' || tail -n 20 "$log" | sed 's/^/    /'
	elif [ "$rc" != 0 ]; then
		sed -n '/^failures:/,/^test result/p' "$log" | head -n 60 | sed 's/^/    /'
	fi
}

# count_host WORKSPACE ok|fail|skip 'TEST ... STATE': passes are counted, all else is printed, too
count_host() {
	local name=host/$1/${3%% ... *}
	wanted "$name" || return 0
	case $2 in
	ok) PASSED=$((PASSED + 1)) ;;
	*) result "$2" "$name" ;;
	esac
}

host_tests() {
	run_on_host bad-luck tests/bad-luck/run
	case $only in
	host* | '*') ;;
	*) return 0 ;;
	esac
	local before=$PASSED
	cargo_tests tools "$REPO/tools/Cargo.toml"
	cargo_tests tests "$REPO/tests/Cargo.toml"
	cargo_tests models "$REPO/tests/models/Cargo.toml"
	cargo_tests engine "$REPO/tests/engine/Cargo.toml"
	cargo_tests fuzz "$REPO/tests/fuzz/Cargo.toml"
	say "$((PASSED - before)) host tests passed"
}

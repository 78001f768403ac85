# SPDX-License-Identifier: GPL-2.0
# Counting and printing results.

PASSED=0 FAILED=0 SKIPPED=0 FAILURES=()

report_start() {
	local name
	# Two runs may begin in the same second.
	RESULTS=$LOGS/tests-$(date +%Y%m%d-%H%M%S)-$$
	mkdir -p "$RESULTS"
	# Logs of the ten runs before this one are kept, and of all that may still be at work.
	find "$LOGS" -maxdepth 1 -name 'tests-*' -type d | sort | head -n -11 |
		while read -r name; do [ -n "$(find "$name" -mmin -360 | head -n 1)" ] || rm -rf "$name"; done
	STARTED=$(date +%s)
	# No virtual machine outlives its test.
	trap interrupted INT TERM HUP
	say "logs go to $RESULTS"
}

# wanted NAME: whether --only asks for this test
wanted() {
	# shellcheck disable=SC2254
	case $1 in
	$only) return 0 ;;
	esac
	return 1
}

# result ok|fail|skip NAME [REMARK]
result() {
	case $1 in
	ok) PASSED=$((PASSED + 1)) ;;
	fail) FAILED=$((FAILED + 1)) FAILURES+=("$2") ;;
	skip) SKIPPED=$((SKIPPED + 1)) ;;
	esac
	printf '%4d s  %-4s  %s%s\n' $(($(date +%s) - STARTED)) "$1" "$2" "${3:+  ($3)}"
}

report_end() {
	local took=$(($(date +%s) - STARTED)) name
	for name in "${FAILURES[@]}"; do
		printf 'failed: %s\n' "$name"
	done
	[ "$FAILED" = 0 ] || printf 'logs: %s; seed: %s\n' "$RESULTS" "$seed"
	printf 'took %d min %d s\n' $((took / 60)) $((took % 60))
	if [ $((PASSED + FAILED)) = 0 ]; then
		say "no test was run; tests/run --list prints the names that --only can pick from"
		FAILED=1
	fi
	if [ "$SKIPPED" = 0 ]; then
		printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
	else
		printf '%d passed, %d failed, %d skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
	fi
	[ "$FAILED" = 0 ]
}

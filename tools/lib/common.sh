# SPDX-License-Identifier: GPL-2.0
# Shared by the preparation scripts: cache layout, messages, long steps with progress.
# Source it; it sets shell options for the caller.
set -euo pipefail
export LC_ALL=C.UTF-8

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${SWAPKSM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/swapksm}
case $CACHE in
/*) ;;
*) CACHE=$PWD/$CACHE ;;
esac
DEBS=$CACHE/debs
KERNELS=$CACHE/kernel
LOGS=$CACHE/log
ME=${0##*/}

say() { printf '%s: %s\n' "$ME" "$*" >&2; }

# die WHAT-HAPPENED WHAT-TO-DO
die() {
	printf '%s: %s\n' "$ME" "$1" >&2
	[ $# -lt 2 ] || printf '%s: %s\n' "$ME" "$2" >&2
	exit 1
}

# debug_flavour NAME: the flavour of a kernel's name or of what --kernel asks for; a stock kernel has none. Those are
# kernels of our own, with checkers (tools/lib/debug-kernel.sh).
debug_flavour() {
	case $1 in
	debug | debug-*) echo debug ;;
	kcsan | kcsan-*) echo kcsan ;;
	*) return 1 ;;
	esac
}

need_root() {
	[ "$(id -u)" = 0 ] || die "must be run as root (mounts, chroot and packages need it)" \
		"run it again as root, for instance with sudo"
}

# need_space DIR MIB PURPOSE
need_space() {
	local free
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] || die "the disk is too full: $3 needs $2 MiB in $1, $free MiB are free" \
		"free some space, or put the cache elsewhere with SWAPKSM_CACHE=DIR"
}

# Says why the last step failed, as far as its log tells, and stops.
explain_failure() {
	local what=$1 log=$2 line
	if grep -qiE 'No space left on device|You don.t have enough free space' "$log"; then
		die "$what: the disk is full ($(df -Ph "$CACHE" | awk 'NR == 2 { print $4 " free in " $6 }'))" \
			"free some space, or put the cache elsewhere with SWAPKSM_CACHE=DIR, and run it again: finished steps are kept"
	fi
	if grep -qE 'Could not resolve|Temporary failure resolving|Could not connect|Cannot initiate the connection|Connection timed out|Network is unreachable|Connection failed' "$log"; then
		die "$what: no network ($(grep -m1 -oE '(Could not resolve|Temporary failure resolving|Could not connect|Cannot initiate|Connection timed out|Network is unreachable|Connection failed).*' "$log"))" \
			"connect the machine (or set http_proxy, or SWAPKSM_MIRROR=URL) and run it again: finished steps are kept"
	fi
	if grep -qE 'Release file for .* is expired' "$log"; then
		die "$what: the mirror's lists have expired ($(grep -m1 -oE 'invalid since [^)]*' "$log"))" \
			"name another with SWAPKSM_MIRROR=URL, or, if the mirror is a snapshot on purpose, set SWAPKSM_STALE_LISTS=1"
	fi
	line=$(grep -m1 -iE '(^|[^a-z])(error|fatal)(:|\[)|^E: |\*\*\* ' "$log" || tail -n 1 "$log")
	die "$what failed: ${line:-no output}" "the whole output is in $log; run it again after mending: finished steps are kept"
}

# long LABEL PROGRESS-FUNCTION|- COMMAND…: runs COMMAND with its output in a log file, and every 5 s says how far it is.
long() {
	local label=$1 progress=$2 log start pid beat now far rc=0
	shift 2
	mkdir -p "$LOGS"
	log=$LOGS/$(printf '%s' "$label" | tr -c 'A-Za-z0-9.+\n-' '_').log
	start=$(date +%s)
	say "$label …"
	# In a process group of its own, so that an interruption ends all of it.
	set -m
	("$@") >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	CHILD=$pid
	beat=0
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		beat=$((beat + 1))
		if [ $((beat % 25)) = 0 ]; then
			now=$(date +%s)
			if [ "$progress" = - ]; then
				far=$(tail -n 1 "$log" | cut -c 1-70)
			else
				far=$("$progress" "$log" || true)
			fi
			say "  $label: $((now - start)) s${far:+, $far}"
		fi
	done
	wait "$pid" || rc=$?
	CHILD=
	[ "$rc" = 0 ] || explain_failure "$label" "$log"
	now=$(date +%s)
	[ $((now - start)) -lt 3 ] || say "$label: done in $((now - start)) s"
}
CHILD=

# On an interruption the step under way is ended too; what it made stays for the next run.
interrupted() {
	trap - INT TERM HUP
	# A step has a process group of its own, a virtual machine its runner, which ends it.
	[ -z "$CHILD" ] || kill -TERM -- "-$CHILD" 2>/dev/null || kill -TERM "$CHILD" 2>/dev/null || true
	die "interrupted" "run the same command again: it goes on where it stopped"
}

# Only one preparation at a time works on the cache (lock 9), and only one on each kernel (lock 6): building a debug
# kernel keeps nobody from preparing another.
lock() {
	local fd=$1 file=$2
	eval "exec $fd>\"\$file\""
	if ! flock -n "$fd"; then
		say "another preparation is at work (${file##*/}); waiting for it"
		flock "$fd"
	fi
}

lock_cache() {
	mkdir -p "$CACHE" "$KERNELS" 2>/dev/null || die "cannot make the cache directory $CACHE" "set SWAPKSM_CACHE=DIR to a place that can be written"
	trap interrupted INT TERM HUP
	lock 9 "$CACHE/.lock"
}

lock_kernel() {
	flock -u 9
	lock 6 "$KERNELS/.lock-$1"
}

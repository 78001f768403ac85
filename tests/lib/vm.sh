# SPDX-License-Identifier: GPL-2.0
# Running a program that speaks KTAP in a virtual machine and counting what it says.

# How tools/vm run ends when it is not the command's own end.
VM_TIMEOUT=124 VM_COMPLAINT=126 VM_DIED=127

# vm_ktap ROOM VM-OPTION… FILE… -- COMMAND…: runs it; results are counted as they come. Sets ANSWERED to the names that
# got a result. Returns the runner's code.
vm_ktap() {
	local room=$1 log out rc=0 line remarks='' options=()
	shift
	log=$(mktemp -u "$RESULTS/$room-XXXX")
	out=$log.ktap log=$log.log
	[ -z "$kernel" ] || options+=(--kernel "$kernel")
	if [ -n "$stock" ]; then
		options+=(--stock)
	elif [ -z "$release" ]; then
		options+=(--debug-module)
	fi
	ANSWERED=()
	mkfifo "$out.pipe"
	tools/vm run "${options[@]}" "$@" >"$out.pipe" 2>"$log" </dev/null &
	CHILD=$!
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$out"
		ktap_line "$line" "$log"
	done <"$out.pipe"
	wait "$CHILD" || rc=$?
	CHILD=
	rm -f "$out.pipe"
	LAST_LOG=$log
	return "$rc"
}

# ktap_line LINE LOG: a line of the protocol; remarks are held back until their result is known
ktap_line() {
	local name why
	case $1 in
	"# "*": took "* | "KTAP "* | "1.."* | "# Totals"*) ;;
	"#"*) remarks+="       ${1#\# }"$'\n' ;;
	"ok "*)
		name=${1#ok * } why=${1#*# SKIP }
		name=${name%% #*}
		name=${name#- }
		ANSWERED+=("$name")
		[ "$why" = "$1" ] && result ok "$name" || result skip "$name" "$why"
		remarks=
		;;
	"not ok "*)
		name=${1#not ok * }
		name=${name#- }
		ANSWERED+=("$name")
		result fail "$name"
		printf '%s' "$remarks"
		remarks=
		FAILED_HERE+=("$name")
		;;
	esac
}

# explain_end ROOM RC: what an end means that is not the command's own
explain_end() {
	case $2 in
	"$VM_TIMEOUT") printf 'the virtual machine was stopped: out of time' ;;
	"$VM_COMPLAINT") printf 'the guest kernel complained or the check at the end failed' ;;
	"$VM_DIED") printf 'the guest died' ;;
	*) printf 'the virtual machine runner ended with code %s' "$2" ;;
	esac
}

# show_log CASE: the part of the guest's log that belongs to a case, or the end of the log
show_log() {
	local part
	part=$(awk -v start="guest-tests: case $1 starts" '
		index($0, "guest-tests: case ") { inside = index($0, start) }
		inside { print }' "$LAST_LOG" | head -n "${2:-60}")
	[ -n "$part" ] || part=$(tail -n "${2:-60}" "$LAST_LOG")
	printf '%s\n' "$part" | sed 's/^/       | /'
	printf '       the whole log: %s\n' "$LAST_LOG"
}

# SPDX-License-Identifier: GPL-2.0
# Running a program that speaks KTAP in a virtual machine and counting what it says.

# How tools/vm run ends when it is not the command's own end.
VM_TIMEOUT=124 VM_COMPLAINT=126 VM_DIED=127

# What stands before every name in the output of a program.
PREFIX=

# read_ktap NAME COMMAND…: runs a command that speaks KTAP; results are counted as they come. Sets ANSWERED to the names
# that got a result, PLANNED to how many it said there would be, and LAST_LOG to where its standard error went. Returns the command's code.
read_ktap() {
	local out rc=0 line remarks='' told=''
	out=$(mktemp -u "$RESULTS/$1-XXXX")
	LAST_LOG=$out.log
	shift
	ANSWERED=() PLANNED=
	mkfifo "$out.pipe"
	"$@" >"$out.pipe" 2>"$LAST_LOG" </dev/null &
	CHILD=$!
	while IFS= read -r line || [ -n "$line" ]; do
		printf '%s\n' "$line" >>"$out.ktap"
		ktap_line "$line"
	done <"$out.pipe"
	wait "$CHILD" || rc=$?
	CHILD=
	rm -f "$out.pipe"
	return "$rc"
}

# Options of tools/vm for the build of the module that is tested, each on a line.
module_options() {
	if [ -n "$stock" ]; then
		echo --stock
	elif [ -n "${MODULE_FILE:-}" ]; then
		printf '%s\n' --swapksm "$MODULE_FILE"
	elif [ -z "$release" ]; then
		echo --debug-module
	fi
}

# vm_ktap NAME VM-OPTION… FILE… -- COMMAND…: the same for a command in a virtual machine
vm_ktap() {
	local name=$1 options=()
	shift
	[ -z "$kernel" ] || options+=(--kernel "$kernel")
	mapfile -t -O ${#options[@]} options < <(module_options)
	# Each machine's counts in a folder of their own.
	[ -z "${COVERAGE:-}" ] || options+=(--env SWAPKSM_COVERAGE=coverage.profraw --get coverage.profraw --into "$(mktemp -d "$COVERAGE/$name-XXXX")")
	read_ktap "$name" tools/vm run "${options[@]}" "$@"
}

# ktap_line LINE: a line of the protocol; remarks are held back until their result is known, and shown if it failed;
# "# tells …" is shown in any case
ktap_line() {
	local name why
	case $1 in
	"# "*": took "* | "KTAP "* | "# Totals"*) ;;
	"1.."*) PLANNED=${1#1..} ;;
	"# tells "*) told+="       ${1#\# tells }"$'\n' ;;
	"#"*) remarks+="       ${1#\# }"$'\n' ;;
	"ok "*)
		name=${1#ok * } why=${1#*# SKIP}
		name=${name%% #*}
		name=$PREFIX${name#- }
		ANSWERED+=("$name")
		if [ "$why" = "$1" ]; then
			result ok "$name"
		else
			# Programs in C tell the reason in a remark before.
			[ -n "$why" ] || why=$(sed -n 's/^ *skipped: //p' <<<"$remarks" | tail -n 1)
			result skip "$name" "${why# }"
		fi
		printf '%s' "$told"
		remarks= told=
		;;
	"not ok "*)
		name=${1#not ok * }
		name=$PREFIX${name#- }
		ANSWERED+=("$name")
		result fail "$name"
		printf '%s' "$told$remarks"
		remarks= told=
		FAILED_HERE+=("$name")
		;;
	esac
}

# explain_end ROOM RC: what an end means that is not the command's own
explain_end() {
	case $2 in
	0) printf 'it ended without a result' ;;
	"$VM_TIMEOUT") printf 'the virtual machine was stopped: out of time' ;;
	"$VM_COMPLAINT") printf 'the guest kernel complained or the check at the end failed' ;;
	"$VM_DIED") printf 'the guest died' ;;
	125) printf 'the virtual machine runner failed' ;;
	*) printf 'the command ended with code %s, though no case had failed' "$2" ;;
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

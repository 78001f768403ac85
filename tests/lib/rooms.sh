# SPDX-License-Identifier: GPL-2.0
# Which tests run in which virtual machine.

# room_options ROOM: options of tools/vm run
room_options() {
	case $1 in
	plain) echo ;;
	swap-disk) echo --swap 128M ;;
	swap-zram) echo --zram 128M ;;
	# Part of the memory is movable, so that memory can be taken offline.
	numa) echo --numa 2 --append kernelcore=400M ;;
	takeover) echo --no-load --swap 128M ;;
	esac
}

# cases_of ROOM: names of the cases that run there, as far as they are asked for
cases_of() {
	local room=${1%%-*} name at rest
	"$GUEST_TESTS" list | while IFS=$'\t' read -r name at rest; do
		: "$rest"
		[ "$at" != "$room" ] || ! wanted "$name" || printf '%s\n' "$name"
	done
}

# run_room ROOM: every case gets a result, also when one of them takes the machine down
run_room() {
	local room=$1 rc asked left name options
	mapfile -t left < <(cases_of "$room")
	read -ra options < <(room_options "$room")
	while [ ${#left[@]} -gt 0 ]; do
		say "$room: ${#left[@]} tests …"
		asked=("${left[@]}") rc=0 FAILED_HERE=()
		vm_ktap "$room" --timeout 900 "${options[@]}" "$GUEST_TESTS" -- \
			./guest-tests run --seed "$seed" "${asked[@]}" || rc=$?
		for name in "${FAILED_HERE[@]}"; do
			show_log "$name"
		done
		mapfile -t left < <(printf '%s\n' "${ANSWERED[@]}" | grep -vxFf - <(printf '%s\n' "${asked[@]}") || true)
		if [ ${#left[@]} -gt 0 ]; then
			# The first without a result was at work when the machine went.
			result fail "${left[0]}" "$(explain_end "$room" "$rc")"
			show_log "${left[0]}" 120
			left=("${left[@]:1}")
			[ ${#ANSWERED[@]} -gt 0 ] || [ "$rc" != 125 ] || return 0
		elif [ "$rc" -ge "$VM_TIMEOUT" ]; then
			result fail "$room" "$(explain_end "$room" "$rc")"
			tail -n 120 "$LAST_LOG" | sed 's/^/       | /'
		fi
	done
}

# run_program NAME VM-OPTION… FILE… -- COMMAND…: another program that speaks KTAP
run_program() {
	local name=$1 rc=0
	shift
	wanted "$name/" || wanted "$name" || return 0
	say "$name …"
	FAILED_HERE=()
	vm_ktap "$name" --timeout 600 "$@" || rc=$?
	if [ ${#FAILED_HERE[@]} -gt 0 ] || [ "$rc" != 0 ]; then
		[ ${#FAILED_HERE[@]} -gt 0 ] || result fail "$name" "$(explain_end "$name" "$rc")"
		tail -n 60 "$LAST_LOG" | sed 's/^/       | /'
	fi
}

vm_tests() {
	local room
	for room in plain swap-disk swap-zram numa; do
		run_room "$room"
	done
	[ -n "$stock" ] || run_room takeover
	[ -n "$stock" ] || [ ! -x "$C_TESTS/dev_ksm_test" ] ||
		run_program dev-ksm "$C_TESTS"/{dev_ksm_test,ksm_thread,ksm_ram} -- ./dev_ksm_test
	sysfs_tests
}

# SPDX-License-Identifier: GPL-2.0
# Which tests run in which virtual machine.
. "$REPO/tests/lib/module.sh"

# room_options ROOM: options of tools/vm run
room_options() {
	# A disk that breaks on demand.
	local breakable=(--module null_blk) more=()
	case $1 in
	plain) echo ;;
	swap-disk) echo --swap 128M "${breakable[@]}" ;;
	swap-zram) echo --zram 128M "${breakable[@]}" ;;
	swap-zswap) echo --swap 128M --append zswap.enabled=1 "${breakable[@]}" ;;
	# Part of the memory is movable, so that memory can be taken offline.
	numa)
		# What KASAN takes at boot lies anywhere in the memory of a node: there must be blocks without.
		! debug_flavour "$kernel" >/dev/null || more=(--mem 2G)
		echo --numa 2 --swap 128M --append kernelcore=400M "${more[@]}"
		;;
	takeover) echo --no-load --swap 128M ;;
	faults) echo --swap 128M "${breakable[@]}" ;;
	# The translator's CPU can run guests of its own.
	kvm) echo --accel tcg --swap 128M --module kvm-amd ;;
	esac
}

# guest_options ROOM: how guest-tests is called there
guest_options() {
	case $1 in
	# The other rooms have what the kernel begins with: generations (MGLRU).
	swap-zram) echo --classic-lru ;;
	*) echo ;;
	esac
}

# The cases that order failures, or one skip each where no failure can be ordered.
run_faults() {
	local name
	if [ "$(debug_flavour "$kernel")" = debug ]; then
		run_room faults
		return
	fi
	for name in $(cases_of faults); do
		result skip "$name" "this kernel has no fault injection; --kernel debug has"
	done
}

# cases_of ROOM: names of the cases that run there, as far as they are asked for
cases_of() {
	local room=${1%%-*} name at rest
	"$GUEST_TESTS" list | while IFS=$'\t' read -r name at rest; do
		: "$rest"
		[ "$at" != "$room" ] || ! wanted "$name" || printf '%s\n' "$name"
	done
}

# What every run of guest cases is told besides, and seconds that a room may take longer for it.
GUEST_OPTIONS=() MORE_TIME=0

# Cases that use up the memory of the whole machine: kmemleak finds none for its own notes then and switches itself off.
WITHOUT_KMEMLEAK='^oom/global'

# run_room ROOM: all its cases, in one machine where that can be
run_room() {
	local cases greedy
	if [ "$(debug_flavour "$kernel")" = debug ]; then
		mapfile -t cases < <(cases_of "$1" | grep -v "$WITHOUT_KMEMLEAK")
		mapfile -t greedy < <(cases_of "$1" | grep "$WITHOUT_KMEMLEAK")
		run_machine "$1" --kmemleak -- "${cases[@]}"
		run_machine "$1" -- "${greedy[@]}"
	else
		mapfile -t cases < <(cases_of "$1")
		run_machine "$1" -- "${cases[@]}"
	fi
}

# half_patched LOG: did the kernel die of an int3 that is none? While an instruction is patched it begins with one for a moment
# (arch/x86/kernel/alternative.c); QEMU's translator may run that when all is over. What stands before RIP is the new
# instruction then. Who jumps to where int3s are, as between functions, has one there.
half_patched() {
	awk '
		/Oops: int3/ { oops = 1 }
		oops && /Code: / {
			for (i = 2; i <= NF; i++)
				if ($i ~ /^</) { found = $(i - 1) != "cc"; exit }
		}
		END { exit !found }' "$1"
}

# run_machine ROOM VM-OPTION… -- CASE…: every case gets a result, also when one of them takes the machine down
run_machine() {
	local room=$1 rc asked left name options for_guest other time=1200 again=2
	# Kernels with checkers are some ten times slower; there faults/load and faults/unload alone may take an hour each.
	if debug_flavour "$kernel" >/dev/null; then
		time=5400
		[ "$room" != takeover ] || time=10800
	fi
	time=$((time + MORE_TIME))
	read -ra options < <(room_options "$room")
	read -ra for_guest < <(guest_options "$room")
	while shift && [ "$1" != -- ]; do
		options+=("$1")
	done
	shift
	left=("$@")
	for other in 'takeover/livepatch_ livepatch' 'suspend/to_idle wake' 'device/|races/device hmm' \
		'hotplug/removed hotremove' 'abuse/slow_ slowfault' 'abuse/held_ heldfolio'; do
		[[ ${left[*]} =~ ${other% *} ]] || continue
		[ "${other#* } $(debug_flavour "$kernel")" != 'hmm kcsan' ] || continue
		other=$(test_module "$REPO/tests/${other#* }" "$kernel") || exit
		options+=("$other")
	done
	while [ ${#left[@]} -gt 0 ]; do
		say "$room: ${#left[@]} tests …"
		asked=("${left[@]}") rc=0 FAILED_HERE=()
		vm_ktap "$room" --timeout "$time" "${options[@]}" "$GUEST_TESTS" -- \
			./guest-tests run --seed "$seed" "${for_guest[@]}" "${GUEST_OPTIONS[@]}" "${asked[@]}" || rc=$?
		for name in "${FAILED_HERE[@]}"; do
			show_log "$name"
		done
		mapfile -t left < <(printf '%s\n' "${ANSWERED[@]}" | grep -vxFf - <(printf '%s\n' "${asked[@]}") || true)
		if [ ${#left[@]} -gt 0 ] && [ "$again" -gt 0 ] && half_patched "$LAST_LOG"; then
			again=$((again - 1))
			say "$room: QEMU's translator ran a half-patched instruction in ${left[0]} (Oops: int3 where none is); once more"
		elif [ ${#left[@]} -gt 0 ]; then
			# The first without a result was at work when the machine went.
			result fail "${left[0]}" "$(explain_end "$room" "$rc")"
			show_log "${left[0]}" 120
			left=("${left[@]:1}")
			[ ${#ANSWERED[@]} -gt 0 ] || [ "$rc" != 125 ] || return 0
		elif [ "$rc" -ge "$VM_TIMEOUT" ] || { [ "$rc" != 0 ] && [ ${#FAILED_HERE[@]} = 0 ]; }; then
			result fail "$room" "$(explain_end "$room" "$rc")"
			tail -n 120 "$LAST_LOG" | sed 's/^/       | /'
		fi
	done
}

# wanted_suite NAME: whether --only asks for any test of a program
wanted_suite() {
	wanted "$1" || wanted "$1/" || [ "${only%%/*}" = "$1" ]
}

# program_ended NAME RC: what remains to be told after a program's results
program_ended() {
	if [ ${#FAILED_HERE[@]} -gt 0 ] || [ "$2" != 0 ]; then
		[ ${#FAILED_HERE[@]} -gt 0 ] || result fail "$1" "$(explain_end "$1" "$2")"
		show_log "$1"
	elif [ ${#ANSWERED[@]} = 0 ] || [ ${#ANSWERED[@]} != "${PLANNED:-0}" ]; then
		result fail "$1" "it told ${#ANSWERED[@]} of ${PLANNED:-?} results"
		show_log "$1"
	fi
}

# run_program NAME VM-OPTION… FILE… -- COMMAND…: another program that speaks KTAP
run_program() {
	local name=$1 rc=0 time=600
	shift
	wanted_suite "$name" || return 0
	say "$name …"
	FAILED_HERE=() PREFIX=$name/
	! debug_flavour "$kernel" >/dev/null || time=3600
	vm_ktap "$name" --timeout "$time" "$@" || rc=$?
	PREFIX=
	program_ended "$name" "$rc"
}

# run_on_host NAME COMMAND…: a program that speaks KTAP and starts virtual machines itself
run_on_host() {
	local name=$1 rc=0
	shift
	wanted_suite "$name" || return 0
	say "$name …"
	FAILED_HERE=() PREFIX=$name/
	read_ktap "$name" "$@" || rc=$?
	PREFIX=
	program_ended "$name" "$rc"
}

# What the machines run is built once, so that an edit in the meantime does not change what is tested.
build_for_vm() {
	[ "${SWAPKSM_NO_BUILD:-}" != 1 ] || return 0
	make -C "$REPO" tools >&2 || die "the tools do not build (see above), so no virtual machine can be started" "mend it, or set SWAPKSM_NO_BUILD=1 to run what was built before"
	[ -n "$stock" ] || make -C "$REPO" "$([ -n "$release" ] && echo module || echo module-debug)" KERNEL="$kernel" >&2 ||
		die "swapksm.ko does not build (see above), so there is nothing to test" "mend it, or test the stock kernel with --stock"
	export SWAPKSM_NO_BUILD=1
}

# /dev/ksm: its calls, the example programs, and handing back while it is open
dev_ksm_tests() {
	run_program dev-ksm "$C_TESTS/dev_ksm_test" -- ./dev_ksm_test
	run_program examples "$C_TESTS"/{ksm_thread,ksm_ram} tests/examples/examples_test -- ./examples_test
	run_program dev-ksm-unload --no-load "$C_TESTS/dev_ksm_test" tests/dev-ksm/unload_test -- ./unload_test
}

# All that run in virtual machines, in the order in which they do.
ROOMS='plain swap-disk swap-zram swap-zswap numa kvm faults takeover dev-ksm sysfs vm-runner'

vm_tests() {
	local room
	build_for_vm
	"$GUEST_TESTS" list >/dev/null || die "$GUEST_TESTS does not tell its cases"
	for room in $ROOMS; do
		[ "${only_room:-$room}" = "$room" ] || continue
		case $room in
		# What only swapksm has.
		faults | takeover | dev-ksm) [ -z "$stock" ] || continue ;;&
		faults) run_faults ;;
		dev-ksm) dev_ksm_tests ;;
		sysfs) sysfs_tests ;;
		vm-runner) run_on_host vm-runner tests/vm-runner/run ${kernel:+--kernel "$kernel"} ;;
		*) run_room "$room" ;;
		esac
	done
}

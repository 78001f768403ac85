# SPDX-License-Identifier: GPL-2.0
# Runs one suite on one KSM and keeps what its tests printed.

# How tools/vm run ends when it is not the command's own end.
VM_TIMEOUT=124 VM_RUNNER=125 VM_COMPLAINT=126

suites() { awk '$1 == "suite" { print $2 }' "$LIST"; }

# lines_of SUITE: its lines in the list without comments
lines_of() { awk -v name="$1" '$1 == "suite" { in_it = $2 == name } in_it && NF && $1 !~ /^#/' "$LIST"; }

# runs_of SUITE: how often a test is run in all
runs_of() { lines_of "$1" | awk '/^(same|all|most|often|sound|clean) / { n += $2 } END { print n + 0 }'; }

# vm_options_of SUITE: of its machine. A kernel without ext4 (ours) has nothing to load for it.
vm_options_of() {
	local options
	options=$(lines_of "$1" | sed -n '1s/^suite [^ ]* *//p')
	grep -q '^CONFIG_EXT4_FS=' "$BUILD/.config" || options=${options/--module ext4/}
	printf '%s\n' "$options"
}

# files_of SUITE: programs its tests are made of
files_of() {
	local word
	lines_of "$1" | awk '/^(same|all|most|often|sound|clean) / { print $3; print $4 }' | sort -u | while read -r word; do
		[ ! -f "$BIN/$word" ] || printf '%s\n' "$BIN/$word"
	done
}

# check_programs SUITE: all that its tests start is there; other kernel versions have other tests.
check_programs() {
	local program
	while read -r program; do
		[ "$program" = stress-ng ] || [ "$program" = took_place ] || [ -x "$BIN/$program" ] ||
			die "the source of $KREL has no test $program" "take it out of suite $1 in $LIST"
	done < <(lines_of "$1" | awk '/^(same|all|most|often|sound|clean) / { print $3; if ($3 == "merge_any") print $4 }' | sort -u)
}

# module_of KSM: the module's file, nothing for the stock KSM
module_of() {
	case $1 in
	swapksm) printf '%s\n' "$CACHE/out/$KREL/swapksm.ko" ;;
	self-check) printf '%s\n' "$CACHE/out/$KREL/debug/swapksm.ko" ;;
	esac
}

ksm_options() {
	case $1 in
	stock) echo --stock ;;
	swapksm) ;;
	self-check) echo --debug-module ;;
	esac
}

# key SUITE KSM: changes with everything the results depend on
key() {
	local module
	module=$(module_of "$2")
	{
		lines_of "$1" | grep -v '^note '
		cat "$REPO/tests/peers/guest"
		cksum <"$KERNELS/$KREL/vmlinuz"
		[ -z "$module" ] || cksum <"$module"
		files_of "$1" | xargs cat | cksum
		[[ $(lines_of "$1") != *stress-ng* ]] || cat "$PEERS/stress-ng/version"
	} | cksum | tr ' ' -
}

# Follows a suite's output: everything goes into the file, what is at work now to standard error.
follow() {
	local file=$1 label=$2 all=$3 line word number rest last=0
	while IFS= read -r line; do
		printf '%s\n' "$line" >>"$file"
		case $line in
		"@begin "*)
			read -r word number _ rest <<<"$line"
			if [ $((SECONDS - last)) -ge 5 ]; then
				say "  $label: $number of $all, $rest"
				last=$SECONDS
			fi
			;;
		esac
	done
}

# How many times slower kernels with checkers are: as tests/guest/src/slow.rs has it.
slow() { if debug_flavour "$kernel" >/dev/null; then echo 6; else echo 1; fi; }

# run_guest SUITE KSM FILE FROM: one guest; its output goes to the end of FILE. The exit code is that of tools/vm run.
run_guest() {
	local suite=$1 ksm=$2 file=$3 options files rc=0
	mapfile -t files < <(files_of "$suite")
	read -ra options <<<"$(vm_options_of "$suite") $(ksm_options "$ksm") ${kernel:+--kernel $kernel}"
	rm -rf "$WORK"
	mkdir -p "$WORK/bin"
	mkfifo "$WORK/output"
	[ ${#files[@]} = 0 ] || ln "${files[@]}" "$WORK/bin"
	[[ $(lines_of "$suite") != *" stress-ng "* ]] || options+=("$PEERS/stress-ng")
	lines_of "$suite" >"$WORK/suite"
	# In a process group of its own, which an interruption ends.
	set -m
	# Debian keeps ptrace from writing to pages without permission, which a test of the kernel's does.
	SWAPKSM_NO_BUILD=1 "$REPO/tools/vm" run --append proc_mem.force_override=always \
		--timeout $((1500 * $(slow))) --env "SLOW=$(slow)" --log "$file.kernel" \
		"${options[@]}" "$WORK/suite" "$WORK/bin" "$REPO/tests/peers/guest" -- ./guest "$4" \
		>"$WORK/output" 2>"$file.vm" </dev/null &
	CHILD=$!
	set +m
	follow "$file" "$ksm, $suite" "$(runs_of "$suite")" <"$WORK/output"
	wait "$CHILD" || rc=$?
	CHILD=
	return "$rc"
}

ended_in() { awk '$1 == "@end" { n = $2 } END { print n + 0 }' "$1"; }

# is_current SUITE KSM FILE: the results are of this list, these programs and this module
is_current() { [ "$(sed -n '1s/^@key //p' "$3" 2>/dev/null)" = "$(key "$1" "$2")" ]; }

# run_suite SUITE KSM: every run gets an end, also when one takes the guest down: the rest runs in another guest then.
run_suite() {
	local suite=$1 ksm=$2 file=$RESULTS/$1.$2 part=$RESULTS/$1.$2.part all key ended=0 rc from=1 start=$SECONDS
	all=$(runs_of "$suite")
	if [ -z "$again" ] && is_current "$suite" "$ksm" "$file"; then
		say "$ksm, $suite: nothing has changed since it ran ($(date -r "$file" '+%d %b %H:%M'))"
		return
	fi
	check_programs "$suite"
	say "$ksm, $suite: $all runs …"
	rm -f "$file" "$file".*
	key=$(key "$suite" "$ksm")
	printf '@key %s\n' "$key" >"$part"
	while [ "$from" -le "$all" ]; do
		rc=0
		run_guest "$suite" "$ksm" "$part" "$from" || rc=$?
		ended=$(ended_in "$part")
		case $rc in
		0) break ;;
		"$VM_RUNNER" | 1)
			[ "$ended" -ge "$from" ] || die "the guest for $suite cannot begin: $(grep . "$part.vm" | tail -n 1)" "the whole output is in $part.vm"
			;;
		esac
		printf '@guest %s\n' "$rc" >>"$part"
		cp "$part.vm" "$file.log-$from"
		# The one after the last that ended took the guest down.
		[ "$ended" -ge "$all" ] || printf '@died %s %s\n' "$((ended + 1))" "$rc" >>"$part"
		from=$((ended + 2))
	done
	printf '@took %s\n' $((SECONDS - start)) >>"$part"
	rm -f "$part".*
	mv "$part" "$file"
}

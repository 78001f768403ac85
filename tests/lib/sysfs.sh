# SPDX-License-Identifier: GPL-2.0
# Compares the files of /sys/kernel/mm/ksm with the stock kernel's, value by value.

# sysfs_answers FILE VM-OPTION…: what every file answers in a fresh guest
sysfs_answers() {
	local to=$1
	shift
	tools/vm run ${kernel:+--kernel "$kernel"} "$@" "$GUEST_TESTS" -- ./guest-tests sysfs-compare \
		>"$to" 2>"$to.log" </dev/null || return 1
}

sysfs_tests() {
	local file ours stocks names options
	wanted sysfs/ || case $only in sysfs/*) ;; *) return 0 ;; esac
	[ -z "$stock" ] || return 0
	say "files of /sys/kernel/mm/ksm against the stock kernel's …"
	stocks=$RESULTS/sysfs-stock ours=$RESULTS/sysfs-swapksm
	for file in "$stocks" "$ours"; do
		options=(--stock)
		[ "$file" = "$stocks" ] || mapfile -t options < <(module_options)
		if ! sysfs_answers "$file" "${options[@]}"; then
			result fail "sysfs/compare" "no answers for ${file##*/}"
			tail -n 30 "$file.log" | sed 's/^/       | /'
			return 0
		fi
	done
	mapfile -t names < <(cut -f 1 "$stocks" | sort -u)
	[ ${#names[@]} -gt 0 ] || result fail "sysfs/compare" "the stock kernel has no files"
	for file in "${names[@]}"; do
		wanted "sysfs/$file" || continue
		if diff <(grep "^$file"$'\t' "$stocks") <(grep "^$file"$'\t' "$ours") >"$RESULTS/sysfs-$file.diff"; then
			result ok "sysfs/$file"
		else
			result fail "sysfs/$file" "< stock, > swapksm"
			sed 's/^/       /' "$RESULTS/sysfs-$file.diff"
		fi
	done
	say "files that only swapksm has: $(cut -f 1 "$ours" | sort -u | grep -vxFf <(printf '%s\n' "${names[@]}") | xargs)"
}

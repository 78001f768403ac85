# SPDX-License-Identifier: GPL-2.0
# rustfmt. The module has the kernel's settings (its .rustfmt.toml: edition 2021, everything else rustfmt's default), and
# the programs have the same, so that one style holds everywhere.

# format_rust [--check]
format_rust() {
	local manifest rc=0
	counted "${#module_rust[@]} files of the module, ${#programs_rust[@]} of programs and tests"
	cmp -s <(grep -vE '^(#|$)' "$KERNELS/$KREL/build/.rustfmt.toml") - <<-'END' || {
		edition = "2021"
		newline_style = "Unix"
	END
		echo "the kernel's .rustfmt.toml has changed; tools/lib/lint/format.sh has to follow it"
		rc=1
	}
	# shellcheck disable=SC2086
	in_tree rustfmt --color never --edition 2021 --config newline_style=Unix ${1:-} "${module_roots[@]}" || rc=1
	for manifest in "${manifests[@]}"; do
		# shellcheck disable=SC2086
		in_cargo fmt --all --manifest-path "$manifest" -- --color never --config newline_style=Unix ${1:-} || rc=1
	done
	return $rc
}

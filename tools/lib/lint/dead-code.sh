# SPDX-License-Identifier: GPL-2.0
# What nobody uses. Unused Rust items and static C functions are the compilers' to find (clippy.sh); here are the
# files that belong to no crate, the functions that C and Rust declare to each other, and attempts to hide dead code.

dead_code() {
	local file rc=0 functions=0 name
	for file in "${module_rust[@]}" "${programs_rust[@]}"; do
		is_of_a_crate "$file" || { echo "$file: belongs to no crate"; rc=1; }
	done
	for name in $(sed -E 's,/\*.*\*/,,' shims/*.h | grep -oE '\bswapksm_\w+\(' | tr -d '(' | sort -u); do
		functions=$((functions + 1))
		is_called "$name" || { echo "$name(): declared in shims/$(grep -lE "\b$name\(" shims/*.h | sed 1q | xargs -r basename), nobody calls it"; rc=1; }
	done
	hidden_dead_code || rc=1
	counted "$((${#module_rust[@]} + ${#programs_rust[@]})) Rust files, $functions functions that C and Rust declare to each other"
	return $rc
}

# is_of_a_crate FILE: the root of one, or named by a mod declaration beside or above it
is_of_a_crate() {
	local dir=${1%/*} name=${1##*/} roots
	name=${name%.rs}
	case $1 in
	*/src/main.rs | */src/lib.rs | */src/bin/* | */build.rs | kmod/swapksm_main.rs | tools/kernel/* | tests/vm-runner/*) return 0 ;;
	*/mod.rs) name=${dir##*/} dir=${dir%/*} ;;
	# cargo takes each for a test of its own.
	*/tests/*.rs) [ ! -e "${dir%/*}/Cargo.toml" ] || [ -e "$dir/Cargo.toml" ] || return 0 ;;
	esac
	mapfile -t roots < <(ls "$dir/mod.rs" "$dir/main.rs" "$dir/lib.rs" "$dir/swapksm_main.rs" "$dir.rs" 2>/dev/null)
	[ ${#roots[@]} = 0 ] || ! grep -qE "^\s*(pub(\([a-z: ]+\))? )?mod $name;" "${roots[@]}" || return 0
	grep -qE "^\s*path = \"(src/)?${1##*/}\"" "${dir%/src*}/Cargo.toml" 2>/dev/null
}

# is_called NAME: from Rust, or from an indented line of C
is_called() {
	grep -rqE "\b$1\b" --include='*.rs' --exclude-dir=xxhash kmod && ! grep -qE "fn $1\b" -r kmod --include='*.rs' && return 0
	grep -qE "^[[:space:]].*\b$1\b" shims/*.c shims/compat.h
}

# Only what is generated or shared with the host's tests may hide it.
hidden_dead_code() {
	local found
	found=$(grep -nE 'allow\(.*(dead_code|unused)' "${module_rust[@]}" "${programs_rust[@]}" | grep -v 'reason = "' || true)
	[ -z "$found" ] || { printf 'dead code hidden without a reason:\n%s\n' "$found"; return 1; }
}

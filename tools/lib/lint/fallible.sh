# SPDX-License-Identifier: GPL-2.0
# Functions that may fail are made to fail by a test: each function of shims/*.h that returns something is in shims/injectable.c, with a trial among the cases, or in the list "infallible" with a reason.

INFALLIBLE=tools/lib/lint/infallible
INJECTABLE=shims/injectable.c
TRIALS=tests/guest/src/cases/faults_functions.rs

fallible() {
	local name rc=0 count=0 answering injectable excepted
	answering=$(grep -hE '^[a-z].*\(' shims/*.h | grep -vE '^(void [a-z]|static |typedef )' | sed -nE 's/.*\b(swapksm_\w+)\(.*/\1/p' | sort -u)
	injectable=$(sed -nE 's/^ALLOW_ERROR_INJECTION\((\w+),.*/\1/p' "$INJECTABLE" | sort -u)
	excepted=$(sed -nE 's/^(swapksm_\w+) +[^ ].*/\1/p' "$INFALLIBLE" | sort -u)
	[ -n "$answering" ] && [ -n "$injectable" ] && [ -n "$excepted" ] ||
		{ echo "nothing found in shims/*.h, $INJECTABLE or $INFALLIBLE: has their form changed?"; rc=1; }
	for name in $answering; do
		count=$((count + 1))
		grep -qxF "$name" <<<"$injectable"$'\n'"$excepted" ||
			{ echo "$name(): may it fail? It is neither in $INJECTABLE nor in $INFALLIBLE"; rc=1; }
	done
	for name in $(comm -12 <(echo "$injectable") <(echo "$excepted")); do
		echo "$name: both in $INJECTABLE and in $INFALLIBLE"
		rc=1
	done
	for name in $(comm -23 <(printf '%s\n' "$injectable" "$excepted" | sort -u) <(echo "$answering")); do
		echo "$name: in $INJECTABLE or $INFALLIBLE, but in no header of shims/"
		rc=1
	done
	for name in $injectable; do
		grep -qF "\"$name\"" "$TRIALS" || { echo "$name: in $INJECTABLE, but $TRIALS has no trial of it"; rc=1; }
	done
	counted "$count functions that give an answer"
	return $rc
}

# SPDX-License-Identifier: GPL-2.0
# compare.awk LIST STOCK SWAPKSM SELF-CHECK: one suite's results side by side. The variable "suite" names it. Ends with
# a line "@count SAME DIFFER NOT-COMPARED SKIPPED FAILING" for the caller; the last two are subtests that every KSM skipped or
# failed, which the first two do not show.

BEGIN {
	ksms = split("stock swapksm self-check", ksm_name, " ")
	split("ok skip xfail fail died", classes, " ")
	at_file = 0
}

FNR == 1 { at_file++ }

# The list

at_file == 1 && $1 == "suite" { here = $2 == suite }
at_file == 1 && here && /^(same|all|most|often|sound|clean) / {
	tests++
	rule[tests] = $1
	times[tests] = $2
	command[tests] = rest_from(3)
	for (i = 0; i < $2; i++)
		test_of_run[++runs] = tests
}
at_file == 1 && here && $1 == "note" { note[tests] = rest_from(2) }
at_file == 1 { next }

# What a suite printed

{ ksm = at_file - 1 }
$1 == "@begin" { test = test_of_run[$2]; failed = skipped = late = 0; next }
$1 == "@timeout" { late = 1; next }
$1 == "@end" { end_run($3); test = 0; next }
$1 == "@died" { run[ksm, test_of_run[$2], "died"]++; count(test_of_run[$2], "(the guest)", "died"); test = 0; next }
$1 == "@guest" { guest_end[ksm] = $2; next }
$1 == "@took" { took[ksm] = $2; next }
test && /^(not )?ok [0-9]+/ { subtest($0) }

function rest_from(n,    text, i) {
	for (i = n; i <= NF; i++)
		text = text (i > n ? " " : "") $i
	return text
}

# TAP: a directive stands after the name, or before the reason that takes the name's place.
function subtest(line,    name, outcome, reason) {
	outcome = line ~ /^not ok/ ? "fail" : "ok"
	if (line ~ /# SKIP/)
		outcome = "skip"
	else if (line ~ /# XFAIL/)
		outcome = "xfail"
	sub(/^(not )?ok [0-9]+ */, "", line)
	name = line
	sub(/ *# (SKIP|XFAIL).*/, "", name)
	if (outcome == "skip" && name != "" && match(line, /# SKIP +/))
		reason = substr(line, RSTART + RLENGTH)
	if (name == "") {
		name = line
		sub(/^# (SKIP|XFAIL) */, "", name)
	}
	# Addresses and measurements are no part of a name.
	gsub(/0x[0-9a-f]+/, "0x…", name)
	sub(/ Extra pages [0-9].*/, "", name)
	failed += outcome == "fail"
	said_fail[ksm, test] += outcome == "fail"
	skipped += outcome == "skip"
	count(test, name, outcome)
	if (reason != "")
		skip_reason[test, name] = reason
}

function count(t, name, outcome) {
	if (!((t, name) in seen)) {
		seen[t, name] = 1
		names[t, ++name_count[t]] = name
	}
	counted[ksm, t, name, outcome]++
	total[ksm, t, outcome]++
	subtests[ksm, t]++
}

# 4 is kselftest's exit code for skipping; stress-ng ends with 3 when it lacks a resource.
function end_run(code,    class) {
	if (late)
		class = "fail"
	else if (code == 4 || (code == 3 && command[test] ~ /^stress-ng /))
		class = "skip"
	else if (code != 0 || failed)
		class = "fail"
	else
		class = skipped ? "skip" : "ok"
	# Stopped, or killed for what it met in memory.
	hung[ksm, test] += late || code > 128
	if (late)
		count(test, "(ends in time)", class)
	else if (code != 0 && !failed)
		count(test, "(exit code " code ")", class)
	run[ksm, test, class]++
}

# What a test did, in short.
function cell(k, t,    text, c) {
	if (!(k in took))
		return "not run"
	if (times[t] > 1)
		text = (run[k, t, "ok"] + 0) " of " times[t]
	else if (subtests[k, t] < 2)
		for (c = 1; c in classes; c++)
			text = text (run[k, t, classes[c]] ? classes[c] : "")
	else
		for (c = 1; c in classes; c++)
			if (total[k, t, classes[c]])
				text = text (text == "" ? "" : ", ") total[k, t, classes[c]] " " classes[c]
	return text == "" ? "no result" : text
}

# How often a subtest ended how.
function outcomes(k, t, name,    text, c) {
	for (c = 1; c in classes; c++)
		if (counted[k, t, name, classes[c]])
			text = text (text == "" ? "" : ", ") counted[k, t, name, classes[c]] " " classes[c]
	return text == "" ? "no result" : text
}

function same_outcomes(k, t,    n, c) {
	for (n = 1; n <= name_count[t]; n++)
		if (outcomes(k, t, names[t, n]) != outcomes(1, t, names[t, n]))
			return 0
	for (c = 1; c in classes; c++)
		if (run[k, t, classes[c]] != run[1, t, classes[c]])
			return 0
	return 1
}

# Does what this KSM did fulfil the rule?
function holds(k, t) {
	if (rule[t] == "all")
		return run[k, t, "ok"] == times[t]
	if (rule[t] == "most")
		return 5 * run[k, t, "ok"] >= 4 * times[t]
	if (rule[t] == "often")
		return 2 * (run[k, t, "ok"] + run[k, t, "skip"]) > times[t]
	if (rule[t] == "sound")
		return !said_fail[k, t] && !hung[k, t] && !run[k, t, "died"] && total[k, t, "ok"] > 0
	if (rule[t] == "clean")
		return run[k, t, "ok"] + run[k, t, "skip"] == times[t] && total[k, t, "ok"] + run[k, t, "ok"] > 0
	return same_outcomes(k, t)
}

# Whether every KSM that was run ended a subtest in this way only.
function everywhere(t, name, class,    k, c) {
	for (k = 1; k <= ksms; k++) {
		if (!(k in took))
			continue
		if (!counted[k, t, name, class])
			return 0
		for (c = 1; c in classes; c++)
			if (classes[c] != class && counted[k, t, name, classes[c]])
				return 0
	}
	return 1
}

# Results that are the same because nobody had a good one.
function tell_common(t,    n, skips, what, reason, given, reasons, r) {
	what = command[t]
	for (n = 1; n <= name_count[t]; n++) {
		if (everywhere(t, names[t, n], "skip")) {
			skips++
			reason = skip_reason[t, names[t, n]]
			if (reason != "" && !(reason in given))
				order[++reasons] = reason
			given[reason]++
		}
		if (everywhere(t, names[t, n], "fail")) {
			print "      fails on each KSM: " what ": " names[t, n]
			failing++
		}
	}
	if (skips)
		print "      " skips " of " what " skipped on each KSM"
	# Not all say why: some have the name where the reason should be.
	for (r = 1; r <= reasons; r++)
		print "        " given[order[r]] ": " order[r]
	skipping += skips
}

function row(what, a, b, c, verdict) {
	printf "%-70s %-24s %-24s %-24s %s\n", what, a, b, c, verdict
}

# The subtests to which a difference is due.
function explain(t,    n, k, shown, line, bad) {
	for (n = 1; n <= name_count[t] && shown < 10; n++) {
		line = names[t, n] ":"
		bad = 0
		for (k = 1; k <= ksms; k++) {
			if (!(k in took))
				continue
			line = line " " ksm_name[k] " " outcomes(k, t, names[t, n]) (k < ksms ? ";" : "")
			bad += rule[t] == "same" ? outcomes(k, t, names[t, n]) != outcomes(1, t, names[t, n]) : \
				k > 1 && (counted[k, t, names[t, n], "fail"] + counted[k, t, names[t, n], "died"] > 0)
		}
		if (bad) {
			print "      > " line
			shown++
		}
	}
}

function guest_text(k) {
	if (!(k in took))
		return "not run"
	if (!(k in guest_end))
		return "clean"
	return guest_end[k] == 126 ? "complained" : guest_end[k] == 124 ? "out of time" : "died (" guest_end[k] ")"
}

END {
	row(suite, ksm_name[1], ksm_name[2], ksm_name[3], "")
	for (t = 1; t <= tests; t++) {
		good = 1
		if (!(1 in took) || !(2 in took) && !(3 in took)) {
			row("  " command[t], cell(1, t), cell(2, t), cell(3, t), "-")
			open++
			continue
		}
		for (k = 2; k <= ksms; k++)
			if (k in took)
				good = good && holds(k, t)
		better = good && !holds(1, t)
		row("  " command[t], cell(1, t), cell(2, t), cell(3, t), good ? (better ? "same or better" : "same") : "DIFFERS")
		if (t in note)
			print "      " note[t]
		tell_common(t)
		if (!good)
			explain(t)
		same += good
		differ += !good
	}
	good = compared = 0
	for (k = 1; k <= ksms; k++) {
		compared += k in took
		good += (k in took) && !(k in guest_end)
	}
	row("  (guest's kernel log, checks at the end, unloading)", guest_text(1), guest_text(2), guest_text(3), \
		good < compared ? "DIFFERS" : compared < 2 ? "-" : "same")
	differ += good < compared
	open += good == compared && compared < 2
	same += good == compared && compared >= 2
	time = ""
	for (k = 1; k <= ksms; k++)
		time = time (k > 1 ? ", " : "") (k in took ? took[k] " s" : "-")
	print "      took " time
	print "@count " same + 0 " " differ + 0 " " open + 0 " " skipping + 0 " " failing + 0
}

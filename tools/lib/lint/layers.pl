#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
# layers.pl RULES FILE…: holds the module's files against the rules (tools/lib/lint/layers). Prints what breaks them, and
# in the last line what was looked at.
use strict;
use warnings;

my $rules = shift;
my (@rooms, %limit, %count, %used);
open my $in, '<', $rules or die "$rules: $!\n";
while (<$in>) {
	s/#.*//;
	my @word = split or next;
	if ($word[0] eq 'limit') {
		$limit{$word[1]} = $word[2];
		next;
	}
	my $unsafe = pop @word;
	my $room = shift @word;
	push @rooms, { room => $room, unsafe => $unsafe, may => { map { $_ => 1 } @word } };
}
close $in;

my $broken = 0;
sub broken {
	print "@_\n";
	$broken++;
}

# The code of a file: comments and the insides of strings are gone, lines stay.
sub code_of {
	my $text = shift;
	$text =~ s{("(?:[^"\\]|\\.)*")|//[^\n]*}{ defined $1 ? '"' . ($1 =~ tr/\n//cdr) . ($1 eq '"C"' ? 'C' : '') . '"' : '' }gse;
	return $text;
}

sub line_at { return 1 + (substr($_[0], 0, $_[1]) =~ tr/\n//) }

# The first names after `crate::`, those in braces included: [name, offset]…
sub crate_names {
	my $code = shift;
	my @names;
	while ($code =~ /\bcrate\s*::\s*/g) {
		my $start = pos $code;
		if (substr($code, $start) =~ /^(\w+)/) {
			push @names, [$1, $start];
			next;
		}
		next unless substr($code, $start, 1) eq '{';
		my ($depth, $first) = (0, 1);
		for (my $i = $start; $i < length $code; $i++) {
			my $c = substr $code, $i, 1;
			if ($c eq '{') { $depth++; }
			elsif ($c eq '}') { last unless --$depth; }
			elsif ($c eq ',') { $first = 1 if $depth == 1; }
			elsif ($c =~ /\w/ && $first && $depth == 1) {
				substr($code, $i) =~ /^(\w+)/;
				push @names, [$1, $i];
				$first = 0;
			}
		}
	}
	return @names;
}

my $files = 0;
for my $file (@ARGV) {
	my $path = $file;
	$path =~ s{^kmod/}{} or next;
	next if $path =~ m{^xxhash/};
	$files++;
	my ($room) = grep { $path eq $_->{room} || ($_->{room} =~ m{/$} && index($path, $_->{room}) == 0) } @rooms;
	unless ($room) {
		broken("$file: no rule holds for it; add a line to $rules");
		next;
	}
	$used{$room->{room}} = 1;
	my ($top) = $path =~ m{^(\w+)};
	open my $h, '<', $file or die "$file: $!\n";
	my $code = code_of(do { local $/; <$h> });
	close $h;

	for my $name (crate_names($code)) {
		my ($what, $at) = @$name;
		next if $what eq $top || $room->{may}{$what};
		broken(sprintf '%s:%d: must not name crate::%s', $file, line_at($code, $at), $what);
	}
	unless ($room->{may}{bindings}) {
		broken(sprintf '%s:%d: must not name the bindings of C', $file, line_at($code, $-[0]))
			while $code =~ /\b(?:bindings|ffi::c_void)\b/g;
		broken(sprintf '%s:%d: must not hold a raw pointer', $file, line_at($code, $-[0]))
			while $code =~ /\*\s*(?:const|mut)\s+[\w(\[]/g;
	}
	unless ($room->{may}{extern}) {
		broken(sprintf '%s:%d: only kmod/sys is called by C and calls it', $file, line_at($code, $-[0]))
			while $code =~ /\bextern\s*"C"|#\[\s*(?:unsafe\s*\(\s*)?(?:no_mangle|export_name|link_section)\b/g;
		broken(sprintf '%s:%d: only kmod/sys knows the bindings of the kernel crate', $file, line_at($code, $-[0]))
			while $code =~ /\bkernel\s*::\s*bindings\b/g;
	}
	if ($room->{unsafe} eq 'forbidden') {
		# The compiler holds it, if it is told to: in the file, or in the mod.rs above it.
		my $above = $file =~ s{[^/]*$}{mod.rs}r;
		my $told = grep { -e $_ && has_forbid($_) } $file, $above;
		broken("$file: lacks #![forbid(unsafe_code)]") unless $told || $path eq 'swapksm_main.rs';
		broken(sprintf '%s:%d: unsafe code is forbidden here', $file, line_at($code, $-[0]))
			while $code =~ /\bunsafe\b(?!_code)/g;
	} else {
		my $n = () = $code =~ /\bunsafe\b/g;
		$count{$room->{unsafe}} += $n;
	}
}

sub has_forbid {
	open my $h, '<', shift or return 0;
	return !!grep { /^#!\[forbid\(unsafe_code\)\]/ } <$h>;
}

for my $kind (sort keys %count) {
	if (!defined $limit{$kind}) {
		broken("$rules: no limit for the kind '$kind'");
	} elsif ($count{$kind} > $limit{$kind}) {
		broken("$kind: $count{$kind} unsafe, the limit is $limit{$kind}: put it behind a safe function of kmod/sys, or raise the limit in $rules");
	} elsif ($count{$kind} + 12 < $limit{$kind}) {
		broken("$kind: only $count{$kind} unsafe, the limit is $limit{$kind}: lower it in $rules");
	}
}
for my $room (@rooms) {
	broken("$rules: '$room->{room}' is not there any more; remove the line") unless $used{$room->{room}};
}
printf "%d files, %d rules; unsafe: %s, none elsewhere\n", $files, scalar @rooms,
	join ', ', map { "$count{$_} in $_ (limit $limit{$_})" } grep { defined $limit{$_} } sort keys %count;
exit($broken ? 1 : 0);

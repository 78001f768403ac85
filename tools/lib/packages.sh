# SPDX-License-Identifier: GPL-2.0
# Finds and downloads Debian's kernel packages, with apt and its signatures, but with lists of our own: the machine's
# sources stay untouched.

# The lists of a suite.
use_lists() {
	case $SUITE in
	sid) APT=$CACHE/apt-sid OFFERS=sid ;;
	*) APT=$CACHE/apt OFFERS=$SUITE-backports ;;
	esac
}

kernel_apt() {
	local command=$1
	shift
	"$command" -o Dir::Etc::SourceList="$APT/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
		-o Dir::State="$APT/state" -o Dir::State::Lists="$APT/lists" -o Dir::State::Status="$APT/status" \
		-o Dir::Cache="$APT" -o Dir::Cache::Archives="$APT/archives" -o APT::Architecture=amd64 -o APT::Architectures::=amd64 \
		-o APT::Sandbox::User=root -o Acquire::Languages=none -o "Acquire::Check-Valid-Until=$LISTS_EXPIRE" -o Acquire::Retries=3 "$@"
}

update_lists() {
	mkdir -p "$APT/lists/partial" "$APT/archives/partial" "$APT/state"
	: >"$APT/status"
	printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$MIRROR" "$OFFERS" >"$APT/sources.list"
	# Without this apt calls a failed download of the lists a success.
	kernel_apt apt-get -o APT::Update::Error-Mode=any update
}

# The packages an image comes in; not every version has all of them. The unsigned kernel goes before the signed one,
# which then replaces it.
image_packages() { printf '%s\n' "linux-base-$1" "linux-binary-unsigned-$1" "linux-binary-$1" "linux-modules-$1"; }

source_package() {
	local v=${1%%+*}
	printf 'linux-source-%s\n' "${v%.*}"
}

versions_of() { kernel_apt apt-cache madison "$1" 2>/dev/null | awk -F ' *[|] *' -v p="$1" '{ sub(/^ */, "", $1) } $1 == p { print $2 }'; }

# offers PACKAGE VERSION
offers() {
	local all
	all=$(versions_of "$1")
	[[ $'\n'$all$'\n' == *$'\n'$2$'\n'* ]]
}

# Prints the package version if everything of KREL can be had, else says what is missing.
kernel_offered() {
	local krel=$1 version
	version=$(versions_of "linux-headers-$krel" | sed -n 1p)
	[ -n "$version" ] || { echo "linux-headers-$krel" >&2; return 1; }
	offers "linux-modules-$krel" "$version" || { echo "linux-modules-$krel" >&2; return 1; }
	offers "linux-binary-$krel" "$version" || offers "linux-binary-unsigned-$krel" "$version" || { echo "linux-binary-$krel" >&2; return 1; }
	offers "$(source_package "$krel")" "$version" || { echo "$(source_package "$krel") $version" >&2; return 1; }
	printf '%s\n' "$version"
}

# Releases (7.3.4+deb13-amd64) on offer, newest first, optionally of one upstream version only.
kernels_offered() {
	kernel_apt apt-cache pkgnames linux-headers- |
		sed -nE 's/^linux-headers-([0-9]+\.[0-9.]+\+deb[0-9]+-amd64)$/\1/p' |
		grep -E "^${1:-}" | sort -rV || true
}

# choose_kernel [VERSION]: sets KREL and VERSION to the newest that is on offer complete.
choose_kernel() {
	local asked=${1:-} pattern krel lacking=
	pattern=$(sed 's/[.+]/\\&/g' <<<"$asked")
	case $asked in
	"" | *amd64) ;;
	*) pattern="$pattern\\+" ;;
	esac
	long "list of Debian's kernels" - update_lists
	for krel in $(kernels_offered "$pattern"); do
		if VERSION=$(kernel_offered "$krel" 2>"$APT/lacking"); then
			KREL=$krel
			return 0
		fi
		lacking="$lacking $krel lacks $(cat "$APT/lacking");"
	done
	[ -z "$lacking" ] || die "no complete set of kernel packages for ${asked:-any version}:$lacking" "name another with --kernel VERSION"
	die "$OFFERS has no kernel ${asked:-with Rust metadata}; it has: $(kernels_offered | tr '\n' ' ')" "name one of these with --kernel VERSION"
}

download_progress() {
	local have
	have=$(du -cm "$DEBS.part" "$APT/archives/partial" 2>/dev/null | tail -n 1 | cut -f 1)
	printf '%s of %s MiB' "$have" "$DOWNLOAD_MIB"
}

# apt checks each file against the signed lists before it leaves archives/partial, and resumes what lies there.
download() {
	cd "$DEBS.part"
	kernel_apt apt-get -q download "$@"
	mv -f "$DEBS.part"/*.deb "$DEBS"/
}

# debs_version KREL: the package version of KREL whose source is downloaded
debs_version() {
	local f
	f=$(find "$DEBS" -name "linux-headers-$1_*_amd64.deb" 2>/dev/null | sort -V | tail -n 1)
	f=${f##*/linux-headers-"$1"_}
	f=${f%_amd64.deb}
	[ -n "$f" ] && deb "$(source_package "$1")" "$f" >/dev/null && printf '%s\n' "$f"
}

# download_kernel KREL VERSION
download_kernel() {
	local krel=$1 version=$2 p wanted=()
	mkdir -p "$DEBS" "$DEBS.part"
	for p in $(image_packages "$krel") "linux-headers-$krel" "$(source_package "$krel")"; do
		offers "$p" "$version" || continue
		case $p in linux-binary-unsigned-*) ! offers "linux-binary-$krel" "$version" || continue ;; esac
		deb "$p" "$version" >/dev/null || wanted+=("$p=$version")
	done
	if [ ${#wanted[@]} -gt 0 ]; then
		DOWNLOAD_MIB=$(cd "$DEBS.part" && kernel_apt apt-get -q download --print-uris "${wanted[@]}" | awk "/^'/ { s += \$3 } END { printf \"%d\", s / 1048576 + 1 }")
		need_space "$DEBS" $((DOWNLOAD_MIB + 100)) "the download of $krel"
		long "download of kernel $krel" download_progress download "${wanted[@]}"
	fi
	rm -rf "$DEBS.part"
}

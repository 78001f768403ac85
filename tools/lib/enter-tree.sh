# SPDX-License-Identifier: GPL-2.0
# Second half of in_tree, already in a mount namespace of its own: mounts what the tree needs and enters it.
# enter-tree.sh TREE CACHE REPO COMMAND…
set -eu
here=$PWD TREE=$1 CACHE=$2 REPO=$3
shift 3
mount -t proc proc "$TREE/proc"
mount --rbind /dev "$TREE/dev"
mount -t tmpfs -o mode=1777 tmpfs "$TREE/tmp"
# Names and certificates as on the host, so that a proxy or a private authority works in the tree as well.
for f in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
	if [ -e "$f" ]; then
		mkdir -p "$TREE${f%/*}"
		[ -e "$TREE$f" ] || : >"$TREE$f"
		mount --bind "$(readlink -f "$f")" "$TREE$f"
	fi
done
mkdir -p "$TREE$REPO" "$TREE$CACHE"
mount --bind "$REPO" "$TREE$REPO"
mount --bind "$CACHE" "$TREE$CACHE"
case $here/ in
"$REPO"/* | "$CACHE"/*) ;;
*) here=/ ;;
esac
exec chroot "$TREE" env -u RUSTUP_HOME -u RUSTUP_TOOLCHAIN -u TMPDIR \
	HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
	sh -c 'cd "$1" && shift && exec "$@"' sh "$here" "$@"

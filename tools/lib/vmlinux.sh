# SPDX-License-Identifier: GPL-2.0
# The ELF kernel out of a bzImage. QEMU starts it by the PVH entry at once; unpacking the image in a guest without
# KVM takes two seconds of every boot.

# number FILE OFFSET BYTES: an unsigned little-endian number
number() { od -An -j "$2" -N "$3" -t "u$3" "$1" | tr -d ' '; }

# unpack_vmlinuz VMLINUZ OUT: fails quietly when the image is of a kind it does not know
unpack_vmlinuz() {
	local sectors offset length magic tool part=$2.$$.part
	# The boot protocol (Documentation/arch/x86/boot.rst): setup_sects at 0x1f1, payload_offset at 0x248,
	# payload_length at 0x24c; the payload ends with the unpacked size in four bytes of the kernel's own.
	sectors=$(number "$1" $((0x1f1)) 1)
	offset=$(($(number "$1" $((0x248)) 4) + (sectors + 1) * 512))
	length=$(($(number "$1" $((0x24c)) 4)))
	magic=$(number "$1" "$offset" 4)
	case $magic in
	4247762216) tool=zstd length=$((length - 4)) ;;
	1484404733) tool=xz length=$((length - 4)) ;;
	*) case $((magic & 0xffff)) in 35615) tool=gzip ;; *) return 1 ;; esac ;;
	esac
	if head -c $((offset + length)) "$1" | tail -c "+$((offset + 1))" | in_tree "$tool" -dc >"$part" 2>/dev/null &&
		[ "$(number "$part" 0 4)" = $((0x464c457f)) ]; then
		mv "$part" "$2"
	else
		rm -f "$part"
		return 1
	fi
}

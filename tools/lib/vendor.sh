# SPDX-License-Identifier: GPL-2.0
# The crates the module is built with, fetched by cargo in the versions of kmod/xxhash/Cargo.lock (cargo checks their
# checksums), unpacked for Kbuild. Source common.sh and tree.sh first.

SWAPKSM_VENDOR=$CACHE/vendor

# vendor_crates: fills SWAPKSM_VENDOR; does nothing, and needs no network, when the lock file is the one it was filled from.
vendor_crates() {
	local manifest=$REPO/kmod/xxhash/Cargo.toml lock=$REPO/kmod/xxhash/Cargo.lock
	! cmp -s "$lock" "$SWAPKSM_VENDOR/.complete" || return 0
	rm -rf "$SWAPKSM_VENDOR.part"
	long "crates of the module" - in_tree cargo vendor --locked --manifest-path "$manifest" "$SWAPKSM_VENDOR.part"
	cp "$lock" "$SWAPKSM_VENDOR.part/.complete"
	rm -rf "$SWAPKSM_VENDOR"
	mv "$SWAPKSM_VENDOR.part" "$SWAPKSM_VENDOR"
}

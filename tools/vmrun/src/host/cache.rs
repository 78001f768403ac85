// SPDX-License-Identifier: GPL-2.0

//! The places outside the git tree where everything that is made lies.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::kernel::has_checkers;
use crate::common::elf;

/// The cache directory; its layout is described in tools/prepare.
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$SWAPKSM_CACHE`, else `swapksm` under the user's cache directory.
    pub fn find() -> Result<Cache, String> {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = set("SWAPKSM_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("swapksm")))
            .or_else(|| set("HOME").map(|path| path.join(".cache/swapksm")))
            .ok_or("no place for the cache: set SWAPKSM_CACHE or HOME")?;
        Ok(Cache { root })
    }

    /// The prepared kernels, one directory a release.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernel")
    }

    /// What the module's build for this kernel release made. A debug kernel has the debug build only.
    pub fn module(&self, release: &str, debug: bool) -> PathBuf {
        let directory = self.root.join("out").join(release);
        let debug = debug && !has_checkers(release);
        directory.join(if debug {
            "debug/swapksm.ko"
        } else {
            "swapksm.ko"
        })
    }

    /// One of our programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("out/bin").join(name)
    }

    /// A busybox that needs no libraries: the build tree's, or on Debian 13 the host's own.
    pub fn busybox(&self) -> Result<PathBuf, String> {
        let candidates = [
            self.root.join("tree/usr/bin/busybox"),
            "/usr/bin/busybox".into(),
            "/bin/busybox".into(),
        ];
        let is_static =
            |path: &&PathBuf| fs::read(path).is_ok_and(|bytes| elf::loader(&bytes).is_none());
        candidates.iter().find(is_static).cloned().ok_or_else(|| {
            format!(
                "no busybox for the guest: neither {} nor the host has a static one; run tools/prepare",
                candidates[0].display()
            )
        })
    }

    /// Where the verdict on /dev/kvm is kept.
    pub fn kvm_verdict(&self) -> PathBuf {
        self.root.join("kvm-verdict")
    }

    /// A directory of the cache for the guests' logs, made if need be.
    pub fn logs(&self) -> Result<PathBuf, String> {
        self.made("log")
    }

    /// A directory of the cache for the guests' disks, made if need be. Nothing stays in it.
    pub fn disks(&self) -> Result<PathBuf, String> {
        self.made("disks")
    }

    fn made(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(|error| cannot("make the directory", &path, &error))?;
        Ok(path)
    }
}

/// The sentence for a file operation that failed.
pub fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

// SPDX-License-Identifier: GPL-2.0

//! A prepared kernel: its image, and its modules with what they depend on.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{cannot, Cache};

/// What tools/prepare leaves in a kernel's directory when nothing is missing any more.
const COMPLETE: &str = ".complete";

/// What people call the kernels with checkers, and how their names begin: KASAN and lockdep; KCSAN.
const WITH_CHECKERS: &[&str] = &["debug", "kcsan"];

/// Does that release have checkers that slow it down?
pub fn has_checkers(release: &str) -> bool {
    WITH_CHECKERS.iter().any(|kind| release.starts_with(kind))
}

/// A kernel in the cache.
pub struct Kernel {
    /// Its release, which is also its directory's name.
    pub release: String,
    directory: PathBuf,
}

impl Kernel {
    /// The kernel of that version or release; without a wish the one that tools/prepare has chosen,
    /// likewise for a kind of kernel such as "debug" or "sid"; else the newest that fits.
    pub fn choose(cache: &Cache, wish: Option<&str>) -> Result<Kernel, String> {
        let root = cache.kernels();
        let names = fs::read_dir(&root).into_iter().flatten().flatten();
        let names = names.filter(|entry| entry.path().join(COMPLETE).exists());
        let names: Vec<String> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let default = match wish {
            None => fs::read_to_string(root.join(".default")).ok(),
            Some(kind) => fs::read_to_string(root.join(format!(".default-{kind}"))).ok(),
        };
        let default = names.iter().find(|name| {
            default
                .as_deref()
                .is_some_and(|line| line.trim_end() == *name)
        });
        match default.map(String::as_str).or_else(|| pick(&names, wish)) {
            Some(release) => Ok(Kernel {
                directory: root.join(release),
                release: release.to_owned(),
            }),
            None => {
                let option = wish
                    .map(|wish| format!(" --kernel {wish}"))
                    .unwrap_or_default();
                let there = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                Err(format!(
                    "no such kernel in {}: run tools/prepare{option} (there: {there})",
                    root.display()
                ))
            }
        }
    }

    /// Is it one of those with KASAN and lockdep, or KCSAN?
    pub fn has_checkers(&self) -> bool {
        has_checkers(&self.release)
    }

    /// The image that is booted: unpacked if tools/vm could unpack it and `packed` is not wanted.
    pub fn image(&self, packed: bool) -> PathBuf {
        let unpacked = self.directory.join("vmlinux");
        if unpacked.exists() && !packed {
            unpacked
        } else {
            self.directory.join("vmlinuz")
        }
    }

    /// The files of these modules and of all they depend on, in the order in which to load them.
    /// What is built into the kernel is left out.
    pub fn modules(&self, names: &[String]) -> Result<Vec<PathBuf>, String> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let nested = self.directory.join("modules").join(&self.release);
        let root = if nested.is_dir() {
            nested
        } else {
            self.directory.join("modules")
        };
        let read = |name: &str| {
            let path = root.join(name);
            fs::read_to_string(&path)
                .map_err(|error| cannot("read", &path, &error) + "; run tools/prepare")
        };
        let (index, builtin) = (read("modules.dep")?, read("modules.builtin")?);
        let mut files: Vec<PathBuf> = Vec::new();
        for name in names {
            let found = resolve(&index, &builtin, name)
                .ok_or_else(|| format!("kernel {} has no module named {name}", self.release))?;
            for file in found.into_iter().map(|file| root.join(file)) {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }
}

fn pick<'a>(names: &'a [String], wish: Option<&str>) -> Option<&'a str> {
    let fits = |name: &&String| match wish {
        None => !has_checkers(name),
        Some(kind) if WITH_CHECKERS.contains(&kind) => name.starts_with(kind),
        // 7.2.12 is 7.2.12+deb13-amd64 but not 7.2.120.
        Some(wish) => name
            .strip_prefix(wish)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')),
    };
    names
        .iter()
        .filter(fits)
        .max_by_key(|name| version(name))
        .map(String::as_str)
}

/// The numbers in a release, for comparing.
fn version(release: &str) -> Vec<u64> {
    let numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|part| !part.is_empty());
    numbers
        .map(|part| part.parse().unwrap_or(u64::MAX))
        .collect()
}

/// The name under which a module is known, from its file.
fn module_name(path: &str) -> String {
    let file = Path::new(path)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

/// From `modules.dep` (lines `FILE: DEPENDENCY …`): the module's dependencies, deepest first, then
/// itself. Empty when it is built in, `None` when there is no such module.
fn resolve(index: &str, builtin: &str, name: &str) -> Option<Vec<String>> {
    let name = name.replace('-', "_");
    for line in index.lines() {
        let Some((file, dependencies)) = line.split_once(':') else {
            continue;
        };
        if module_name(file) == name {
            // depmod lists the dependencies so that each comes before what it needs itself.
            let mut order: Vec<String> =
                dependencies.split_whitespace().map(str::to_owned).collect();
            order.reverse();
            order.push(file.to_owned());
            return Some(order);
        }
    }
    builtin
        .lines()
        .any(|line| module_name(line) == name)
        .then(Vec::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_chosen_by_number() {
        let names: Vec<String> = [
            "7.3.4+deb13-amd64",
            "7.10.1+deb13-amd64",
            "7.2.12+deb13-amd64",
            "debug-7.3.4",
            "kcsan-7.3.4",
        ]
        .map(Into::into)
        .into();
        assert_eq!(pick(&names, None), Some("7.10.1+deb13-amd64"));
        assert_eq!(pick(&names, Some("7.2.12")), Some("7.2.12+deb13-amd64"));
        assert_eq!(
            pick(&names, Some("7.2.12+deb13-amd64")),
            Some("7.2.12+deb13-amd64")
        );
        assert_eq!(pick(&names, Some("7.2.1")), None);
        assert_eq!(pick(&names, Some("7.3")), None);
        assert_eq!(pick(&names, Some("debug")), Some("debug-7.3.4"));
        assert_eq!(pick(&names, Some("kcsan")), Some("kcsan-7.3.4"));
    }

    #[test]
    fn dependencies_come_first() {
        let index = "kernel/a/kvm-amd.ko.xz: kernel/a/kvm.ko.xz kernel/b/irqbypass.ko.xz\nkernel/a/kvm.ko.xz:\n";
        let builtin = "kernel/drivers/block/virtio_blk.ko\n";
        let order = resolve(index, builtin, "kvm_amd").unwrap();
        assert_eq!(
            order,
            [
                "kernel/b/irqbypass.ko.xz",
                "kernel/a/kvm.ko.xz",
                "kernel/a/kvm-amd.ko.xz"
            ]
        );
        assert_eq!(resolve(index, builtin, "virtio-blk"), Some(Vec::new()));
        assert_eq!(resolve(index, builtin, "kvm-intel"), None);
    }
}

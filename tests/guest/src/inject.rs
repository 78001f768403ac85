// SPDX-License-Identifier: GPL-2.0

//! Failures on demand: the kernel's fault injection, told to let the n-th possible failure happen.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::case::{fail, skip, Context, Outcome};
use crate::check;
use crate::ktap;

const DEBUGFS: &str = "/sys/kernel/debug";

/// What can be made to fail. Not every kernel has all of them.
const KINDS: &[&str] = &[
    "failslab",
    "fail_page_alloc",
    "fail_usercopy",
    "fail_make_request",
    "fail_function",
];

/// Settings that every kind gets: nothing fails by chance, and nothing that could fail is spared. Not every kind has all.
const SETTINGS: &[(&str, &str)] = &[
    ("probability", "0"),
    ("interval", "1"),
    ("times", "-1"),
    ("space", "0"),
    ("verbose", "1"),
    ("task-filter", "N"),
    ("ignore-gfp-wait", "N"),
    ("ignore-gfp-highmem", "N"),
    ("min-order", "0"),
    ("cache-filter", "N"),
];

/// More failures than there will be where they are counted.
const ENOUGH: i64 = 1_000_000;

/// How much of a call chain is looked at: as much as the kernel can.
const DEPTH: &str = "32";

/// Which possible failures are counted.
#[derive(Clone, Copy)]
pub enum Scope {
    /// All of the armed task.
    Task,
    /// Those that happen on behalf of swapksm's code.
    Module,
    /// Those that happen on behalf of a function of the kernel.
    Function(&'static str),
}

/// Fault injection, prepared; as it was before when dropped.
pub struct Injection {
    /// What was written over, oldest first.
    saved: Vec<(PathBuf, String)>,
}

impl Injection {
    /// Gets it ready; skips where the kernel has none.
    pub fn prepare(scope: Scope) -> Outcome<Injection> {
        if !Path::new(DEBUGFS).join("failslab").exists()
            || !Path::new("/proc/self/fail-nth").exists()
        {
            return skip("this kernel has no fault injection (CONFIG_FAILSLAB, CONFIG_FAULT_INJECTION_DEBUG_FS); the debug kernel has");
        }
        let range = match scope {
            Scope::Task => (0, u64::MAX),
            Scope::Module => symbols(|line| line.ends_with("[swapksm]"))?,
            Scope::Function(name) => function(name)?,
        };
        let mut injection = Injection { saved: Vec::new() };
        for kind in injection.kinds() {
            for (file, value) in SETTINGS {
                injection.set(&kind, file, value)?;
            }
            injection.set(&kind, "stacktrace-depth", DEPTH)?;
            injection.set(&kind, "require-start", &format!("{:#x}", range.0))?;
            injection.set(&kind, "require-end", &format!("{:#x}", range.1))?;
        }
        Ok(injection)
    }

    /// Lets every possible failure of a kind happen with that probability (percent), in any task.
    pub fn by_chance(&mut self, kind: &str, percent: u32) -> Outcome {
        self.set(kind, "probability", &percent.to_string())
    }

    /// Counts from now on how often a kind fails.
    pub fn count(&mut self, kind: &str) -> Outcome {
        self.set(kind, "times", &ENOUGH.to_string())
    }

    /// How often it has since.
    pub fn counted(&self, kind: &str) -> Outcome<i64> {
        let path = format!("{DEBUGFS}/{kind}/times");
        let text = fs::read_to_string(&path).context(&path)?;
        match text.trim().parse::<i64>() {
            Ok(left) => Ok(ENOUGH - left),
            Err(_) => fail(format!("{path} holds '{}'", text.trim())),
        }
    }

    /// The `nth` possible failure of a kind from now on happens, in whatever task, and no other. (Two at the same moment may
    /// be taken for one.) `failslab` counts bytes instead: what fails is the allocation that they end in.
    pub fn order(&mut self, kind: &str, nth: u32) -> Outcome {
        self.set(kind, "probability", "0")?;
        self.set(kind, "times", "1")?;
        // So many pass before: each takes one away while more than one is left.
        self.set(kind, "space", &nth.to_string())?;
        self.set(kind, "probability", "100")
    }

    /// Nothing of a kind is ordered any more. Whether the failure has happened.
    pub fn ordered(&mut self, kind: &str) -> Outcome<bool> {
        self.set(kind, "probability", "0")?;
        let path = format!("{DEBUGFS}/{kind}/times");
        let text = fs::read_to_string(&path).context(&path)?;
        match text.trim() {
            "0" => Ok(true),
            "1" => Ok(false),
            other => fail(format!("{path} holds '{other}'")),
        }
    }

    /// Nothing that happens on behalf of this function of the kernel is counted: what fails there has no consequence.
    pub fn spare(&mut self, name: &str) -> Outcome {
        let Ok(range) = function(name) else {
            // Built into its caller.
            return Ok(());
        };
        for kind in self.kinds() {
            self.set(&kind, "reject-start", &format!("{:#x}", range.0))?;
            self.set(&kind, "reject-end", &format!("{:#x}", range.1))?;
        }
        Ok(())
    }

    /// Nothing fails by chance any more.
    pub fn calm(&mut self) -> Outcome {
        for kind in self.kinds() {
            self.set(&kind, "probability", "0")?;
        }
        Ok(())
    }

    /// The kinds this kernel has.
    pub fn kinds(&self) -> Vec<String> {
        let there = |kind: &&&str| Path::new(DEBUGFS).join(kind).exists();
        KINDS
            .iter()
            .filter(there)
            .map(|&kind| kind.to_owned())
            .collect()
    }

    /// Writes a setting, if the kind has it, and remembers what it was.
    fn set(&mut self, kind: &str, file: &str, value: &str) -> Outcome {
        let path = Path::new(DEBUGFS).join(kind).join(file);
        if !path.exists() {
            return Ok(());
        }
        let old = fs::read_to_string(&path).context(path.display())?;
        fs::write(&path, value).context(format!("writing '{value}' to {}", path.display()))?;
        if !self.saved.iter().any(|(known, _)| *known == path) {
            self.saved.push((path, old.trim().to_owned()));
        }
        Ok(())
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        for (path, value) in self.saved.iter().rev() {
            if let Err(error) = fs::write(path, value) {
                eprintln!(
                    "guest-tests: {} is not '{value}' again: {error}",
                    path.display()
                );
            }
        }
    }
}

/// A function chosen for the kind `fail_function`; none is when dropped.
pub struct Function;

impl Function {
    /// Chooses it, and the errno that it fails with (0: NULL or false); skips where it cannot be made to fail.
    pub fn choose(name: &str, errno: i32) -> Outcome<Function> {
        let root = Path::new(DEBUGFS).join("fail_function");
        if !root.exists() {
            return skip("this kernel cannot have functions fail (CONFIG_FAIL_FUNCTION)");
        }
        let list = format!("{DEBUGFS}/error_injection/list");
        let text = fs::read_to_string(&list).context(&list)?;
        if !text
            .lines()
            .any(|line| line.split(['+', ' ', '\t']).next() == Some(name))
        {
            return fail(format!(
                "{name} is not in {list}: shims/injectable.c should have put it there"
            ));
        }
        fs::write(root.join("inject"), name).context(format!("choosing {name}"))?;
        let function = Function;
        let value = (-i64::from(errno)) as u64;
        let file = root.join(name).join("retval");
        fs::write(&file, format!("{value:#x}")).context(file.display())?;
        Ok(function)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // An empty line ends all.
        let _ = fs::write(Path::new(DEBUGFS).join("fail_function/inject"), "\n");
    }
}

/// A task whose n-th possible failure can be ordered. Nothing is ordered any more when dropped.
pub struct Victim(File);

impl Victim {
    /// The calling thread.
    pub fn this() -> Outcome<Victim> {
        Victim::open("/proc/thread-self/fail-nth")
    }

    /// The thread of that number.
    pub fn thread(id: i32) -> Outcome<Victim> {
        Victim::open(&format!("/proc/{id}/fail-nth"))
    }

    fn open(path: &str) -> Outcome<Victim> {
        let file = File::options().read(true).write(true).open(path);
        file.context(path).map(Victim)
    }

    /// The `nth` possible failure from now on happens.
    pub fn arm(&self, nth: u32) -> Outcome {
        self.order(nth).context("writing fail-nth")
    }

    /// Nothing is ordered any more. Whether the failure has happened.
    pub fn disarm(&self) -> Outcome<bool> {
        let left = self.left();
        // Where the calling thread is the victim, its copying to and from the kernel counts: the reading of the last one
        // left is what fails. Then nothing is left, and it had not been reached before.
        let reached = match left {
            Ok(left) => Ok(left == 0),
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => match self.left() {
                Ok(0) => Ok(false),
                Ok(left) => Err(io::Error::other(format!(
                    "EFAULT, and then it holds {left}"
                ))),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        // While something is ordered this very write may be what fails.
        let calm = self.order(0).or_else(|_| self.order(0));
        let reached = reached.context("reading fail-nth")?;
        calm.context("writing 0 to fail-nth")?;
        Ok(reached)
    }

    /// The same of a task that may have ended meanwhile; what it reached then nobody knows, so nothing.
    pub fn disarm_if_there(&self) -> Outcome<bool> {
        match self.left() {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            _ => self.disarm(),
        }
    }

    /// How many possible failures are still to pass, with the ordered one; 0: it has happened, or none is ordered.
    fn left(&self) -> io::Result<u32> {
        let mut text = [0; 16];
        let len = self.0.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        let number = text.trim().parse();
        number.map_err(|_| io::Error::other(format!("it holds '{}'", text.trim())))
    }

    fn order(&self, nth: u32) -> io::Result<()> {
        self.0.write_all_at(nth.to_string().as_bytes(), 0)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.order(0).or_else(|_| self.order(0));
    }
}

/// How many failures a series must reach, how many it may, and how often one must be missed to be the end of it.
#[derive(Clone, Copy)]
pub struct Series {
    /// Fewer, and the series has not tested what it is for.
    pub least: u32,
    /// More, and something is wrong with the series.
    pub most: u32,
    /// One miss may be chance: other work was done meanwhile, or another task did it.
    pub misses: u32,
}

impl Series {
    /// A series that ends when one failure was missed twice.
    pub const fn new(least: u32, most: u32) -> Series {
        Series {
            least,
            most,
            misses: 2,
        }
    }
}

/// Runs `one` with 1, 2, 3 …, the number of the failure that it is to order, until it says that this one was not reached,
/// again and again; tells how many were. Fails if they are fewer than they must be.
pub fn each(what: &str, series: Series, mut one: impl FnMut(u32) -> Outcome<bool>) -> Outcome {
    check!(series.least > 0, "{what}: no failure at all is no test");
    let mut reached = 0;
    while reached < series.most {
        let nth = reached + 1;
        let mut hit = false;
        for _ in 0..series.misses {
            hit = one(nth).context(format!("{what}, failure {nth}"))?;
            if hit {
                break;
            }
        }
        if !hit {
            ktap::tell(&format!(
                "{what}: {reached} failures, one at a time (at least {})",
                series.least
            ));
            check!(
                reached >= series.least,
                "{what}: only {reached} failures were possible, there should be {} or more: what was to fail was not called",
                series.least
            );
            return Ok(());
        }
        reached = nth;
    }
    fail(format!(
        "{what}: more than {} failures are possible; the case tries no more",
        series.most
    ))
}

/// First and last address of the module's or the kernel's functions that `wanted` says yes to.
fn symbols(wanted: impl Fn(&str) -> bool) -> Outcome<(u64, u64)> {
    let text = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
    let mut range = (u64::MAX, 0);
    for line in text.lines().filter(|line| wanted(line)) {
        if let Some((address, "t" | "T")) = parse(line) {
            range = (range.0.min(address), range.1.max(address + 1));
        }
    }
    check!(
        range.0 < range.1,
        "no function of swapksm in /proc/kallsyms: is it loaded?"
    );
    // To the end of the last page: what of the last function there is.
    Ok((range.0, range.1.next_multiple_of(0x1000)))
}

/// Where a function of the kernel begins, and where the next one does.
fn function(name: &str) -> Outcome<(u64, u64)> {
    let text = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
    let suffix = format!(" {name}");
    let start = text
        .lines()
        .find(|line| line.ends_with(&suffix))
        .and_then(parse);
    let Some((start, _)) = start else {
        return fail(format!("{name} is not in /proc/kallsyms"));
    };
    let after = text.lines().filter_map(parse).map(|(address, _)| address);
    let Some(end) = after.filter(|&address| address > start).min() else {
        return fail(format!("nothing follows {name} in /proc/kallsyms"));
    };
    Ok((start, end))
}

/// Address and kind of a line of /proc/kallsyms.
fn parse(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_kallsyms() {
        assert_eq!(
            parse("ffffffffa0001000 t swapksm_x\t[swapksm]"),
            Some((0xffff_ffff_a000_1000, "t"))
        );
        assert_eq!(parse(""), None);
        assert_eq!(parse("nonsense t x"), None);
    }

    #[test]
    fn it_ends_with_the_first_failure_that_is_missed_twice() {
        let mut tried = Vec::new();
        each("test", Series::new(3, 10), |nth| {
            tried.push(nth);
            Ok(nth < 4)
        })
        .unwrap();
        assert_eq!(tried, [1, 2, 3, 4, 4]);
        assert!(each("test", Series::new(1, 10), |_| Ok(true)).is_err());
    }

    #[test]
    fn one_miss_is_not_the_end() {
        let mut tried = Vec::new();
        each("test", Series::new(1, 10), |nth| {
            tried.push(nth);
            Ok(nth < 3 && tried.len() != 2)
        })
        .unwrap();
        assert_eq!(tried, [1, 2, 2, 3, 3]);
    }

    #[test]
    fn too_few_are_no_success() {
        assert!(each("test", Series::new(1, 10), |_| Ok(false)).is_err());
        assert!(each("test", Series::new(4, 10), |nth| Ok(nth < 4)).is_err());
        assert!(each("test", Series::new(0, 10), |_| Ok(false)).is_err());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! A make-believe machine: a directory with /sys, /proc and /dev, and a kernel that does to its files what the real one
//! does when it is written to or asked for a module.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::files;
use crate::machine::{name_of, Machine};
use crate::system::{Access, System};

/// Where the user is.
const HERE: &str = "/root/checkout";

/// Looks until every task has changed over.
const LOOKS: u32 = 3;

/// The machine and what it shall do. Clones are the same machine.
#[derive(Clone)]
pub struct Fake(Rc<State>);

/// What can be made to go wrong, and what is remembered.
struct State {
    root: PathBuf,
    told: RefCell<Vec<String>>,
    /// Error numbers for the next attempts to load the module, each with lines for the kernel's log.
    refusals: RefCell<Vec<(i32, &'static str)>>,
    /// Error numbers for the next writes to a file of this name.
    write_errors: RefCell<Vec<(&'static str, i32)>>,
    /// Tasks never change over when they are told one of these: "1" to the module, "0" back.
    stuck: Cell<&'static str>,
    /// What the module says in the log when it has to give back pages that could not be unmerged.
    nodeless: Cell<Option<&'static str>>,
    /// Looks until those that do have.
    looks: Cell<u32>,
    /// Pauses until the user asks for an end.
    interruption: Cell<Option<u32>>,
    not_root: Cell<bool>,
    /// The scanner is started again by somebody each time it was stopped.
    restless: Cell<bool>,
    /// The last task has gone back just before the tasks are turned round.
    too_late: Cell<bool>,
    /// What shows of the patch goes file by file then.
    by_bits: Cell<bool>,
    /// The module stays though it is in charge of nothing.
    pinned: Cell<bool>,
    /// Whose the files are where the user is.
    user_here: Cell<u32>,
    /// Whether a user has brought the file system there.
    nosuid_here: Cell<bool>,
    /// The file that was loaded last.
    inserted: RefCell<PathBuf>,
    /// Who was stuck changes over as soon as another livepatch does.
    arrives: Cell<bool>,
    /// What another ksmctl holds.
    lock: RefCell<Option<fs::File>>,
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The stock kernel's directory, as it is while it merges.
const KERNEL_KSM: &[(&str, &str)] = &[
    ("run", "1"),
    ("pages_to_scan", "1000"),
    ("sleep_millisecs", "20"),
    ("smart_scan", "1"),
    ("advisor_mode", "[none] scan-time"),
    ("advisor_max_cpu", "70"),
    ("max_page_sharing", "256"),
    ("merge_across_nodes", "1"),
    ("use_zero_pages", "0"),
];
const KERNEL_COUNTERS: &[(&str, &str)] = &[
    ("full_scans", "7"),
    ("pages_shared", "4096"),
    ("pages_sharing", "28672"),
    ("pages_unshared", "1500"),
    ("pages_volatile", "12"),
    ("ksm_zero_pages", "0"),
    ("general_profit", "115200000"),
];
/// What ours has besides.
const OUR_KSM: &[(&str, &str)] = &[("sleep", "20000"), ("max_kernel_pages", "0"), ("sync", "0")];
const OUR_COUNTERS: &[(&str, &str)] = &[
    ("nodeless_pages", "0"),
    ("pages_pending", "0"),
    ("nodes_swapped", "0"),
    ("sharers_swapped", "0"),
    ("swapin_shared", "0"),
    ("swapin_copied", "0"),
];

impl Fake {
    /// A stock kernel that merges.
    pub fn kernel(name: &str) -> Fake {
        let root = std::env::temp_dir().join(format!("ksmctl-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let fake = Fake(Rc::new(State {
            root,
            told: RefCell::default(),
            refusals: RefCell::default(),
            write_errors: RefCell::default(),
            stuck: Cell::new(""),
            nodeless: Cell::new(None),
            looks: Cell::new(0),
            interruption: Cell::new(None),
            not_root: Cell::new(false),
            restless: Cell::new(false),
            too_late: Cell::new(false),
            by_bits: Cell::new(false),
            pinned: Cell::new(false),
            user_here: Cell::new(0),
            nosuid_here: Cell::new(false),
            inserted: RefCell::default(),
            arrives: Cell::new(false),
            lock: RefCell::default(),
        }));
        fake.directory(files::LIVEPATCH);
        fake.file(files::KMSG, "6,1,1,-;an old line\n");
        fake.file("/lib/modules/7.3.4-fake/updates/swapksm.ko", "");
        fake.ksm(&[KERNEL_KSM, KERNEL_COUNTERS]);
        fake
    }

    /// The module has taken over.
    pub fn swapksm(name: &str) -> Fake {
        let fake = Fake::kernel(name);
        fake.take_over();
        fake.change_over();
        fake
    }

    /// The module has given back and was not unloaded.
    pub fn module_left(self) -> Self {
        self.file(files::REFCNT, "0\n");
        self
    }

    pub fn machine(&self) -> Machine {
        Machine::new(self.0.root.clone(), Box::new(self.clone()))
    }

    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Lines told while working.
    pub fn told(&self) -> Vec<String> {
        self.0.told.borrow().clone()
    }

    /// A file of the directory, or another value for it.
    pub fn set(self, file: &str, value: &str) -> Self {
        self.file(&format!("{}/{file}", files::KSM), &format!("{value}\n"));
        self
    }

    /// Takes a file or directory away.
    pub fn without(self, path: &str) -> Self {
        let path = self.at(path);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        self
    }

    /// A process with what its ksm_stat says.
    pub fn process(self, pid: u32, name: &str, ksm_stat: &str) -> Self {
        self.file(&format!("/proc/{pid}/comm"), &format!("{name}\n"));
        self.file(&format!("/proc/{pid}/ksm_stat"), ksm_stat);
        self.file(
            &format!("/proc/{pid}/task/{pid}/comm"),
            &format!("{name}\n"),
        );
        self.file(&format!("/proc/{pid}/task/{pid}/patch_state"), "-1\n");
        self
    }

    /// A process that has an area of /dev/ksm open.
    pub fn opener(self, pid: u32, name: &str) -> Self {
        let fake = self.process(pid, name, "");
        let fd = format!("/proc/{pid}/fd");
        fake.directory(&fd);
        symlink("anon_inode:[ksm-area]", fake.at(&format!("{fd}/3"))).expect("a link");
        fake.file(files::REFCNT, "2\n");
        fake
    }

    /// The next attempt to load the module fails, after this line in the kernel's log.
    pub fn refuses(self, errno: i32, line: &'static str) -> Self {
        self.0.refusals.borrow_mut().push((errno, line));
        self
    }

    /// The next write to a file of this name fails.
    pub fn write_fails(self, file: &'static str, errno: i32) -> Self {
        self.0.write_errors.borrow_mut().push((file, errno));
        self
    }

    /// No process changes over to the module.
    pub fn stuck_on_the_way_in(self) -> Self {
        self.0.stuck.set("1");
        self
    }

    /// No process changes back.
    pub fn stuck_on_the_way_out(self) -> Self {
        self.0.stuck.set("0");
        self
    }

    /// Nor in either direction.
    pub fn stuck_on_the_way(self) -> Self {
        self.0.stuck.set("01");
        self
    }

    /// The module says this in the log when it gives back.
    pub fn says_when_it_goes(self, line: &'static str) -> Self {
        self.0.nodeless.set(Some(line));
        self
    }

    /// After so many pauses the user asks for an end.
    pub fn interrupted_after(self, pauses: u32) -> Self {
        self.0.interruption.set(Some(pauses));
        self
    }

    /// When it would turn the tasks round the last of them has just gone back.
    pub fn too_late_to_stay(self) -> Self {
        self.0.too_late.set(true);
        self
    }

    /// The same; the patch's files go then, its directory later.
    pub fn too_late_and_by_bits(self) -> Self {
        self.0.by_bits.set(true);
        self.too_late_to_stay()
    }

    /// Somebody has an area open who was not there before, so that the module cannot go.
    pub fn pinned(self) -> Self {
        self.0.pinned.set(true);
        self
    }

    /// A module's file where the user is, with its mode and its directory's.
    pub fn module_here(self, mode: u32, directory: u32) -> Self {
        let file = format!("{HERE}/swapksm.ko");
        self.file(&file, "");
        for (path, mode) in [(file.as_str(), mode), (HERE, directory)] {
            fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        self
    }

    /// There it is a link.
    pub fn link_here(self, to: &str) -> Self {
        let fake = self.module_here(0o644, 0o755);
        let link = fake.at(&format!("{HERE}/swapksm.ko"));
        fs::remove_file(&link).expect("the file that was there");
        symlink(fake.at(to), link).expect("a link");
        fake
    }

    pub fn file_of_somebody(self, path: &str) -> Self {
        self.file(path, "");
        self
    }

    /// The file that was loaded; empty: none.
    pub fn inserted(&self) -> String {
        let file = self.0.inserted.borrow().display().to_string();
        file.replace(&self.0.root.display().to_string(), "")
    }

    /// Tasks that were stuck change over as soon as another livepatch is waited for.
    pub fn arrives_meanwhile(self) -> Self {
        self.0.arrives.set(true);
        self
    }

    /// On what a user has brought.
    pub fn nosuid_here(self) -> Self {
        self.0.nosuid_here.set(true);
        self
    }

    /// Whose both are.
    pub fn user_here(self, user: u32) -> Self {
        self.0.user_here.set(user);
        self
    }

    /// Another ksmctl has written this into its lock file.
    pub fn locked_by(self, text: &str) -> Self {
        self.file(files::LOCK, text);
        let file = fs::File::open(self.at(files::LOCK)).expect("the lock file");
        // SAFETY: The descriptor is open.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
        *self.0.lock.borrow_mut() = Some(file);
        self
    }

    /// It has ended.
    pub fn unlocked(self) -> Self {
        self.0.lock.take();
        self
    }

    pub fn not_root(self) -> Self {
        self.0.not_root.set(true);
        self
    }

    pub fn restless(self) -> Self {
        self.0.restless.set(true);
        self
    }

    /// On its way to the module ("1") or back ("0"), with everybody but these processes arrived.
    pub fn changing(self, enabled: &str, left: &[u32]) -> Self {
        self.file(files::ENABLED, enabled);
        self.file(files::TRANSITION, "1\n");
        let state = if enabled == "1" { "0\n" } else { "1\n" };
        for pid in left {
            self.file(&format!("/proc/{pid}/task/{pid}/patch_state"), state);
        }
        self
    }

    /// What a file holds after a command, for tests of more than words.
    pub fn value(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim_end().to_owned())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.root.join(path.trim_start_matches('/'))
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("a directory");
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("not the root")).expect("a directory");
        // Who is not root may not write to a counter.
        let mode = fs::metadata(&path).map(|file| file.permissions());
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("a file");
        if let Ok(mode) = mode {
            fs::set_permissions(&path, mode).expect("a mode");
        }
    }

    /// Makes the directory anew: settings first, then counters, which cannot be written.
    fn ksm(&self, groups: &[&[(&str, &str)]]) {
        let _ = fs::remove_dir_all(self.at(files::KSM));
        for (file, value) in groups.concat() {
            let path = format!("{}/{file}", files::KSM);
            self.file(&path, &format!("{value}\n"));
            let is_counter = [KERNEL_COUNTERS, OUR_COUNTERS]
                .concat()
                .iter()
                .any(|(name, _)| *name == file);
            let mode = if is_counter { 0o444 } else { 0o644 };
            fs::set_permissions(self.at(&path), fs::Permissions::from_mode(mode)).expect("a mode");
        }
    }

    /// The module is loaded, and the tasks begin to change over.
    fn take_over(&self) {
        self.file(files::REFCNT, "1\n");
        self.file(files::ENABLED, "1\n");
        self.ksm(&[KERNEL_KSM, KERNEL_COUNTERS, OUR_KSM, OUR_COUNTERS]);
        self.empty();
        self.file(&format!("{}/run", files::KSM), "0\n");
        self.begin_to_change();
    }

    /// The tasks begin to change over to where `enabled` sends them.
    fn begin_to_change(&self) {
        self.file(files::TRANSITION, "1\n");
        self.patch_states(self.value(files::ENABLED).as_deref() == Some("0"));
        self.0.looks.set(LOOKS);
    }

    /// Every task is where this number says: 1 at the module's functions, 0 at the kernel's.
    fn patch_states(&self, at_module: bool) {
        let state = format!("{}\n", u8::from(at_module));
        for process in self.machine().list(files::PROC) {
            let pid = name_of(&process);
            self.file(&format!("/proc/{pid}/task/{pid}/patch_state"), &state);
        }
    }

    /// The last task has changed over.
    fn change_over(&self) {
        self.file(files::TRANSITION, "0\n");
        if self.value(files::ENABLED).as_deref() != Some("1") {
            let _ = fs::remove_dir_all(self.at(files::PATCH));
            self.ksm(&[KERNEL_KSM, KERNEL_COUNTERS]);
            self.empty();
            self.file(&format!("{}/run", files::KSM), "0\n");
        }
    }

    /// Nothing is merged any more.
    fn empty(&self) {
        for file in ["pages_shared", "pages_sharing", "general_profit"] {
            self.file(&format!("{}/{file}", files::KSM), "0\n");
        }
    }

    fn log(&self, line: &str) {
        let mut log = fs::OpenOptions::new()
            .append(true)
            .open(self.at(files::KMSG))
            .expect("the kernel's log");
        writeln!(log, "4,2,2,-;{line}").expect("a line in the log");
    }
}

impl System for Fake {
    fn is_root(&self) -> bool {
        !self.0.not_root.get()
    }

    fn release(&self) -> String {
        "7.3.4-fake".to_owned()
    }

    fn current_directory(&self) -> PathBuf {
        self.at(HERE)
    }

    fn access(&self, path: &Path) -> io::Result<Access> {
        let mode = fs::symlink_metadata(path)?.mode();
        let user = self.0.user_here.get();
        let nosuid = self.0.nosuid_here.get();
        Ok(Access { user, mode, nosuid })
    }

    fn write(&self, path: &Path, value: &str) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let refused = {
            let mut errors = self.0.write_errors.borrow_mut();
            let at = errors.iter().position(|(file, _)| *file == name);
            at.map(|at| errors.remove(at).1)
        };
        if let Some(errno) = refused {
            if name == "enabled" && self.0.arrives.take() {
                self.change_over();
            }
            return Err(io::Error::from_raw_os_error(errno));
        }
        if !path.exists() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if name == "enabled" && value == "1" && self.0.too_late.get() {
            if self.0.by_bits.get() {
                for file in [files::ENABLED, files::TRANSITION] {
                    fs::remove_file(self.at(file))?;
                }
                self.0.looks.set(1);
            } else {
                self.change_over();
            }
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        fs::write(path, format!("{value}\n"))?;
        match &*name {
            "run" if value == "2" => self.empty(),
            "enabled" => {
                self.begin_to_change();
                if let Some(line) = self.0.nodeless.take() {
                    self.log(line);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn write_apart(&self, path: &Path, value: &str, waiting: &mut dyn FnMut()) -> io::Result<()> {
        waiting();
        self.write(path, value)
    }

    fn insert(&self, file: &Path) -> io::Result<()> {
        let mut refusals = self.0.refusals.borrow_mut();
        if refusals.is_empty() {
            drop(refusals);
            *self.0.inserted.borrow_mut() = file.to_owned();
            self.take_over();
            return Ok(());
        }
        let (errno, line) = refusals.remove(0);
        if !line.is_empty() {
            self.log(line);
        }
        if self.0.restless.get() {
            self.file(&format!("{}/run", files::KSM), "1\n");
        }
        Err(io::Error::from_raw_os_error(errno))
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        if self.at(files::PATCH).exists() || self.0.pinned.get() {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        fs::remove_dir_all(self.at(files::MODULE))
    }

    fn pause(&self, _time: Duration) {
        if let Some(pauses) = self.0.interruption.get() {
            self.0.interruption.set(Some(pauses.saturating_sub(1)));
        }
        let looks = self.0.looks.get();
        let sent = self.value(files::ENABLED).unwrap_or_default();
        let stays = !sent.is_empty() && self.0.stuck.get().contains(&sent);
        if looks == 0 || stays {
            return;
        }
        self.0.looks.set(looks - 1);
        if looks == 1 {
            self.change_over();
        }
    }

    fn take_interruption(&self) -> bool {
        let asked = self.0.interruption.get() == Some(0);
        if asked {
            self.0.interruption.set(None);
        }
        asked
    }

    fn tell(&self, line: &str) {
        self.0.told.borrow_mut().push(line.to_owned());
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Races with loading and unloading: somebody else writes to `run` meanwhile, or `ksmctl` is interrupted.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::takeover::{self, FILE, MODULE, PATCH};
use super::race::{pause, Race, Racer, PAGES};
use crate::case::{fail, Bench, Context, Outcome};
use crate::content::Random;
use crate::count::Count;
use crate::ksm::Ksm;
use crate::region::Region;
use crate::{check, check_eq, sys, wait};

const RACERS: usize = 2;
/// Longer than loading and unloading take.
const BATCH: Duration = Duration::from_secs(3);
/// Longest time between the start of ksmctl and its interruption, as part of the time that it takes undisturbed.
const LATEST: f64 = 1.2;
/// How long a race is made longer until it has met what it is about: each attempt takes seconds.
const MORE: Duration = Duration::from_secs(120);
/// Interruptions, at least.
const LEAST: i64 = 5;
/// Writes to `run` in a row, at most.
const WRITES: u64 = 64;

/// Who is in charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Charge {
    Kernel,
    Swapksm,
    /// Tasks are changing over.
    Between,
    /// The kernel's; the module is there for nothing.
    Left,
}

fn in_charge() -> Charge {
    let number = |file: &str| fs::read_to_string(format!("{PATCH}/{file}")).ok();
    let is = |text: Option<String>, value| text.is_some_and(|text| text.trim() == value);
    match (Path::new(MODULE).exists(), Path::new(PATCH).exists()) {
        (false, _) => Charge::Kernel,
        (true, false) => Charge::Left,
        (true, true) if is(number("transition"), "1") => Charge::Between,
        (true, true) if is(number("enabled"), "1") => Charge::Swapksm,
        (true, true) => Charge::Between,
    }
}

/// Memory of some processes under merging, whoever does it.
fn race(bench: &Bench) -> Outcome<Race<'_>> {
    let mut race = Race::new(bench)?.batches_of(BATCH).more(MORE);
    race.racers(RACERS, || Region::map(PAGES), change)?;
    Ok(race)
}

fn change(racer: &mut Racer) -> Outcome {
    let pages = racer.range()?;
    match racer.random.below(3) {
        0 => racer.part.discard(pages),
        1 => racer.part.renew(pages),
        _ => {
            racer.write(pages);
            Ok(())
        }
    }
}

/// `change` as often as there is time for it in a batch of the racers.
fn repeated(mut change: impl FnMut() -> Outcome) -> impl FnMut() -> Outcome {
    move || {
        let end = Instant::now() + BATCH;
        while Instant::now() < end {
            change()?;
        }
        Ok(())
    }
}

/// Loads and unloads while others write to `run`: it comes about or is refused, and nothing in between.
pub fn against_run(bench: &Bench) -> Outcome {
    takeover::begin()?;
    let mut race = race(bench)?;
    race.nuisance("writer of run", |random| {
        // Now and then one write follows the other, so that loading meets one.
        for _ in 0..random.below(WRITES) {
            let value = random.below(3).to_string();
            // The file is another one every time.
            let _ = Ksm.try_set("run", &value);
        }
        pause(random);
        Ok(())
    })?;
    let (done, refused) = (Count::new()?, Count::new()?);
    race.needs_count("times it was loaded and unloaded", 1, done)?;
    race.needs_count("times that loading was refused", 1, refused)?;
    race.run_with(repeated(|| {
        match takeover::ksmctl(&["load", FILE]) {
            Ok(()) => (),
            Err(text) => {
                check!(
                    text.contains("the kernel's own samepage merging"),
                    "loading was refused, and not for the writer of run: {text}"
                );
                check_eq!(in_charge(), Charge::Kernel, "after a refused load");
                refused.add(1);
                return Ok(());
            }
        }
        check_eq!(in_charge(), Charge::Swapksm, "after loading");
        takeover::ksmctl(&["unload"]).or_else(fail)?;
        check_eq!(in_charge(), Charge::Kernel, "after unloading");
        done.add(1);
        Ok(())
    }))?;
    takeover::works(bench, "stock KSM afterwards")
}

/// How ksmctl is interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// ^C
    Asked,
    /// It has no chance to put anything right.
    Killed,
}

pub fn asked(bench: &Bench) -> Outcome {
    interrupted(bench, How::Asked)
}

pub fn killed(bench: &Bench) -> Outcome {
    interrupted(bench, How::Killed)
}

/// Interrupts `ksmctl load` and `ksmctl unload` at random times.
fn interrupted(bench: &Bench, how: How) -> Outcome {
    takeover::begin()?;
    let mut race = race(bench)?;
    let interrupted = Count::new()?;
    race.needs_count("interruptions", LEAST, interrupted)?;
    prepare(bench)?;
    // How long it takes.
    let start = Instant::now();
    takeover::load()?;
    takeover::unload()?;
    let longest = start.elapsed().mul_f64(LATEST / 2.0);
    let (mut random, mut tally) = (Random::new(bench.seed), Tally::default());
    race.run_with(repeated(|| {
        tally.rounds += 1;
        let load = in_charge() == Charge::Kernel;
        prepare(bench)?;
        let after = longest.mul_f64(random.below(1000) as f64 / 1000.0);
        let what = format!(
            "{} of seed {}, {} interrupted after {after:?}",
            tally.rounds,
            bench.seed,
            if load { "load" } else { "unload" }
        );
        one(how, load, after, &mut tally).context(what)?;
        interrupted.add(1);
        Ok(())
    }))?;
    crate::runner::log(&tally.text());
    if in_charge() != Charge::Kernel {
        takeover::unload()?;
    }
    takeover::works(bench, "stock KSM afterwards")
}

/// What came of the interruptions.
#[derive(Default)]
struct Tally {
    rounds: u64,
    ended: u64,
    back: u64,
    between: u64,
    left: u64,
}

impl Tally {
    fn text(&self) -> String {
        format!(
            "{} interruptions: {} came too late or were gone on from, {} undone, {} in a change over that the kernel ended, {} left an idle module",
            self.rounds, self.ended, self.back, self.between, self.left
        )
    }
}

/// Settings that are told from the defaults.
const MARKS: &[(&str, &str)] = &[
    ("run", "1"),
    ("max_page_sharing", "100"),
    ("pages_to_scan", "777"),
    // A scanner that never sleeps would be waited for.
    ("sleep_millisecs", "19"),
];

fn prepare(bench: &Bench) -> Outcome {
    bench.ksm.set("run", 2)?;
    for (file, value) in MARKS.iter().rev() {
        wait::until(&format!("{file} can be set"), || {
            Ok((bench.ksm.try_set(file, value).is_ok(), ()))
        })?;
    }
    Ok(())
}

/// One interruption; afterwards all must be as before or done, and what was begun can be done again.
fn one(how: How, load: bool, after: Duration, tally: &mut Tally) -> Outcome {
    let (before, goal) = match load {
        true => (Charge::Kernel, Charge::Swapksm),
        false => (Charge::Swapksm, Charge::Kernel),
    };
    let arguments: &[&str] = if load { &["load", FILE] } else { &["unload"] };
    let mut child = start(arguments)?;
    std::thread::sleep(after);
    let signal = match how {
        How::Asked => libc::SIGINT,
        How::Killed => libc::SIGKILL,
    };
    match how {
        // As a terminal does.
        How::Asked => sys::kill(-(child.id() as i32), signal),
        How::Killed => sys::kill(child.id() as i32, signal),
    }
    let succeeded = ended(&mut child)?;
    writers_end()?;
    if how == How::Killed && in_charge() == Charge::Between {
        tally.between += 1;
        wait::until("the kernel ends the change over by itself", || {
            Ok((in_charge() != Charge::Between, in_charge()))
        })?;
    }
    let now = in_charge();
    match succeeded {
        // It had ended before, or was past the point where it turns round.
        Ok(()) => {
            tally.ended += 1;
            check_eq!(now, goal, "after ksmctl has succeeded");
        }
        Err(ref text) if how == How::Asked => {
            tally.back += 1;
            check_eq!(now, before, "after ksmctl has failed ({text})");
        }
        Err(_) => {}
    }
    check!(Ksm.has("run"), "there is no file run ({now:?})");
    if how == How::Asked {
        for (file, value) in MARKS {
            check_eq!(Ksm.text(file)?, *value, "{file} afterwards ({succeeded:?})");
        }
    }
    if now == Charge::Left {
        tally.left += 1;
    }
    again(load, now)
}

/// Whatever came of it, a second attempt ends it.
fn again(load: bool, now: Charge) -> Outcome {
    match (load, now) {
        (true, Charge::Kernel | Charge::Left) => takeover::load().context("a second load"),
        (false, Charge::Swapksm | Charge::Left) => takeover::unload().context("a second unload"),
        _ => Ok(()),
    }
}

fn start(arguments: &[&str]) -> Outcome<Child> {
    use std::os::unix::process::CommandExt;
    Command::new("./ksmctl")
        .args(arguments)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("./ksmctl")
}

/// Waits for the end of ksmctl: what it says when it fails.
fn ended(child: &mut Child) -> Outcome<Result<(), String>> {
    let deadline = Instant::now() + wait::patience() * 2;
    while child.try_wait().context("waiting for ksmctl")?.is_none() {
        if Instant::now() > deadline {
            let stack = fs::read_to_string(format!("/proc/{}/stack", child.id()));
            return fail(format!("ksmctl does not end: {stack:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    if let Some(mut said) = child.stderr.take() {
        // Its helper may still have the other end: what is there is enough.
        let mut bytes = [0; 4096];
        if let Ok(count) = said.read(&mut bytes) {
            text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        }
    }
    match child.wait().context("waiting for ksmctl")?.success() {
        true => Ok(Ok(())),
        false => Ok(Err(text)),
    }
}

/// Waits for the process by which ksmctl writes to `run`, which goes on when ksmctl is killed.
fn writers_end() -> Outcome {
    wait::until("no ksmctl is left", || {
        let mut left = String::new();
        for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
            let text = |file| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            // One that has ended may wait for somebody to ask how.
            let ended = text("stat").contains(") Z ");
            if text("comm").trim() == "ksmctl" && !ended {
                left += &format!("{:?}: {} ", entry.file_name(), text("stack"));
            }
        }
        Ok((left.is_empty(), left))
    })
}

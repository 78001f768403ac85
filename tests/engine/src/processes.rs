// SPDX-License-Identifier: GPL-2.0

//! Processes that use their memory at random while it is merged, reclaimed and migrated.

use std::{
    io::Write as _,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        Mutex, MutexGuard,
    },
    time::{Duration, Instant},
};

use crate::{
    config::{CONFIG, RUN_MERGE, RUN_STOP, RUN_UNMERGE},
    engine,
    machine::{
        below,
        fault::{advise, discard, fork, read, write},
        folio::{Frame, FRAMES},
        merge::MERGES,
        mm::{self, mm_struct, PAGES},
        pause,
        reclaim::{migrate, reclaim},
        seed, swap,
        sync::{lock, Sleeping},
    },
    stats::{STATS, SWAPINS},
};

/// Held for reading by who does something, for writing by who wants to look at all of it at rest.
static WORLD: Sleeping = Sleeping::new();
/// Somebody wants to: nobody begins anything.
static STAND_STILL: AtomicBool = AtomicBool::new(false);

/// Does something, unless all stand still.
fn act<T>(what: impl FnOnce() -> T) -> T {
    while STAND_STILL.load(SeqCst) {
        std::thread::sleep(Duration::from_micros(100));
    }
    WORLD.read();
    let result = what();
    WORLD.unlock();
    result
}

/// Contents that may be equal by chance.
const CONTENTS: u64 = 2;

/// One process: a family, since it may fork.
fn process(number: u64, steps: u32) {
    seed(number);
    let mut family = vec![mm_struct::new(None)];
    act(|| {
        advise(family[0], true);
        for page in 0..PAGES {
            drop(write(family[0], page, 1));
        }
    });
    rest();
    for _ in 0..steps {
        let who = below(family.len() as u64) as usize;
        let mm = family[who];
        let page = below(PAGES as u64) as usize;
        act(|| match below(40) {
            0..10 => drop(write(mm, page, 1 + below(CONTENTS))),
            10..30 => drop(read(mm, page)),
            30..32 => discard(mm, page),
            32 | 33 if family.len() < 3 => family.push(fork(mm)),
            34 if family.len() > 1 => family.swap_remove(who).put_user(),
            35 => advise(mm, below(4) > 0),
            _ => pause(),
        });
        // Long enough for pages to be merged.
        if below(40) == 0 {
            rest();
        }
    }
    for mm in family {
        act(|| {
            for page in 0..PAGES {
                drop(read(mm, page));
            }
            mm.put_user();
        });
    }
}

/// Waits for the scanner to come by.
fn rest() {
    if !cfg!(miri) {
        std::thread::sleep(Duration::from_micros(below(3000)));
        return;
    }
    let before = STATS.pages_scanned.get();
    for _ in 0..1000 {
        if STATS.pages_scanned.get() > before + 4 * PAGES as i64 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Reclaim and compaction, until the processes are done.
fn pressure(number: u64, done: &AtomicBool) {
    seed(number);
    while !done.load(SeqCst) {
        let index = below(FRAMES as u64) as usize;
        act(|| {
            match below(3) {
                0 => migrate(index),
                _ => reclaim(index),
            }
            mm::end_mms();
        });
        match below(20) {
            0 => rest(),
            // Who waits for the reaper makes it hurry.
            1 => assert!(engine::sync().is_ok(), "no signal"),
            _ => pause(),
        }
    }
}

/// The engine's own view, compared with the page tables, while nothing but its own threads moves.
pub(crate) fn check() {
    STAND_STILL.store(true, SeqCst);
    WORLD.write();
    let mut text = String::new();
    let good = engine::self_check(&mut text).expect("no signal");
    WORLD.unlock();
    STAND_STILL.store(false, SeqCst);
    assert!(good, "the self-check says:\n{text}");
}

/// Tells that it is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// From loading to unloading.
fn life(number: u64, processes: u64, steps: u32) {
    load(number);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a check fails, or nobody would end.
        let over = Over(&done);
        scope.spawn(|| pressure(number + 1, &done));
        let threads: Vec<_> = (0..processes)
            .map(|n| scope.spawn(move || process(number + 10 * (n + 1), steps)))
            .collect();
        for round in 0..4 {
            std::thread::yield_now();
            if round == 2 && number % 3 == 0 {
                assert!(engine::set_run(RUN_UNMERGE).is_ok());
                assert!(engine::set_run(RUN_MERGE).is_ok());
            }
            if !cfg!(miri) {
                std::thread::sleep(Duration::from_millis(20));
                check();
            }
        }
        let ends: Vec<_> = threads.into_iter().map(|t| t.join()).collect();
        drop(over);
        assert!(ends.iter().all(Result::is_ok), "a process has panicked");
    });
    mm::end_mms();
    check();
    unload();
}

/// Begins to merge.
pub(crate) fn load(number: u64) {
    seed(number);
    CONFIG.smart_scan.store(false, SeqCst);
    CONFIG.sleep_us.store(100, SeqCst);
    assert!(engine::start().is_ok(), "starts");
    engine::activate();
    assert!(engine::set_run(RUN_MERGE).is_ok());
}

/// Ends it. All processes have ended.
pub(crate) fn unload() {
    assert!(engine::set_run(RUN_STOP).is_ok());
    engine::deactivate();
    engine::finish_pending();
    mm::end_mms();
    engine::stop();
    mm::end_mms();
    nothing_is_left();
}

fn nothing_is_left() {
    for index in 0..FRAMES {
        reclaim(index);
    }
    let left = Frame::all().iter().filter(|frame| frame.refs() > 0).count();
    assert_eq!(left, 0, "frames are left");
    assert!(swap::is_empty(), "swap slots are left");
    assert!(mm::is_empty(), "mms or anon_vmas are left");
    mm::free_mms();
    for counter in [
        &STATS.pages_shared,
        &STATS.pages_sharing,
        &STATS.pages_unshared,
        &STATS.rmap_items,
        &STATS.pending,
        &STATS.spaces,
    ] {
        assert_eq!(counter.get(), 0, "a counter is not back at 0");
    }
}

/// After this no further life begins, unless they were asked for: on a busy machine one takes long.
const LONG_ENOUGH: Duration = Duration::from_secs(30);

/// There is one engine, and so tests take turns. What they say when they panic is the end of all: other threads may wait
/// for locks that the one has.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = lock(&TURN);
    std::panic::set_hook(Box::new(|info| {
        let _ = writeln!(std::io::stderr(), "seed {}: {info}", NOW.load(SeqCst));
        std::process::abort();
    }));
    turn
}

/// The seed of the life that is on.
static NOW: AtomicU64 = AtomicU64::new(0);

/// SEED and LIVES in the environment: other choices, more of them.
#[test]
fn processes_read_what_they_wrote_and_nothing_is_left() {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (lives, processes, steps) = if cfg!(miri) {
        (1, 2, 60)
    } else {
        (40, 3, 1000)
    };
    let _turn = turn();
    let first = number("SEED", 1);
    let asked = number("LIVES", 0);
    let begun = Instant::now();
    for seed in first..first + if asked > 0 { asked } else { lives } {
        if seed > first && asked == 0 && begun.elapsed() > LONG_ENOUGH {
            break;
        }
        NOW.store(seed, SeqCst);
        life(seed * 1000, processes, steps);
        println!(
            "seed {seed}: scanned {}, merged {}; after swap: shared {}, copied {}, not sharers {}, exclusive {}, page elsewhere {}, content {}",
            STATS.pages_scanned.get(),
            MERGES.load(SeqCst),
            SWAPINS.shared.get(),
            SWAPINS.copied.get(),
            SWAPINS.miss_unknown.get(),
            SWAPINS.miss_exclusive.get(),
            SWAPINS.miss_stale.get(),
            SWAPINS.miss_hash.get(),
        );
    }
    if !cfg!(miri) {
        assert!(MERGES.load(SeqCst) > 0, "nothing was merged");
        assert!(SWAPINS.shared.get() > 0, "nothing came back");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Locks and events (`shims/sync.h`), and what may be done while they are held.

use std::{
    cell::{Cell, RefCell},
    ffi::c_int,
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*},
        Condvar, Mutex, MutexGuard, PoisonError,
    },
    time::{Duration, Instant},
};

use super::{memory::rcu_reader_left, pause_seldom};

pub(crate) type swapksm_lock_class = u32;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_SPACES: u32 = 0;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_SPACE: u32 = 1;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_CHUNK: u32 = 2;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_NODE: u32 = 3;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_ENTRIES: u32 = 4;
pub(crate) const swapksm_lock_class_SWAPKSM_LOCK_DIRTY: u32 = 5;

/// The places of the classes in the order of `kmod/engine/locks.rs`; leaves are all last.
const PLACES: [u32; 6] = [8, 8, 7, 5, 6, 8];

/// How long a lock or an event is waited for: then somebody waits for himself. Others may have the CPUs for a while.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(if cfg!(miri) { 100_000 } else { 300 });

thread_local! {
    /// Spinlocks held, by their places.
    static HELD: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static HAS_ENGINE: Cell<bool> = const { Cell::new(false) };
    static READERS: Cell<u32> = const { Cell::new(0) };
    static ME: u8 = const { 0 };
}

/// The caller takes locks of the kernel's mm, which come before all spinlocks of the engine.
pub(crate) fn before_spinlocks() {
    HELD.with_borrow(|held| assert!(held.is_empty(), "has spinlocks {held:?}"));
}

/// Says that the caller may sleep here.
pub(crate) fn may_sleep() {
    before_spinlocks();
    assert_eq!(READERS.get(), 0, "sleeps in a RCU section");
}

/// A mutex without the question what a panic has left behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[repr(C)]
pub(crate) struct spinlock_t {
    held: AtomicBool,
    class: AtomicU32,
}

pub(crate) unsafe fn swapksm_spin_init(lock: *mut spinlock_t, class: swapksm_lock_class) {
    // SAFETY: The caller's.
    unsafe {
        (*lock).class.store(class, Relaxed);
        (*lock).held.store(false, Release);
    }
}

pub(crate) unsafe fn swapksm_spin_lock(lock: *mut spinlock_t) {
    // SAFETY: The caller's.
    let lock = unsafe { &*lock };
    let place = PLACES[lock.class.load(Relaxed) as usize];
    HELD.with_borrow_mut(|held| {
        let last = held.last().copied().unwrap_or(0);
        assert!(place > last, "takes a lock of place {place} under {held:?}");
        held.push(place);
    });
    pause_seldom();
    let begun = Instant::now();
    while lock.held.swap(true, Acquire) {
        assert!(begun.elapsed() < TOO_LONG, "a spinlock is never given up");
        std::thread::yield_now();
    }
}

pub(crate) unsafe fn swapksm_spin_unlock(lock: *mut spinlock_t) {
    // SAFETY: The caller's.
    let lock = unsafe { &*lock };
    let place = PLACES[lock.class.load(Relaxed) as usize];
    HELD.with_borrow_mut(|held| {
        let at = held.iter().rposition(|p| *p == place).expect("held");
        held.remove(at);
    });
    lock.held.store(false, Release);
    pause_seldom();
}

/// A lock that is slept for: any number of readers or one writer.
pub(crate) struct Sleeping {
    state: Mutex<i32>,
    free: Condvar,
}

impl Sleeping {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new(0),
            free: Condvar::new(),
        }
    }

    fn take(&self, try_once: bool, can: impl Fn(i32) -> bool, change: i32) -> bool {
        let begun = Instant::now();
        let mut state = lock(&self.state);
        while !can(*state) {
            if try_once {
                return false;
            }
            assert!(begun.elapsed() < TOO_LONG, "a lock is never given up");
            state = self
                .free
                .wait_timeout(state, TOO_LONG)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *state += change;
        true
    }

    pub(crate) fn write(&self) {
        may_sleep();
        self.take(false, |s| s == 0, -1);
    }

    pub(crate) fn try_write(&self) -> bool {
        self.take(true, |s| s == 0, -1)
    }

    pub(crate) fn read(&self) {
        may_sleep();
        self.take(false, |s| s >= 0, 1);
    }

    pub(crate) fn try_read(&self) -> bool {
        self.take(true, |s| s >= 0, 1)
    }

    pub(crate) fn unlock(&self) {
        let mut state = lock(&self.state);
        *state -= state.signum();
        drop(state);
        self.free.notify_all();
    }

    pub(crate) fn is_locked(&self) -> bool {
        *lock(&self.state) != 0
    }
}

static ENGINE: Sleeping = Sleeping::new();

pub(crate) unsafe fn swapksm_engine_lock() {
    assert!(!HAS_ENGINE.get(), "takes the engine twice");
    ENGINE.write();
    HAS_ENGINE.set(true);
}

pub(crate) unsafe fn swapksm_engine_unlock() {
    HAS_ENGINE.set(false);
    ENGINE.unlock();
}

pub(crate) unsafe fn swapksm_rcu_read_lock() {
    READERS.set(READERS.get() + 1);
    super::memory::rcu_reader_came();
}

pub(crate) unsafe fn swapksm_rcu_read_unlock() {
    READERS.set(READERS.get() - 1);
    rcu_reader_left();
}

pub(crate) unsafe fn swapksm_cond_resched() {
    may_sleep();
    std::thread::yield_now();
}

/// An address that no other thread has.
pub(crate) unsafe fn swapksm_current() -> *const core::ffi::c_void {
    ME.with(|me| std::ptr::from_ref(me).cast())
}

#[repr(C)]
pub(crate) struct swapksm_event {
    count: AtomicI32,
}

static EVENTS: Mutex<()> = Mutex::new(());
static SIGNALLED: Condvar = Condvar::new();

pub(crate) fn wake_all() {
    drop(lock(&EVENTS));
    SIGNALLED.notify_all();
}

pub(crate) unsafe fn swapksm_event_init(event: *mut swapksm_event) {
    // SAFETY: The caller's.
    unsafe { (*event).count.store(0, SeqCst) };
}

pub(crate) unsafe fn swapksm_event_read(event: *mut swapksm_event) -> c_int {
    // SAFETY: The caller's.
    unsafe { (*event).count.load(SeqCst) }
}

pub(crate) unsafe fn swapksm_event_signal(event: *mut swapksm_event) {
    // SAFETY: The caller's.
    unsafe { (*event).count.fetch_add(1, SeqCst) };
    wake_all();
}

pub(crate) unsafe fn swapksm_event_wait(event: *mut swapksm_event, seen: c_int, timeout_us: u64) {
    may_sleep();
    let timeout = match timeout_us {
        0 => TOO_LONG,
        us => Duration::from_micros(us),
    };
    let begun = Instant::now();
    let mut guard = lock(&EVENTS);
    // SAFETY: The caller's.
    while unsafe { (*event).count.load(SeqCst) } == seen
        && !crate::sys::thread::should_stop()
        && begun.elapsed() < timeout
    {
        let rest = timeout.saturating_sub(begun.elapsed());
        guard = SIGNALLED
            .wait_timeout(guard, rest.min(Duration::from_millis(50)))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    drop(guard);
}

pub(crate) unsafe fn swapksm_event_wait_jiffy(event: *mut swapksm_event, seen: c_int) {
    // SAFETY: The caller's.
    unsafe { swapksm_event_wait(event, seen, 4000) };
}

pub(crate) unsafe fn swapksm_event_wait_user(event: *mut swapksm_event, seen: c_int) -> c_int {
    let begun = Instant::now();
    // SAFETY: The caller's.
    unsafe { swapksm_event_wait(event, seen, 0) };
    assert!(
        begun.elapsed() < TOO_LONG,
        "an event never comes: is its thread dead?"
    );
    0
}

// SPDX-License-Identifier: GPL-2.0

//! The locks of the engine, what each protects, and their order.
//!
//! A lock may be taken while any lock *above* it in this list is held, never the other way round. Locks of the kernel's
//! mm stand where they meet ours.
//!
//! 1. [`Engine`], a mutex: both trees, the scan cursor, every field in an [`EngineCell`] (items' hashes and links, nodes'
//!    keys and rings). Held while scanning a few pages, reaping, switching settings; not while waiting for what a process
//!    may hold as long as it likes (its mmap lock, a fault in a file's mapping, a folio that is copied at the expense of a
//!    control group that gets no memory: `node::Wait`), nor while a copy is made for a control group that has no room for it
//!    (`merge::give_back`). Nothing that the kernel's mm calls us for takes it: not the entry points, not the notifier, not
//!    the rmap walk, not the swap-in hook.
//! 2. `mmap_lock`, or a VMA's lock.
//! 3. The folio lock. The sharers of a node whose page is in memory change only under the lock of that folio, so an
//!    rmap walk, which has it, sees them all. But for the parts of a folio that is being split, and a copy that nobody knows
//!    yet, two places hold two, the second by trylock: merging, with the lock of the merged folio, that of the one it
//!    replaces (`shims/merge.c`); the swap-in hook, with its own folio's, that of a broken one (`Node::disown_broken`),
//!    which is the only folio lock taken under 5.
//! 4. `i_mmap_rwsem`, the anon_vma's lock, the page-table lock.
//! 5. `Node::state`, a spinlock: where the page of a node is (pfn, swap entry) and its sharers. Adding or removing a
//!    sharer takes this *and*, while there is a folio, its lock: a walk needs the folio lock only, the swap-in hook, which
//!    has no folio of the node yet, this one only.
//! 6. `entries`, a spinlock: the index from swap entries to nodes.
//! 7. `Chunk::state`, a spinlock: page pointers, item states, which items are suspect.
//! 8. `Space::state`, a spinlock: running invalidations and the life of an address space; `spaces`: the list and index of
//!    address spaces; `dirty`: the reaper's queue. All three are leaves.
//!
//! Notifier callbacks run under any of 2 to 4 and take 7 and 8. Reclaim takes 5 to 8, so none of those is held across an
//! allocation. 1 is held across allocations and faults: reclaim never waits for it.

use core::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use crate::sys::bindings as b;

/// A handle to an object of the engine.
///
/// # Invariants
///
/// The object exists as long as the handle is used. Each function that makes one says which lock, reference or state
/// sees to that.
pub(crate) struct Live<T>(NonNull<T>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Live<T> {}

impl<T> PartialEq for Live<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Live<T> {
    /// Makes a handle, `None` from null.
    ///
    /// # Safety
    ///
    /// What `object` points to fulfils the type's invariants.
    pub(crate) unsafe fn from_raw(object: *mut T) -> Option<Self> {
        NonNull::new(object).map(Self)
    }

    /// The address, for storing in a field, comparing, or handing to C.
    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Deref for Live<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariants the object exists; it is only ever shared.
        unsafe { self.0.as_ref() }
    }
}

/// A spinlock with what it protects.
#[repr(C)]
pub(crate) struct Spin<T> {
    raw: UnsafeCell<b::spinlock_t>,
    data: UnsafeCell<T>,
}

// SAFETY: The data is only reached with the lock held.
unsafe impl<T> Sync for Spin<T> {}

impl<T> Spin<T> {
    /// Prepares a lock in memory that is otherwise initialised.
    ///
    /// # Safety
    ///
    /// `this` points to a lock that nobody uses yet, with valid data.
    pub(crate) unsafe fn init(this: *mut Self, class: b::swapksm_lock_class) {
        // SAFETY: The caller owns the memory.
        unsafe { b::swapksm_spin_init((*this).raw.get(), class) };
    }

    /// A lock for a static, to be prepared by [`Spin::init`] before its first use.
    pub(crate) const fn new_static(data: T) -> Self {
        Self {
            // SAFETY: Plain data; `init` gives it its value.
            raw: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            data: UnsafeCell::new(data),
        }
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        // SAFETY: Prepared by `init`.
        unsafe { b::swapksm_spin_lock(self.raw.get()) };
        SpinGuard(self)
    }
}

/// A held [`Spin`].
#[clippy::has_significant_drop]
pub(crate) struct SpinGuard<'a, T>(&'a Spin<T>);

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Taken by `lock`.
        unsafe { b::swapksm_spin_unlock(self.0.raw.get()) };
    }
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The lock is held.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The lock is held.
        unsafe { &mut *self.0.data.get() }
    }
}

/// A read-side section of RCU: chunks found in it stay until it ends.
pub(crate) struct Rcu(());

impl Rcu {
    pub(crate) fn lock() -> Self {
        // SAFETY: Any context.
        unsafe { b::swapksm_rcu_read_lock() };
        Self(())
    }
}

impl Drop for Rcu {
    fn drop(&mut self) {
        // SAFETY: Entered by `lock`.
        unsafe { b::swapksm_rcu_read_unlock() };
    }
}

/// A field that only the holder of the engine touches; the guard is the evidence.
#[repr(transparent)]
pub(crate) struct EngineCell<T>(UnsafeCell<T>);

// SAFETY: Only reached with the engine's guard, of which there is one.
unsafe impl<T> Sync for EngineCell<T> {}

impl<T: Copy> EngineCell<T> {
    pub(crate) fn get(&self, _engine: &super::Engine) -> T {
        // SAFETY: The engine is held, so nobody writes.
        unsafe { *self.0.get() }
    }

    pub(crate) fn set(&self, _engine: &mut super::Engine, value: T) {
        // SAFETY: The engine is held exclusively.
        unsafe { *self.0.get() = value };
    }
}

impl<T> EngineCell<T> {
    /// The address, for intrusive links.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.0.get()
    }
}

/// A count of happenings that threads wait for.
pub(crate) struct Event(UnsafeCell<b::swapksm_event>);

// SAFETY: The C side is an atomic counter and a wait queue.
unsafe impl Sync for Event {}

impl Event {
    pub(crate) const fn new_static() -> Self {
        // SAFETY: Plain data; `init` gives it its value.
        Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    /// To be called once before use.
    pub(crate) fn init(&self) {
        // SAFETY: Nobody uses it yet.
        unsafe { b::swapksm_event_init(self.0.get()) };
    }

    /// What to hand to a wait. To be read before the condition is looked at.
    pub(crate) fn read(&self) -> i32 {
        // SAFETY: Prepared by `init`.
        unsafe { b::swapksm_event_read(self.0.get()) }
    }

    /// Wakes everybody who waits. Any context.
    pub(crate) fn signal(&self) {
        // SAFETY: Prepared by `init`.
        unsafe { b::swapksm_event_signal(self.0.get()) };
    }

    /// Sleeps in a kernel thread until signalled after `seen`, or for `timeout_us` (0: no limit). Freezable.
    pub(crate) fn wait(&self, seen: i32, timeout_us: u64) {
        // SAFETY: Prepared by `init`; our kernel threads hold no lock here.
        unsafe { b::swapksm_event_wait(self.0.get(), seen, timeout_us) };
    }

    /// The same for any task, for a jiffy at most.
    pub(crate) fn wait_jiffy(&self, seen: i32) {
        // SAFETY: Prepared by `init`; no spinlock is held.
        unsafe { b::swapksm_event_wait_jiffy(self.0.get(), seen) };
    }

    /// The same for a user's task. `ERESTARTSYS` when a signal came first: the call is repeated if its handler allows.
    pub(crate) fn wait_user(&self, seen: i32) -> kernel::error::Result {
        // SAFETY: Prepared by `init`; called from sysfs and ioctl without locks.
        kernel::error::to_result(unsafe { b::swapksm_event_wait_user(self.0.get(), seen) })
    }
}

impl<T> Spin<T> {
    /// The data, for a reader that another lock keeps from racing with writers.
    pub(crate) fn data_ptr(&self) -> *mut T {
        self.data.get()
    }
}

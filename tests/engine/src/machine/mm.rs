// SPDX-License-Identifier: GPL-2.0

//! mms, their mapping and page table, anon_vmas, and mmu notifiers (`shims/space.h`).

use std::{
    collections::BTreeMap,
    ffi::{c_int, c_void},
    ptr::{null_mut, with_exposed_provenance_mut},
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicIsize, Ordering::SeqCst},
        Mutex, MutexGuard,
    },
    time::Instant,
};

use kernel::prelude::*;

use super::{
    folio::{Frame, ANON, KSM},
    linger, pause,
    sync::{lock, may_sleep, Sleeping, TOO_LONG},
};
use crate::engine::{
    self,
    locks::Rcu,
    space::{self, Space},
};

/// Pages of a mapping; the first lies in another chunk than the others.
pub(crate) const PAGES: usize = 3;
pub(crate) const BASE: usize = (8 << 21) - 4096;

pub(crate) fn address(page: usize) -> usize {
    BASE + page * 4096
}

pub(crate) fn page_at(address: usize) -> Option<usize> {
    let page = address.checked_sub(BASE)? / 4096;
    (page < PAGES).then_some(page)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pte {
    None,
    Page {
        pfn: u64,
        write: bool,
        dirty: bool,
        exclusive: bool,
    },
    Swap {
        entry: u64,
        exclusive: bool,
    },
    Migration {
        pfn: u64,
        exclusive: bool,
    },
}

impl Pte {
    pub(crate) fn pfn(&self) -> Option<u64> {
        match self {
            Self::Page { pfn, .. } => Some(*pfn),
            _ => None,
        }
    }
}

pub(crate) struct mm_struct {
    users: AtomicI32,
    count: AtomicI32,
    pub(crate) mmap: Sleeping,
    /// Invalidations that are running: no subscription begins meanwhile, as with mm_take_all_locks().
    invalidating: Sleeping,
    ptes: Mutex<[Pte; PAGES]>,
    pub(crate) vma: vm_area_struct,
    is_mergeable: AtomicBool,
    merge_any: AtomicBool,
    notifier: Mutex<Notifier>,
    items: AtomicIsize,
    merging: AtomicIsize,
    /// What the process has written last. Under the page table's lock.
    pub(crate) expected: Mutex<[Option<u64>; PAGES]>,
}

#[derive(Default)]
struct Notifier {
    space: Option<usize>,
    callbacks: u32,
    ended: Option<usize>,
}

pub(crate) struct vm_area_struct {
    mm: Mutex<usize>,
    mergeable: AtomicBool,
    anon_vma: usize,
    /// Its own anon_vma and those of its ancestors.
    chain: Vec<usize>,
}

pub(crate) struct anon_vma {
    refs: AtomicI32,
    pub(crate) lock: Sleeping,
    /// Mappings of the mm and its children.
    pub(crate) vmas: Mutex<Vec<usize>>,
}

pub(crate) struct file;
pub(crate) struct list_head;

/// Read by a walk over all mms, written while one is added with what its parent has: the walk sees both or neither, as a
/// walk of an anon_vma does.
pub(crate) static FORKING: Sleeping = Sleeping::new();
static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static MMS: AtomicIsize = AtomicIsize::new(0);
static ANON_VMAS: AtomicIsize = AtomicIsize::new(0);

unsafe fn anon_vma_of<'a>(address: usize) -> &'a anon_vma {
    // SAFETY: The caller's: it has a reference, or something that has one.
    unsafe { &*with_exposed_provenance_mut::<anon_vma>(address) }
}

impl vm_area_struct {
    pub(crate) fn mm(&self) -> *mut mm_struct {
        with_exposed_provenance_mut(*lock(&self.mm))
    }

    pub(crate) fn is_in_rmap_of(&self, folio: &Frame) -> bool {
        let mapping = folio.mapping.load(SeqCst);
        mapping & KSM == ANON && self.chain.contains(&(mapping & !KSM))
    }

    pub(crate) fn set_mergeable(&self, on: bool) {
        self.mergeable.store(on, SeqCst);
    }

    pub(crate) fn is_mergeable(&self) -> bool {
        self.mergeable.load(SeqCst)
    }

    /// For the mapping of a folio of one's own.
    pub(crate) fn anon_mapping(&self) -> usize {
        self.anon_vma | ANON
    }

    pub(crate) fn chain_has(&self, anon_vma: *mut anon_vma) -> bool {
        self.chain.contains(&anon_vma.addr())
    }

    pub(crate) fn chain_len(&self) -> usize {
        self.chain.len()
    }

    pub(crate) fn as_ptr(&self) -> *mut Self {
        std::ptr::from_ref(self).cast_mut()
    }
}

impl mm_struct {
    /// An mm with one user; `parent`'s mapping is its ancestor.
    pub(crate) fn new(parent: Option<&Self>) -> &'static Self {
        MMS.fetch_add(1, SeqCst);
        ANON_VMAS.fetch_add(1, SeqCst);
        let own = Box::into_raw(Box::new(anon_vma {
            refs: AtomicI32::new(1),
            lock: Sleeping::new(),
            vmas: Mutex::new(Vec::new()),
        }))
        .expose_provenance();
        let mut chain = vec![own];
        if let Some(parent) = parent {
            chain.extend(&parent.vma.chain);
        }
        let mm = Box::into_raw(Box::new(Self {
            users: AtomicI32::new(1),
            count: AtomicI32::new(1),
            mmap: Sleeping::new(),
            invalidating: Sleeping::new(),
            ptes: Mutex::new([Pte::None; PAGES]),
            vma: vm_area_struct {
                mm: Mutex::new(0),
                mergeable: AtomicBool::new(parent.is_some_and(|p| p.vma.is_mergeable())),
                anon_vma: own,
                chain,
            },
            is_mergeable: AtomicBool::new(false),
            merge_any: AtomicBool::new(false),
            notifier: Mutex::default(),
            items: AtomicIsize::new(0),
            merging: AtomicIsize::new(0),
            expected: Mutex::new([None; PAGES]),
        }));
        let address = mm.expose_provenance();
        // SAFETY: Just made.
        let mm = unsafe { &*with_exposed_provenance_mut::<Self>(address) };
        *lock(&mm.vma.mm) = address;
        for anon_vma in &mm.vma.chain {
            // SAFETY: Its own, or its parent's, which the caller keeps.
            let anon_vma = unsafe { anon_vma_of(*anon_vma) };
            anon_vma.refs.fetch_add(1, SeqCst);
            anon_vma.lock.write();
            lock(&anon_vma.vmas).push(mm.vma.as_ptr().expose_provenance());
            anon_vma.lock.unlock();
        }
        // The reference from its making is the one of the chain now.
        // SAFETY: As above.
        unsafe { swapksm_anon_vma_put(with_exposed_provenance_mut(own)) };
        lock(&ALL).push(address);
        mm
    }

    pub(crate) fn as_ptr(&self) -> *mut Self {
        with_exposed_provenance_mut(std::ptr::from_ref(self).addr())
    }

    /// The page table, locked.
    pub(crate) fn ptes(&self) -> MutexGuard<'_, [Pte; PAGES]> {
        pause();
        lock(&self.ptes)
    }

    /// All mms that have page tables, with a user each.
    pub(crate) fn all() -> Vec<&'static Self> {
        lock(&ALL)
            .iter()
            // SAFETY: They leave the list before they are freed.
            .map(|mm| unsafe { &*with_exposed_provenance_mut::<Self>(*mm) })
            // SAFETY: As above.
            .filter(|mm| unsafe { swapksm_mm_get(mm.as_ptr()) })
            .collect()
    }

    pub(crate) fn put_user(&self) {
        if self.users.fetch_sub(1, SeqCst) == 1 {
            self.exit();
        }
    }

    /// exit_mm_users: ksm_exit(), then exit_mmap().
    fn exit(&self) {
        may_sleep();
        if self.is_mergeable.load(SeqCst) {
            engine::entry::exit(self.as_ptr());
        }
        pause();
        // mmu_notifier_release(). The engine itself may have found that there are no users any more, and ends the subscription.
        if let Some(space) = self.callback_begins() {
            let space: *mut swapksm_space = with_exposed_provenance_mut(space);
            // SAFETY: The subscription ends only when no callback runs.
            unsafe { Space::from_c(space) }.kill();
        }
        self.callback_ends();
        // Who has the lock while there are no users any more meets mappings still, and page tables that are being emptied.
        self.mmap.read();
        for page in 0..PAGES {
            super::fault::zap_pte(self, page);
            pause();
        }
        self.mmap.unlock();
        self.mmap.write();
        lock(&ALL).retain(|mm| *mm != self.as_ptr().addr());
        for address in &self.vma.chain {
            // SAFETY: The chain has a reference.
            let anon_vma = unsafe { anon_vma_of(*address) };
            anon_vma.lock.write();
            lock(&anon_vma.vmas).retain(|vma| *vma != self.vma.as_ptr().addr());
            anon_vma.lock.unlock();
            // SAFETY: The chain's.
            unsafe { swapksm_anon_vma_put(with_exposed_provenance_mut(*address)) };
        }
        self.mmap.unlock();
        // SAFETY: The users' reference.
        unsafe { mmdrop(self.as_ptr()) };
    }

    /// A page pointer that is there names the page that is mapped, at any time.
    pub(crate) fn check_pointers(&self) {
        let Some(space) = space::lookup(self.as_ptr()) else {
            return;
        };
        for page in 0..PAGES {
            let ptes = self.ptes();
            let rcu = Rcu::lock();
            let at = address(page);
            let pointer = space.find_rcu(&rcu, at >> 21).and_then(|chunk| {
                let mut state = chunk.state.lock();
                state.pfn((at >> 12) % 512).filter(|_| !state.is_dead())
            });
            if pointer.is_some() {
                assert_eq!(pointer, ptes[page].pfn(), "a pointer names another page");
            }
        }
        space.put();
    }

    /// The subscription to be told, which exists until `callback_ends`.
    fn callback_begins(&self) -> Option<usize> {
        let mut notifier = lock(&self.notifier);
        notifier.callbacks += 1;
        notifier.space
    }

    fn callback_ends(&self) {
        let ended = {
            let mut notifier = lock(&self.notifier);
            notifier.callbacks -= 1;
            match notifier.callbacks {
                0 => notifier.ended.take(),
                _ => None,
            }
        };
        unsubscribed(ended);
    }

    /// mmu_notifier_invalidate_range_start()
    pub(crate) fn invalidate_start(&self, start: usize, end: usize) -> Invalidation<'_> {
        may_sleep();
        self.invalidating.read();
        pause();
        let space = self.callback_begins();
        if let Some(space) = space {
            let space: *mut swapksm_space = with_exposed_provenance_mut(space);
            // SAFETY: The subscription ends only when no callback runs.
            unsafe { Space::from_c(space) }.invalidate_start(start, end, true);
        }
        linger();
        Invalidation { mm: self, space }
    }
}

/// Ends with mmu_notifier_invalidate_range_end().
pub(crate) struct Invalidation<'a> {
    mm: &'a mm_struct,
    space: Option<usize>,
}

impl Drop for Invalidation<'_> {
    fn drop(&mut self) {
        self.mm.check_pointers();
        if let Some(space) = self.space {
            let space: *mut swapksm_space = with_exposed_provenance_mut(space);
            // SAFETY: As at the start.
            unsafe { Space::from_c(space) }.invalidate_end();
        }
        self.mm.callback_ends();
        self.mm.invalidating.unlock();
    }
}

static SUBSCRIPTIONS: AtomicI32 = AtomicI32::new(0);

fn unsubscribed(space: Option<usize>) {
    if let Some(space) = space {
        let space: *mut swapksm_space = with_exposed_provenance_mut(space);
        // SAFETY: The subscription's reference.
        unsafe { Space::from_c(space) }.put();
        SUBSCRIPTIONS.fetch_sub(1, SeqCst);
    }
}

/// Nothing of any mm is left.
pub(crate) fn is_empty() -> bool {
    MMS.load(SeqCst) == 0 && ANON_VMAS.load(SeqCst) == 0
}

#[repr(C)]
pub(crate) struct swapksm_space {
    pub(crate) mm: *mut mm_struct,
    chunks: Mutex<BTreeMap<usize, usize>>,
}

unsafe fn of<'a>(mm: *mut mm_struct) -> &'a mm_struct {
    // SAFETY: The caller's.
    let mm = unsafe { &*mm };
    assert!(mm.count.load(SeqCst) > 0, "an mm that is freed");
    mm
}

/// mms that are freed: their memory goes when nobody is in a function of theirs.
static GONE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// No thread has to do with any mm.
pub(crate) fn free_mms() {
    for mm in lock(&GONE).drain(..) {
        // SAFETY: Made by a box, and given up.
        drop(unsafe { Box::from_raw(with_exposed_provenance_mut::<mm_struct>(mm)) });
    }
}

unsafe fn mmdrop(mm: *mut mm_struct) {
    // SAFETY: The caller's reference.
    if unsafe { of(mm) }.count.fetch_sub(1, SeqCst) == 1 {
        MMS.fetch_sub(1, SeqCst);
        lock(&GONE).push(mm.addr());
    }
}

pub(crate) unsafe fn swapksm_space_init(space: *mut swapksm_space, mm: *mut mm_struct) {
    // SAFETY: The caller's memory.
    unsafe {
        let _ = space.expose_provenance();
        of(mm).count.fetch_add(1, SeqCst);
        space.write(swapksm_space {
            mm,
            chunks: Mutex::default(),
        });
    }
}

pub(crate) unsafe fn swapksm_space_fini(space: *mut swapksm_space) {
    // SAFETY: The caller's, who has the last reference.
    unsafe {
        assert!(
            lock(&(*space).chunks).is_empty(),
            "a space ends with chunks"
        );
        mmdrop((*space).mm);
        space.drop_in_place();
    }
}

pub(crate) unsafe fn swapksm_space_subscribe(space: *mut swapksm_space) -> c_int {
    // SAFETY: The caller's.
    let mm = unsafe { of((*space).mm) };
    if !mm.mmap.try_write() {
        return EAGAIN.to_errno();
    }
    let quiet = mm.invalidating.try_write();
    if quiet {
        SUBSCRIPTIONS.fetch_add(1, SeqCst);
        lock(&mm.notifier).space = Some(space.expose_provenance());
        mm.invalidating.unlock();
    }
    mm.mmap.unlock();
    if quiet {
        0
    } else {
        EAGAIN.to_errno()
    }
}

pub(crate) unsafe fn swapksm_space_unsubscribe(space: *mut swapksm_space) {
    // SAFETY: The caller's.
    let mm = unsafe { of((*space).mm) };
    let ended = {
        let mut notifier = lock(&mm.notifier);
        let space = notifier.space.take();
        assert!(space.is_some(), "ends a subscription twice");
        if notifier.callbacks > 0 {
            notifier.ended = space;
            None
        } else {
            space
        }
    };
    unsubscribed(ended);
}

pub(crate) unsafe fn swapksm_space_unsubscribe_wait() {
    let begun = Instant::now();
    while SUBSCRIPTIONS.load(SeqCst) > 0 {
        assert!(begun.elapsed() < TOO_LONG, "a subscription never ends");
        std::thread::yield_now();
    }
}

pub(crate) unsafe fn swapksm_space_find(
    space: *mut swapksm_space,
    index: *mut usize,
    last: usize,
) -> *mut c_void {
    // SAFETY: The caller's.
    let chunks = lock(unsafe { &(*space).chunks });
    // SAFETY: As above.
    let found = chunks.range(unsafe { *index }..=last).next();
    match found {
        Some((at, chunk)) => {
            // SAFETY: As above.
            unsafe { *index = *at };
            with_exposed_provenance_mut(*chunk)
        }
        None => null_mut(),
    }
}

pub(crate) unsafe fn swapksm_space_insert(
    space: *mut swapksm_space,
    index: usize,
    chunk: *mut c_void,
) -> c_int {
    may_sleep();
    // SAFETY: The caller's.
    let before = lock(unsafe { &(*space).chunks }).insert(index, chunk.expose_provenance());
    assert!(before.is_none(), "two chunks of one number");
    0
}

pub(crate) unsafe fn swapksm_space_erase(space: *mut swapksm_space, index: usize) {
    // SAFETY: The caller's.
    lock(unsafe { &(*space).chunks }).remove(&index);
}

pub(crate) unsafe fn swapksm_mm_get(mm: *mut mm_struct) -> bool {
    let more = |users| (users > 0).then_some(users + 1);
    // SAFETY: The caller's.
    unsafe { of(mm) }
        .users
        .fetch_update(SeqCst, SeqCst, more)
        .is_ok()
}

/// mmput_async(): what is left is done by somebody else.
pub(crate) unsafe fn swapksm_mm_put(mm: *mut mm_struct) {
    // SAFETY: The caller's.
    if unsafe { of(mm) }.users.fetch_sub(1, SeqCst) == 1 {
        lock(&EXITING).push(mm.expose_provenance());
    }
}

static EXITING: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Ends the mms whose last user was the engine.
pub(crate) fn end_mms() {
    let exiting = std::mem::take(&mut *lock(&EXITING));
    for mm in exiting {
        // SAFETY: The users' reference to the struct is there still.
        unsafe { &*with_exposed_provenance_mut::<mm_struct>(mm) }.exit();
    }
}

pub(crate) unsafe fn swapksm_mm_read_lock_killable(mm: *mut mm_struct) -> c_int {
    unsafe { of(mm) }.mmap.read();
    0
}

/// Nobody empties page tables here without the lock for writing.
pub(crate) unsafe fn swapksm_mm_read_lock_alone(mm: *mut mm_struct) {
    unsafe { of(mm) }.mmap.read();
}

pub(crate) unsafe fn swapksm_mm_read_trylock(mm: *mut mm_struct) -> bool {
    unsafe { of(mm) }.mmap.try_read()
}

pub(crate) unsafe fn swapksm_mm_read_unlock(mm: *mut mm_struct) {
    unsafe { of(mm) }.mmap.unlock();
}

pub(crate) unsafe fn swapksm_mm_of_pid(_number: c_int) -> *mut mm_struct {
    null_mut()
}

pub(crate) unsafe fn swapksm_mm_has_no_users(mm: *mut mm_struct) -> bool {
    unsafe { of(mm) }.users.load(SeqCst) == 0
}

pub(crate) unsafe fn swapksm_mm_is_mergeable(mm: *mut mm_struct) -> bool {
    unsafe { of(mm) }.is_mergeable.load(SeqCst)
}

pub(crate) unsafe fn swapksm_mm_set_mergeable(mm: *mut mm_struct, on: bool) {
    unsafe { of(mm) }.is_mergeable.store(on, SeqCst);
}

pub(crate) unsafe fn swapksm_mm_is_merge_any(mm: *mut mm_struct) -> bool {
    unsafe { of(mm) }.merge_any.load(SeqCst)
}

pub(crate) unsafe fn swapksm_mm_set_merge_any(mm: *mut mm_struct, on: bool) {
    unsafe { of(mm) }.merge_any.store(on, SeqCst);
}

pub(crate) unsafe fn swapksm_mm_count_items(mm: *mut mm_struct, by: isize) {
    unsafe { of(mm) }.items.fetch_add(by, SeqCst);
}

pub(crate) unsafe fn swapksm_mm_count_merging(mm: *mut mm_struct, by: isize) {
    unsafe { of(mm) }.merging.fetch_add(by, SeqCst);
}

pub(crate) unsafe fn swapksm_anon_vma_get(
    vma: *mut vm_area_struct,
    addr: usize,
    index: *mut usize,
) -> *mut anon_vma {
    // SAFETY: The caller's.
    unsafe {
        *index = page_at(addr).expect("in the mapping");
        anon_vma_of((*vma).anon_vma).refs.fetch_add(1, SeqCst);
        with_exposed_provenance_mut((*vma).anon_vma)
    }
}

pub(crate) unsafe fn swapksm_anon_vma_put(anon_vma: *mut anon_vma) {
    // SAFETY: The caller's reference.
    if unsafe { &*anon_vma }.refs.fetch_sub(1, SeqCst) == 1 {
        ANON_VMAS.fetch_sub(1, SeqCst);
        // SAFETY: The last one.
        drop(unsafe { Box::from_raw(anon_vma) });
    }
}

pub(crate) unsafe fn swapksm_intree_forget(_mm: *mut mm_struct) {}

// SPDX-License-Identifier: GPL-2.0

//! The scanner: goes round all address spaces, a few pages at a time.
//!
//! A step reads the page table of one chunk once, installs the pages found as pointers, and then works from the
//! pointers: no page-table walk and no mmap lock while hashes are taken and trees are searched. References to pages are
//! taken one at a time, since a page that is referenced looks pinned to a merge.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use super::{
    chunk::{Chunk, Slots, SLOTS},
    hold,
    locks::{Event, Live},
    merge::{self, At, Outcome},
    node::{Node, Wait},
    reap,
    space::{self, Look, Reading, Space, Watch},
    word::State,
    Engine,
};
use crate::{
    advisor::{Advisor, Limits},
    config::{ADVISOR_SCAN_TIME, CONFIG, RUN_MERGE},
    stats::STATS,
    sys::{bindings as b, lru, thread},
};

/// Something the scanner may be sleeping over has changed.
pub(super) static CHANGED: Event = Event::new_static();
/// Set between the transitions: only then may a folio carry a node of ours.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Memory was made mergeable: grows each time.
static JOINED: AtomicU32 = AtomicU32::new(0);
/// Memory is going offline: frames may vanish.
static OFFLINING: AtomicBool = AtomicBool::new(false);

/// Pages looked at before the engine is given to others.
const STEP: u32 = 32;
const CHUNK_BYTES: usize = 1 << 21;
/// How often a step is tried whose pages are being invalidated, or whose mmap lock somebody keeps, and the microseconds in
/// between. The engine is not held meanwhile: one process cannot stop the others' merging.
const TRIES: u32 = 10;
const REST_US: u64 = 1000;
/// Nor may it put it off for long: each rest is paid for by so many of its pages that can be looked at, and it may owe no
/// more than a step's tries.
const REST_PAGES: u32 = 3;
const MOST_OWED: u32 = TRIES * REST_PAGES;

/// How far the scanner is. Which space it is in is `space::cursor`'s, where in there the space's.
pub(super) struct Cursor {
    pass: Pass,
    /// `JOINED` when the pass began.
    joined: u32,
    /// The pass before was not counted.
    uncounted: bool,
    /// How often the next step has been tried in vain.
    tries: u32,
    /// Where a page was last lost while it was looked at.
    lost_at: usize,
    /// When chains were last looked through.
    pruned_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    None,
    Running { start_ns: u64 },
}

impl Cursor {
    pub(super) const fn new() -> Self {
        Self {
            pass: Pass::None,
            joined: 0,
            uncounted: false,
            tries: 0,
            lost_at: 0,
            pruned_ns: 0,
        }
    }
}

/// May the next step in a space be tried once more, after a rest?
fn may_rest(engine: &Engine, space: Live<Space>) -> bool {
    engine.cursor.tries < TRIES && space.owed.get(engine) < MOST_OWED
}

/// So many pages of a space were looked at.
fn pay(engine: &mut Engine, space: Live<Space>, pages: u32) {
    let owed = space.owed.get(engine);
    space.owed.set(engine, owed.saturating_sub(pages));
}

/// Memory was made mergeable. Any context.
pub(super) fn joined() {
    JOINED.fetch_add(1, Relaxed);
}

/// Allows or forbids merging. Takes effect when the engine is next taken.
pub(super) fn set_active(_engine: &mut Engine, on: bool) {
    ACTIVE.store(on, Relaxed);
    CHANGED.signal();
}

/// May a folio get a node now? Checked with the engine held, or with a folio lock that `pre_unpatch` will want.
pub(super) fn is_active() -> bool {
    ACTIVE.load(Relaxed)
}

pub(super) fn set_offlining(_engine: &mut Engine, on: bool) {
    OFFLINING.store(on, Relaxed);
    CHANGED.signal();
}

pub(super) fn is_offlining() -> bool {
    OFFLINING.load(Relaxed)
}

fn should_run() -> bool {
    CONFIG.run.load(Relaxed) & RUN_MERGE != 0 && is_active() && !is_offlining() && space::any()
}

/// The scanner's thread.
pub(crate) fn main() {
    let mut advisor = AdvisorState::new();
    while !thread::should_stop() {
        thread::try_to_freeze();
        let seen = CHANGED.read();
        if !should_run() {
            CHANGED.wait(seen, 0);
            continue;
        }
        batch(CONFIG.pages_to_scan.load(Relaxed), &mut advisor);
        match CONFIG.sleep_us.load(Relaxed) {
            0 => thread::cond_resched(),
            sleep_us => CHANGED.wait(seen, sleep_us),
        }
    }
}

/// Scans up to `pages` pages; a pass that ends and counts, ends the batch too.
fn batch(mut pages: u32, advisor: &mut AdvisorState) {
    while pages > 0 && !thread::is_freezing() && !thread::should_stop() {
        let mut engine = hold();
        if !should_run() {
            return;
        }
        let step = step(&mut engine, pages.min(STEP), advisor);
        drop(engine);
        match step {
            Step::Scanned(count) => pages = pages.saturating_sub(count),
            Step::Again => CHANGED.wait(CHANGED.read(), REST_US),
            Step::PassEnded => {
                // Who waits for the pass to be counted wants to see all that happened before.
                reap::sync_thread();
                if end_pass(&mut hold(), advisor) {
                    return;
                }
                // Who waits for the number would have to wait for the next batch, however far away.
            }
        }
        thread::cond_resched();
    }
}

enum Step {
    Scanned(u32),
    /// Something is in the way for a moment.
    Again,
    PassEnded,
}

fn step(engine: &mut Engine, max: u32, advisor: &mut AdvisorState) -> Step {
    if engine.cursor.pass == Pass::None {
        begin_pass(engine, advisor);
    }
    // None: the last spaces died, or there were none.
    let Some(space) = space::cursor() else {
        return Step::PassEnded;
    };
    let progress = scan_space(engine, space, max);
    match progress {
        Progress::Again if may_rest(engine, space) => {
            engine.cursor.tries += 1;
            let owed = space.owed.get(engine);
            space.owed.set(engine, owed + REST_PAGES);
            space.put();
            return Step::Again;
        }
        Progress::Again => leave(engine, space),
        Progress::Scanned(_) => {}
    }
    space.put();
    engine.cursor.tries = 0;
    match progress {
        _ if space::cursor_at_end() => Step::PassEnded,
        Progress::Scanned(count) => Step::Scanned(count),
        Progress::Again => Step::Scanned(0),
    }
}

fn begin_pass(engine: &mut Engine, advisor: &mut AdvisorState) {
    // Pages wait in per-CPU batches with an extra reference, which looks like a pin.
    lru::add_drain_all();
    let chains = chains_are_due(&mut engine.cursor);
    prune(engine, chains, Wait::No);
    advisor.begin();
    engine.cursor.joined = JOINED.load(Relaxed);
    space::cursor_start();
    engine.cursor.pass = Pass::Running {
        start_ns: thread::now_ns(),
    };
}

/// False: the pass does not count.
fn end_pass(engine: &mut Engine, advisor: &mut AdvisorState) -> bool {
    if let Pass::Running { start_ns } = core::mem::replace(&mut engine.cursor.pass, Pass::None) {
        advisor.end(thread::now_ns().saturating_sub(start_ns));
        // Who makes memory mergeable and waits for full scans means scans of that memory; this one may have gone by before.
        // One in two counts in any case, so that nobody can keep the number from growing.
        let late = JOINED.load(Relaxed) != engine.cursor.joined;
        engine.cursor.uncounted = late && !engine.cursor.uncounted;
        if !engine.cursor.uncounted {
            STATS.full_scans.inc();
        }
    }
    !engine.cursor.uncounted
}

/// Frees nodes whose last mappings, unregistered forks, went without telling us. Of contents with several merged pages
/// only the one in the tree is looked at unless `chains` says so; then their sharers are also brought together.
pub(super) fn prune(engine: &mut Engine, chains: bool, wait: Wait) {
    let mut link = engine.stable.first();
    while !link.is_null() {
        // SAFETY: Links in the tree are those of nodes. The next one is looked up before this ring changes.
        let (first, next) = unsafe {
            (
                Live::from_raw(Node::of_link(link)).unwrap_unchecked(),
                engine.stable.next(link),
            )
        };
        let mut node = if chains {
            first.next_copy(engine)
        } else {
            first
        };
        // The first last: taking it out hands the place in the tree to another one, which has been looked at by then.
        while node != first {
            let after = node.next_copy(engine);
            if node.state.lock().count() == 0 {
                node.try_free(engine, wait);
            } else {
                merge::revisit_sharers(engine, node);
            }
            node = after;
        }
        if first.state.lock().count() == 0 {
            first.try_free(engine, wait);
        } else if chains {
            merge::revisit_sharers(engine, first);
        }
        link = next;
        thread::cond_resched();
    }
}

/// Is it time to look through the contents with several merged pages (`stable_node_chains_prune_millisecs`)?
fn chains_are_due(cursor: &mut Cursor) -> bool {
    let now_ns = thread::now_ns();
    let wait_ns = u64::from(CONFIG.prune_millisecs.load(Relaxed)) * 1_000_000;
    let due = now_ns.saturating_sub(cursor.pruned_ns) >= wait_ns;
    if due {
        cursor.pruned_ns = now_ns;
    }
    due
}

/// The next step begins a new pass; the one that was running does not count.
pub(super) fn start_over(engine: &mut Engine) {
    engine.cursor.pass = Pass::None;
    space::cursor_clear();
}

/// Ends the scan of a space in this pass.
fn leave(engine: &mut Engine, space: Live<Space>) {
    space.scan_at.set(engine, 0);
    space.seen_mergeable.set(engine, false);
    space.owed.set(engine, 0);
    space::cursor_advance(space);
}

enum Progress {
    /// So many pages were looked at.
    Scanned(u32),
    /// None, and it may be otherwise in a moment.
    Again,
}

/// Takes the next pages of a space, at most `max`.
fn scan_space(engine: &mut Engine, space: Live<Space>, max: u32) -> Progress {
    match space.watch() {
        Watch::Yes => {}
        Watch::Later => return Progress::Again,
        Watch::No => {
            leave(engine, space);
            return Progress::Scanned(0);
        }
    }
    let Some(mut found) = engine.found.take() else {
        leave(engine, space);
        return Progress::Scanned(0);
    };
    let progress = scan_found(engine, space, &mut found, max);
    engine.found = Some(found);
    progress
}

fn scan_found(engine: &mut Engine, space: Live<Space>, found: &mut Found, max: u32) -> Progress {
    let address = space.scan_at.get(engine);
    let mut any = space.seen_mergeable.get(engine);
    let look = space.look();
    let has_pages = {
        let lock = match space.try_read_lock() {
            Reading::Possible(lock) => lock,
            Reading::Later => return Progress::Again,
            Reading::Gone => return gone(engine, space),
        };
        let has_pages = found.collect(&lock, address, max, &mut any);
        // Cut short then, and no answer.
        if space.has_no_users() {
            drop(lock);
            return gone(engine, space);
        }
        if !has_pages && !any {
            // A whole pass without a mergeable mapping: as __ksm_exit() would. The lock keeps madvise() from adding one
            // before the flag, by which it decides whether to enter the mm again, is cleared.
            // Its items go first, with what the mm counts of them: a fork would inherit the numbers of an mm without the flag.
            // If some cannot go now both stay until the next pass.
            if reap::forget_all(engine, space, Wait::No) {
                // SAFETY: The space keeps the mm.
                unsafe { b::swapksm_mm_set_mergeable(space.mm(), false) };
                space.kill();
            }
        }
        has_pages
    };
    space.seen_mergeable.set(engine, any);
    if !has_pages {
        unmerged(engine, space, address, usize::MAX >> 21);
        leave(engine, space);
        return Progress::Scanned(0);
    }
    if let Some(last_passed) = found.index().checked_sub(1) {
        unmerged(engine, space, address, last_passed);
    }
    match scan_chunk(engine, space, found, look) {
        Some((scanned, next)) => {
            space.scan_at.set(engine, found.address(next));
            Progress::Scanned(scanned)
        }
        None if may_rest(engine, space) => Progress::Again,
        // These pages are given up for this pass. They count as work, so that the thread rests as often as for others.
        None => {
            space.scan_at.set(engine, found.address(found.to()));
            Progress::Scanned(found.count())
        }
    }
}

/// The mm has no users any more.
fn gone(engine: &mut Engine, space: Live<Space>) -> Progress {
    space.kill();
    leave(engine, space);
    Progress::Scanned(0)
}

/// Ends the items of chunks that were passed over from `address` on, as nothing in them is mergeable. Sharers stay: their
/// mappings may be in swap, and the reaper knows when they end.
fn unmerged(engine: &mut Engine, space: Live<Space>, address: usize, last: usize) {
    let first = address / CHUNK_BYTES;
    let mut index = first;
    while index <= last {
        let Some(chunk) = space.find(engine, &mut index, last) else {
            return;
        };
        // In the chunk where the last step ended only what comes after it.
        let from = if index == first {
            (address >> 12) & (SLOTS - 1)
        } else {
            0
        };
        let stale = chunk.state.lock().by_page(from);
        drop_stale(engine, chunk, &stale);
        chunk.try_free(engine);
        thread::cond_resched();
        index += 1;
    }
}

/// Ends items whose address is no longer mergeable.
fn drop_stale(engine: &mut Engine, chunk: Live<Chunk>, stale: &Slots) {
    let mut at = 0;
    while let Some(slot) = stale.next(at) {
        at = slot + 1;
        // A match would keep the lock to its end.
        let state = chunk.state.lock().state(slot);
        match state {
            State::Free => continue,
            State::Stable => {
                reap::suspect(chunk, slot);
                continue;
            }
            State::Volatile | State::Unstable => {}
        }
        reap::forget(engine, chunk, slot, Wait::No);
    }
}

/// Looks at what was found in a chunk. Returns the number of pages and the slot to go on from; `None`: an invalidation came
/// in between, so that it must be read again.
fn scan_chunk(
    engine: &mut Engine,
    space: Live<Space>,
    found: &Found,
    look: Look,
) -> Option<(u32, usize)> {
    // Out of memory: these pages are given up for this pass.
    let given_up = Some((found.count(), found.to()));
    let mut index = found.index();
    let (chunk, fresh) = match space.find(engine, &mut index, found.index()) {
        Some(chunk) => (chunk, false),
        None => {
            let Some(chunk) = Chunk::new(space, found.index()) else {
                return given_up;
            };
            if !space.insert(chunk) {
                chunk.try_free(engine);
                return given_up;
            }
            (chunk, true)
        }
    };
    let mut stale = Slots::default();
    let installed = chunk.install(
        engine,
        look,
        fresh,
        found.from(),
        found.to(),
        &|slot| found.pfn(slot),
        &mut stale,
    );
    if !installed {
        // It stays, empty if it is new: the next time it will have been told of the invalidations since.
        if !may_rest(engine, space) {
            chunk.try_free(engine);
        }
        return None;
    }
    drop_stale(engine, chunk, &stale);
    let visited = if merge::moves_between_realms() {
        Slots::default()
    } else {
        chunk.state.lock().visited()
    };
    let (mut scanned, mut skipped) = (0, 0);
    let mut next = found.to();
    for slot in found.from()..found.to() {
        if found.pfn(slot).is_none() {
            continue;
        }
        if visited.has(slot) {
            scanned += 1;
            continue;
        }
        match visit(engine, At { chunk, slot }) {
            Visit::Done => scanned += 1,
            Visit::Skipped => skipped += 1,
            // A second time, so that it goes on in any case.
            Visit::Lost if engine.cursor.lost_at == chunk.address(slot) => scanned += 1,
            // Splitting a large folio, for one, moves all its pages away for a moment.
            Visit::Lost => {
                engine.cursor.lost_at = chunk.address(slot);
                next = slot;
                break;
            }
            Visit::From(slot) => {
                next = slot;
                break;
            }
        }
    }
    chunk.try_free(engine);
    STATS.pages_scanned.add(i64::from(scanned));
    pay(engine, space, scanned + skipped);
    Some((scanned, next))
}

enum Visit {
    Done,
    /// Smart scan left it out; it does not count as looked at.
    Skipped,
    /// The item has lost its pointer since it was installed, and nothing came of it.
    Lost,
    /// Pages from this slot on are to be looked at again.
    From(usize),
}

/// Looks at one item.
fn visit(engine: &mut Engine, at: At) -> Visit {
    let Some(page) = merge::page_of(at.chunk, at.slot) else {
        return Visit::Lost;
    };
    let is_merged = page.is_ksm();
    let state = at.chunk.state.lock().state(at.slot);
    if CONFIG.smart_scan.load(Relaxed)
        && !is_merged
        && state != State::Stable
        && at.chunk.grow_older(at.slot)
    {
        // It stays in the unstable tree, so that an equal page finds it meanwhile.
        STATS.pages_skipped.inc();
        return Visit::Skipped;
    }
    if is_merged {
        merge::visit_merged(engine, at, &page);
        return Visit::Done;
    }
    if let Outcome::Split(from) = merge::visit_private(engine, at, page) {
        return Visit::From(from);
    }
    // Somebody else's invalidation came while we were at it: NUMA balancing's, for one.
    let mut state = at.chunk.state.lock();
    match state.state(at.slot) {
        State::Volatile | State::Unstable
            if !state.is_live(at.slot) && state.is_suspect(at.slot) =>
        {
            Visit::Lost
        }
        _ => Visit::Done,
    }
}

/// What a reading of one chunk's page table found.
pub(super) struct Found(kernel::alloc::KBox<b::swapksm_collected>);

impl Found {
    /// Room for a reading; `None`: out of memory. May sleep.
    pub(super) fn new() -> Option<Self> {
        use kernel::alloc::{flags::GFP_KERNEL, KBox};
        KBox::new(b::swapksm_collected::default(), GFP_KERNEL)
            .ok()
            .map(Self)
    }

    fn collect(
        &mut self,
        lock: &space::MmapRead,
        address: usize,
        max: u32,
        any: &mut bool,
    ) -> bool {
        // SAFETY: The mmap lock is held.
        unsafe { b::swapksm_collect(lock.mm(), address, max, &mut *self.0, any) }
    }

    fn index(&self) -> usize {
        self.0.base / CHUNK_BYTES
    }

    fn from(&self) -> usize {
        self.0.from as usize
    }

    fn to(&self) -> usize {
        self.0.to as usize
    }

    fn address(&self, slot: usize) -> usize {
        self.0.base + slot * 4096
    }

    fn count(&self) -> u32 {
        self.0.count
    }

    fn pfn(&self, slot: usize) -> Option<u64> {
        let page = self.0.pages[slot];
        // SAFETY: Turns an address into a number; the page is not looked at.
        (!page.is_null()).then(|| unsafe { b::swapksm_page_pfn(page) as u64 })
    }
}

/// Frames in a range have gone: no node may name one of them any more, nor one of them a node. The pages were migrated
/// before, or are gone, or are broken: those stay where they are, in the swap cache, too (`me_swapcache_dirty()`). May sleep.
pub(super) fn forget_frames(engine: &mut Engine, start: u64, pages: u64) {
    super::for_each_node(engine, |node| {
        node.forget_frames(&(start..start + pages));
        thread::cond_resched();
    });
}

/// The advisor and which passes it has seen.
struct AdvisorState {
    advisor: Advisor,
    epoch: u32,
}

impl AdvisorState {
    fn new() -> Self {
        Self {
            advisor: Advisor::new(),
            epoch: 0,
        }
    }

    fn begin(&mut self) {
        let epoch = CONFIG.advisor_epoch.load(Relaxed);
        if epoch != self.epoch {
            self.epoch = epoch;
            self.advisor = Advisor::new();
        }
    }

    fn end(&mut self, took_ns: u64) {
        if CONFIG.advisor_mode.load(Relaxed) == ADVISOR_SCAN_TIME {
            let limits = Limits {
                target_scan_time: CONFIG.advisor_target_scan_time.load(Relaxed),
                max_cpu: CONFIG.advisor_max_cpu.load(Relaxed),
                max_pages_to_scan: CONFIG.advisor_max_pages_to_scan.load(Relaxed),
            };
            let pages = self.advisor.scan_ended(
                took_ns / 1_000_000,
                thread::cpu_ns(),
                CONFIG.pages_to_scan.load(Relaxed),
                &limits,
            );
            CONFIG.pages_to_scan.store(pages, Relaxed);
        }
    }
}

const _: () = assert!(SLOTS * 4096 == CHUNK_BYTES);

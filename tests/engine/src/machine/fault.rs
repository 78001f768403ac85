// SPDX-License-Identifier: GPL-2.0

//! What a process does with its memory: reading, writing, discarding, forking.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    folio::Frame,
    linger,
    merge::check_swapped_in,
    mm::{address, mm_struct, swapksm_mm_is_mergeable, Pte, FORKING},
    pause, swap,
    sync::lock,
};
use crate::engine::{
    entry,
    swapin::{decide, Answer},
};

/// Out of memory, or of patience with somebody's lock.
pub(crate) struct GivenUp;

/// Reads a page and checks that it is what was written last.
pub(crate) fn read(mm: &mm_struct, page: usize) -> Result<(), GivenUp> {
    mm.check_pointers();
    for _ in 0..50 {
        {
            let ptes = mm.ptes();
            let expected = lock(&mm.expected)[page];
            match ptes[page] {
                Pte::Page { pfn, .. } => {
                    let content = Frame::of_pfn(pfn).content.load(SeqCst);
                    assert_eq!(Some(content), expected, "page {page} reads another's data");
                    return Ok(());
                }
                Pte::None => {
                    assert_eq!(expected, None, "page {page} has lost its data");
                    return Ok(());
                }
                _ => {}
            }
        }
        fault(mm, page, false)?;
    }
    Err(GivenUp)
}

/// Writes a page.
pub(crate) fn write(mm: &mm_struct, page: usize, content: u64) -> Result<(), GivenUp> {
    for _ in 0..50 {
        {
            let mut ptes = mm.ptes();
            if let Pte::Page {
                pfn,
                write: true,
                exclusive,
                ..
            } = ptes[page]
            {
                let frame = Frame::of_pfn(pfn);
                assert!(exclusive && !frame.is_ksm(), "may write a shared page");
                assert_eq!(frame.mapcount.load(SeqCst), 1, "may write a shared page");
                frame.content.store(content, SeqCst);
                lock(&mm.expected)[page] = Some(content);
                ptes[page] = Pte::Page {
                    pfn,
                    write: true,
                    dirty: true,
                    exclusive,
                };
                return Ok(());
            }
        }
        fault(mm, page, true)?;
    }
    Err(GivenUp)
}

/// handle_mm_fault(), with the mmap lock for reading.
fn fault(mm: &mm_struct, page: usize, write: bool) -> Result<(), GivenUp> {
    mm.mmap.read();
    pause();
    let pte = mm.ptes()[page];
    let result = match pte {
        Pte::None => anonymous(mm, page),
        Pte::Swap { entry, exclusive } => swap_page(mm, page, entry, exclusive),
        Pte::Page { pfn, exclusive, .. } if write => wp_page(mm, page, pfn, exclusive),
        Pte::Page { .. } => Ok(()),
        Pte::Migration { .. } => {
            std::thread::yield_now();
            Ok(())
        }
    };
    mm.mmap.unlock();
    result
}

/// do_anonymous_page()
fn anonymous(mm: &mm_struct, page: usize) -> Result<(), GivenUp> {
    let frame = Frame::alloc(0).ok_or(GivenUp)?;
    let mut ptes = mm.ptes();
    if ptes[page] != Pte::None {
        drop(ptes);
        frame.put();
        return Ok(());
    }
    frame.mapping.store(mm.vma.anon_mapping(), SeqCst);
    frame.mapcount.store(1, SeqCst);
    lock(&mm.expected)[page] = Some(0);
    ptes[page] = Pte::Page {
        pfn: frame.pfn(),
        write: true,
        dirty: true,
        exclusive: true,
    };
    Ok(())
}

/// do_wp_page()
fn wp_page(mm: &mm_struct, page: usize, pfn: u64, exclusive: bool) -> Result<(), GivenUp> {
    let old = Pte::Page {
        pfn,
        write: false,
        dirty: false,
        exclusive,
    };
    let frame = Frame::of_pfn(pfn);
    {
        let mut ptes = mm.ptes();
        let Pte::Page {
            pfn: now,
            exclusive,
            dirty,
            ..
        } = ptes[page]
        else {
            return Ok(());
        };
        if now != pfn {
            return Ok(());
        }
        // wp_can_reuse_anon_folio(): nobody else has it. The lock of the folio is what it takes, too.
        let alone = exclusive
            || (!frame.is_ksm() && frame.try_lock() && {
                let alone = frame.refs() == 1 && frame.swap.load(SeqCst) == 0;
                frame.unlock();
                alone
            });
        if alone && !frame.is_ksm() && frame.swap.load(SeqCst) == 0 {
            ptes[page] = Pte::Page {
                pfn,
                write: true,
                dirty,
                exclusive: true,
            };
            return Ok(());
        }
        if !frame.try_get() {
            return Ok(());
        }
    }
    let result = copy_page(mm, page, frame, old);
    frame.put();
    result
}

/// wp_page_copy(): the caller has a reference to the old page.
fn copy_page(mm: &mm_struct, page: usize, frame: &Frame, old: Pte) -> Result<(), GivenUp> {
    let copy = Frame::alloc(frame.content.load(SeqCst)).ok_or(GivenUp)?;
    let _invalidation = mm.invalidate_start(address(page), address(page) + 4096);
    let mut ptes = mm.ptes();
    if ptes[page].pfn() != old.pfn() {
        drop(ptes);
        copy.put();
        return Ok(());
    }
    copy.mapping.store(mm.vma.anon_mapping(), SeqCst);
    copy.mapcount.store(1, SeqCst);
    // What was written between the copying and this is in the old page: nobody may write it then.
    assert_eq!(copy.content.load(SeqCst), frame.content.load(SeqCst));
    ptes[page] = Pte::Page {
        pfn: copy.pfn(),
        write: false,
        dirty: false,
        exclusive: true,
    };
    frame.mapcount.fetch_sub(1, SeqCst);
    frame.put();
    Ok(())
}

/// FAULT_FLAG_UNSHARE. True: there was a merged page, which may be there still.
pub(crate) fn unshare(mm: &mm_struct, page: usize) -> bool {
    let (pte, frame) = {
        let pte = mm.ptes();
        let Some(pfn) = pte[page].pfn() else {
            return false;
        };
        let frame = Frame::of_pfn(pfn);
        if !frame.is_ksm() || !frame.try_get() {
            return false;
        }
        (pte[page], frame)
    };
    let copied = copy_page(mm, page, frame, pte);
    frame.put();
    // Without memory it stays merged.
    copied.is_ok()
}

/// do_swap_page()
fn swap_page(mm: &mm_struct, page: usize, entry: u64, exclusive: bool) -> Result<(), GivenUp> {
    let Some(folio) = swap::get_folio(entry) else {
        std::thread::yield_now();
        return Ok(());
    };
    pause();
    folio.lock();
    pause();
    let result = swap_folio(mm, page, entry, exclusive, folio);
    folio.unlock();
    folio.put();
    result
}

fn swap_folio(
    mm: &mm_struct,
    page: usize,
    entry: u64,
    exclusive: bool,
    folio: &'static Frame,
) -> Result<(), GivenUp> {
    if folio.swap.load(SeqCst) != entry {
        return Ok(());
    }
    // SAFETY: The folio is locked, the mmap lock held.
    let answer = unsafe { decide(folio.as_ptr(), mm.vma.as_ptr(), address(page)) };
    linger();
    let copy = match answer {
        Answer::Folio => None,
        Answer::Copy => Some(Frame::alloc(folio.content.load(SeqCst)).ok_or(GivenUp)?),
        Answer::Poisoned | Answer::Later => unreachable!("nothing is broken, and no guest here"),
    };
    let mut ptes = mm.ptes();
    // What fork did since does not count: a parent's entry is no longer exclusive then.
    let now = ptes[page];
    let Pte::Swap {
        entry: there,
        exclusive: exclusive_now,
    } = now
    else {
        drop(ptes);
        if let Some(copy) = copy {
            copy.put();
        }
        return Ok(());
    };
    if there != entry || exclusive_now != exclusive {
        drop(ptes);
        if let Some(copy) = copy {
            copy.put();
        }
        return Ok(());
    }
    let (frame, exclusive) = match copy {
        Some(copy) => {
            copy.mapping.store(mm.vma.anon_mapping(), SeqCst);
            (copy, true)
        }
        None => {
            folio.get();
            if !folio.is_anon() {
                folio.mapping.store(mm.vma.anon_mapping(), SeqCst);
            }
            if folio.is_ksm() {
                assert!(!exclusive, "a merged page is exclusive");
                assert!(mm.vma.is_mergeable(), "a merged page for who wants none");
                check_swapped_in(folio);
            }
            (folio, exclusive)
        }
    };
    frame.mapcount.fetch_add(1, SeqCst);
    ptes[page] = Pte::Page {
        pfn: frame.pfn(),
        write: false,
        dirty: false,
        exclusive,
    };
    swap::put(entry);
    drop(ptes);
    // should_try_to_free_swap(): when nobody else is waiting for it.
    if swap::count(entry) == 0 {
        swap::try_free(folio);
    }
    Ok(())
}

/// MADV_DONTNEED for a page.
pub(crate) fn discard(mm: &mm_struct, page: usize) {
    mm.mmap.read();
    {
        let _invalidation = mm.invalidate_start(address(page), address(page) + 4096);
        zap_pte(mm, page);
    }
    mm.mmap.unlock();
}

pub(crate) fn zap_pte(mm: &mm_struct, page: usize) {
    let mut ptes = mm.ptes();
    let pte = std::mem::replace(&mut ptes[page], Pte::None);
    lock(&mm.expected)[page] = None;
    match pte {
        Pte::None => {}
        Pte::Page { pfn, .. } => {
            let frame = Frame::of_pfn(pfn);
            frame.mapcount.fetch_sub(1, SeqCst);
            drop(ptes);
            // Through the mmu_gather, after the page table's lock.
            pause();
            frame.put();
        }
        Pte::Swap { entry, .. } => swap::put(entry),
        Pte::Migration { .. } => {}
    }
}

/// fork()
pub(crate) fn fork(parent: &mm_struct) -> &'static mm_struct {
    parent.mmap.write();
    FORKING.write();
    let child = mm_struct::new(Some(parent));
    // SAFETY: Both exist.
    if unsafe { swapksm_mm_is_mergeable(parent.as_ptr()) } && entry::enter(child.as_ptr()).is_err()
    {
        unreachable!("there is memory for spaces");
    }
    {
        let mut from = parent.ptes();
        let mut to = child.ptes();
        *lock(&child.expected) = *lock(&parent.expected);
        for (pte, copy) in from.iter_mut().zip(to.iter_mut()) {
            *pte = shared(*pte);
            *copy = *pte;
        }
    }
    FORKING.unlock();
    parent.mmap.unlock();
    child
}

/// What parent and child have of an entry.
fn shared(pte: Pte) -> Pte {
    match pte {
        Pte::None => Pte::None,
        Pte::Page { pfn, dirty, .. } => {
            let frame = Frame::of_pfn(pfn);
            frame.get();
            frame.mapcount.fetch_add(1, SeqCst);
            Pte::Page {
                pfn,
                write: false,
                dirty,
                exclusive: false,
            }
        }
        Pte::Swap { entry, .. } => {
            swap::dup(entry);
            Pte::Swap {
                entry,
                exclusive: false,
            }
        }
        Pte::Migration { pfn, .. } => Pte::Migration {
            pfn,
            exclusive: false,
        },
    }
}

/// madvise(): MADV_MERGEABLE or MADV_UNMERGEABLE.
pub(crate) fn advise(mm: &mm_struct, mergeable: bool) {
    mm.mmap.write();
    let bit = 1 << 31;
    let mut flags = if mm.vma.is_mergeable() { bit } else { 0 };
    let advice = if mergeable { 12 } else { 13 };
    // SAFETY: The mmap lock is held.
    let done =
        unsafe { entry::madvise(mm.vma.as_ptr(), address(0), usize::MAX, advice, &mut flags) };
    if done.is_ok() {
        mm.vma.set_mergeable(flags & bit != 0);
    }
    mm.mmap.unlock();
}

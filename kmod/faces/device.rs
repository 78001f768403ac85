// SPDX-License-Identifier: GPL-2.0

//! The requests to /dev/ksm and to the areas it hands out.
//!
//! An area belongs to the address space that created it. It keeps that address space's structure alive, never its
//! memory, and remembers what was registered, so that it can unmerge just that. Both doors lead into one engine: to
//! register is to `madvise(MADV_MERGEABLE)`, to remove is to `madvise(MADV_UNMERGEABLE)`.
//!
//! Lock order: `Area::regions`, then the mmap lock.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel::{
    current,
    mm::{Mm, MmWithUser},
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, Mutex},
    uaccess::{UserPtr, UserSlice},
};

use super::{
    ioctl::{
        AreaRequest, DeviceRequest, KthreadInfo, MemoryRegion, API_VERSION, KTHREAD_INFO_SIZE,
        MEMORY_REGION_SIZE,
    },
    regions::{self, Region, MAX_REGIONS},
};
use crate::{
    config::{CONFIG, RUN_MERGE, RUN_STOP},
    engine,
    sys::{
        device as sys,
        madvise::{advise, all_mapped, any_mergeable, has_process, Advice},
        thread,
    },
};

/// Is the engine there for requests? Files can outlive it: they may be open when the module hands back.
static SERVING: AtomicBool = AtomicBool::new(false);

/// Creates /dev/ksm. May sleep.
pub(crate) fn create() -> Result {
    SERVING.store(true, Ordering::Release);
    sys::register().inspect_err(|_| SERVING.store(false, Ordering::Release))
}

/// Removes /dev/ksm if it could be made. Files still open answer every request with `ENODEV` from here on, and unmerge
/// when they are closed, as before. May sleep.
pub(crate) fn remove() {
    if SERVING.swap(false, Ordering::AcqRel) {
        sys::deregister();
    }
}

fn serving() -> Result {
    if SERVING.load(Ordering::Acquire) {
        Ok(())
    } else {
        Err(ENODEV)
    }
}

/// A request to /dev/ksm. `ENOTTY` if there is none of that number, `ENODEV` when the module is handing back. May sleep.
pub(crate) fn request(cmd: u32, arg: usize) -> Result<i32> {
    let request = DeviceRequest::decode(cmd).ok_or(ENOTTY)?;
    serving()?;
    match request {
        DeviceRequest::ApiVersion => Ok(API_VERSION as i32),
        DeviceRequest::CreateArea => sys::open_area(Area::new()?),
        DeviceRequest::StartStop => start_stop(arg).map(|()| 0),
        DeviceRequest::Info => info(arg).map(|()| 0),
    }
}

/// A request to an area. `ENOTTY` if there is none of that number, `ENODEV` when the module is handing back, `EPERM`
/// from another address space than the one that created the area. May sleep.
pub(crate) fn area_request(area: &Area, cmd: u32, arg: usize) -> Result {
    let request = AreaRequest::decode(cmd).ok_or(ENOTTY)?;
    serving()?;
    let task = current!();
    let mm = task.mm().ok_or(EPERM)?;
    if mm.as_raw() != area.owner.as_raw() {
        return Err(EPERM);
    }
    match request {
        AreaRequest::Register => register(area, mm, arg),
        AreaRequest::Remove => area.remove(mm),
    }
}

/// The last file descriptor of `area` is closed: what it has registered is unmerged, unless its process is gone or goes
/// meanwhile. May sleep.
///
/// To unmerge is to copy. Done for a process that is ending it would take memory for what is about to be freed, charged to
/// no cgroup of anybody, and make its killing wait. So each region, and each page, is for a process that lives:
///
/// - The process exits and its descriptor is the last: `exit_mm()` comes before `exit_files()`, and has made nobody the
///   owner of the memory, whoever else still holds it (a reader of /proc, swapoff, the scanner). Nothing is done.
/// - It is killed while it closes the descriptor itself, or while another process does: it cannot leave its memory as long
///   as the worker has the mmap lock. The worker sees that it is being ended, and stops at the next page.
/// - It exits, and another process shares its memory (`CLONE_VM`) but not its descriptors: that one is the owner by then, or
///   is found by looking at all processes. It is unmerged for.
/// - The closer is another process and is killed: it goes on. The memory is not its own, and nobody else would end what it
///   has begun; its own memory is free for the OOM killer to take.
pub(crate) fn close_area(area: &Area) {
    if let Some(mm) = area.owner.mmget_not_zero() {
        // All of it by one worker: where others keep the CPUs, each turn to one and back waits for them.
        thread::in_worker(&|| area.remove_for_good(&mm));
        // The last reference would tear the whole address space down here.
        drop(MmWithUser::into_mmput_async(mm));
    }
}

/// `KSM_START_STOP_KTHREAD`: `EPERM` without `CAP_SYS_ADMIN`, `EFAULT`, `EINVAL` for unknown bits and for another
/// `pages_to_scan` while the advisor sets it; then nothing is changed.
fn start_stop(arg: usize) -> Result {
    if !sys::may_control() {
        return Err(EPERM);
    }
    let info = KthreadInfo::from_bytes(&read::<KTHREAD_INFO_SIZE>(arg)?).map_err(|_| EINVAL)?;
    if !info.run {
        // The original's own tool leaves the other fields uninitialised when it stops the scanner.
        return engine::set_run(RUN_STOP);
    }
    if !CONFIG.accepts_pages_to_scan(info.pages_to_scan) {
        return Err(EINVAL);
    }
    engine::set_run(RUN_MERGE)?;
    // Refused only if the advisor came on in between, and then its number is the right one.
    let _ = CONFIG.set_pages_to_scan(info.pages_to_scan);
    CONFIG
        .sleep_us
        .store(u64::from(info.sleep_us), Ordering::Relaxed);
    engine::settings_changed();
    Ok(())
}

/// `KSM_GET_INFO_KTHREAD`: `EFAULT`. A sleep longer than the field can tell is told as its largest value.
fn info(arg: usize) -> Result {
    let sleep_us = CONFIG.sleep_us.load(Ordering::Relaxed);
    let info = KthreadInfo {
        sleep_us: u32::try_from(sleep_us).unwrap_or(u32::MAX),
        pages_to_scan: CONFIG.pages_to_scan.load(Ordering::Relaxed),
        run: CONFIG.run.load(Ordering::Relaxed) == RUN_MERGE,
    };
    UserSlice::new(UserPtr::from_addr(arg), KTHREAD_INFO_SIZE)
        .writer()
        .write_slice(&info.to_bytes())
}

/// `KSM_REGISTER_MEMORY_REGION`: `EFAULT`, `EINVAL` for reserved bits, 0 pages, an unaligned address or a range beyond
/// the last address; otherwise see [`Area::add`].
fn register(area: &Area, mm: &MmWithUser, arg: usize) -> Result {
    let memory = MemoryRegion::from_bytes(&read::<MEMORY_REGION_SIZE>(arg)?).map_err(|_| EINVAL)?;
    let region = Region::new(memory.addr, memory.npages, PAGE_SIZE as u64).map_err(|_| EINVAL)?;
    area.add(mm, region)
}

/// The structure at `arg` in the caller's memory, or `EFAULT`.
fn read<const N: usize>(arg: usize) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    UserSlice::new(UserPtr::from_addr(arg), N)
        .reader()
        .read_slice(&mut bytes)?;
    Ok(bytes)
}

/// A file descriptor's registered memory. Charged to the memory cgroup of whoever creates it and registers.
#[pin_data]
pub(crate) struct Area {
    /// The address space that created it.
    owner: ARef<Mm>,
    /// What was registered, in the order `regions` keeps.
    #[pin]
    regions: Mutex<KVVec<Region>>,
}

impl Area {
    /// An empty area of the calling process: `ENOMEM`, and `EPERM` for a caller without memory of its own.
    fn new() -> Result<Pin<KBox<Self>>> {
        let owner: ARef<Mm> = {
            let task = current!();
            let mm: &Mm = task.mm().ok_or(EPERM)?;
            mm.into()
        };
        KBox::pin_init(
            pin_init!(Self {
                owner,
                regions <- new_mutex!(KVVec::new(), "Area::regions"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Remembers `region` and marks it mergeable: `ENOMEM` if a part of it is not mapped or it cannot be remembered,
    /// `EBUSY` if that would be a range too many, `EAGAIN` if there is no memory to mark it, `EINTR`.
    ///
    /// Nothing is marked that is not remembered. After `EINTR` or a lack of memory while marking, the region may be
    /// marked in part; it counts as registered, so that it is unmerged with the others.
    fn add(&self, mm: &MmWithUser, region: Region) -> Result {
        let range = region.start()..region.end();
        if !all_mapped(mm, &range)? {
            return Err(ENOMEM);
        }
        let mut regions = self.regions.lock();
        insert(&mut regions, region)?;
        advise(mm, &range, Advice::Mergeable)
    }

    /// Unmerges and forgets what was registered: `EAGAIN` if memory is short, `EINTR`; then the rest stays registered.
    /// What is no longer mapped is forgotten.
    fn remove(&self, mm: &MmWithUser) -> Result {
        let mut regions = self.regions.lock();
        while let Some(region) = regions.last() {
            unmerge(mm, region)?;
            regions.pop();
        }
        *regions = KVVec::new();
        Ok(())
    }

    /// Unmerges what was registered, whatever happens to the caller, as long as there is a process to do it for.
    fn remove_for_good(&self, mm: &MmWithUser) {
        for region in self.regions.lock().iter() {
            if !has_process(mm) {
                return;
            }
            let range = region.start()..region.end();
            // An error is a gap, which is nothing to unmerge, or a lack of memory: then pages stay merged and
            // mergeable, as after a madvise() that failed.
            let _ = advise(mm, &range, Advice::Unmergeable);
            thread::cond_resched();
        }
    }
}

/// Unmerges what is mapped of `region`.
fn unmerge(mm: &MmWithUser, region: &Region) -> Result {
    let range = region.start()..region.end();
    match advise(mm, &range, Advice::Unmergeable) {
        // A gap, with everything around it unmerged, or a lack of memory, with something left.
        Err(error) if error == ENOMEM && !any_mergeable(mm, &range)? => Ok(()),
        result => result,
    }
}

/// Takes `new` up into the sorted `regions`: `EBUSY` beyond [`MAX_REGIONS`], `ENOMEM`.
fn insert(regions: &mut KVVec<Region>, new: Region) -> Result {
    let change = regions::adding(regions, new);
    if change.replaced == 0 {
        if regions.len() >= MAX_REGIONS {
            return Err(EBUSY);
        }
        regions.reserve(1, GFP_KERNEL_ACCOUNT)?;
        return regions
            .insert_within_capacity(change.at, change.region)
            .map_err(|_| EINVAL);
    }
    let len = regions.len();
    regions[change.at] = change.region;
    regions.copy_within(change.at + change.replaced.., change.at + 1);
    regions.truncate(len + 1 - change.replaced);
    Ok(())
}

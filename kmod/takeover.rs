// SPDX-License-Identifier: GPL-2.0

//! What happens around the switch from mm/ksm.c to this module and back.
//!
//! While a transition runs, some tasks are in mm/ksm.c and others here, on the same folios and mms. Two rules make that
//! safe:
//!
//! - No folio carries a node of ours before `post_patch` or after `pre_unpatch`: mm/ksm.c would follow it as its own
//!   (`rmap_walk_ksm`, `folio_migrate_ksm`). So the engine is active between the two only.
//! - An mm may be entered by one side and exited by the other. Each side's list keeps the mm struct, and each finds out
//!   by itself that an mm on it is dying; nobody is taken over or handed back while that can happen.
//!
//! | step | engine | /sys/kernel/mm/ksm |
//! |---|---|---|
//! | `pre_patch`: the kernel's directory goes, so that nobody can start it any more; it must be empty, or all is undone | inactive, queues mms | ours |
//! | transition | | |
//! | `post_patch`: mms on the kernel's list come to ours | active | |
//! | (merging) | | |
//! | `pre_unpatch`: every folio loses its node | inactive | |
//! | transition; may be turned round: then `post_patch` follows again | | |
//! | `post_unpatch`: mms go to the kernel's list, one by one, those still alive | empty | the kernel's |
//! | module exit: threads end | | |

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta},
};

use crate::{
    engine::{self, space},
    faces, sys,
};

/// `pre_patch` has succeeded and `post_unpatch` has not come.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// Before the first task switches over. `EBUSY`: the kernel's own merging is not empty. May sleep.
pub(crate) fn pre_patch() -> Result {
    // First nobody can start it any more, then it is looked at. Its stores are waited for here.
    sys::sysfs::remove_in_tree();
    let prepared = sys::intree::check()
        .inspect_err(|error| match *error {
            EAGAIN => pr_err!(
                "not loaded: the kernel's own samepage merging is running; write 2 to /sys/kernel/mm/ksm/run first, or use `ksmctl load`\n"
            ),
            EEXIST => pr_err!(
                "not loaded: pages of the kernel's own samepage merging were left merged by run 2 and are still mapped; use `ksmctl load`, which tries again for a while\n"
            ),
            _ => pr_err!(
                "not loaded: the kernel's own samepage merging still holds merged pages; write 2 to /sys/kernel/mm/ksm/run first, or use `ksmctl load`\n"
            ),
        })
        .map_err(|_| EBUSY)
        .and_then(|()| {
            sys::intree::stop();
            sys::hotplug::register()
        })
        .and_then(|()| faces::sysfs::create().inspect_err(|_| sys::hotplug::unregister()));
    match prepared {
        Ok(()) => PREPARED.store(true, Relaxed),
        Err(_) => restore_in_tree(),
    }
    prepared
}

/// The livepatch could not be enabled: undoes what [`pre_patch`] has done, if it came to that. No task has switched.
pub(crate) fn enabling_failed() {
    if !PREPARED.swap(false, Relaxed) {
        return;
    }
    give_files_back();
}

/// The kernel's directory instead of ours. Who waits there for memory to be offline, of which we will not be told any more,
/// goes on first: files that are being written to cannot be taken away.
fn give_files_back() {
    sys::hotplug::unregister();
    engine::memory_settled();
    faces::sysfs::remove();
    restore_in_tree();
}

/// How often, and how long apart, the kernel's directory is tried to be made anew when there is no memory for it: nobody
/// else would.
const RESTORE_TRIES: u32 = 100;
const RESTORE_PAUSE_MS: i64 = 10;

fn restore_in_tree() {
    let mut result = sys::sysfs::create_in_tree();
    for _ in 1..RESTORE_TRIES {
        if result != Err(ENOMEM) {
            break;
        }
        fsleep(Delta::from_millis(RESTORE_PAUSE_MS));
        result = sys::sysfs::create_in_tree();
    }
    if let Err(error) = result {
        pr_err!(
            "the kernel's own /sys/kernel/mm/ksm could not be restored (error {}); it comes back with the next load and unload\n",
            error.to_errno()
        );
    }
}

/// Every task has switched over, for the first time or again. May sleep.
pub(crate) fn post_patch() {
    sys::intree::take_all(engine::entry::adopt);
    // Those that entered here and exited in mm/ksm.c while tasks were switching.
    space::for_each(&mut engine::hold(), |_, space| {
        if space.has_no_users() {
            space.kill();
        }
    });
    engine::activate();
    if faces::device::create().is_err() {
        pr_warn!("/dev/ksm could not be made; madvise() and sysfs work\n");
    }
    pr_info!("samepage merging taken over\n");
}

/// Before the first task switches back. May sleep.
pub(crate) fn pre_unpatch() {
    faces::device::remove();
    engine::deactivate();
}

/// Every task runs mm/ksm.c again. May sleep.
pub(crate) fn post_unpatch() {
    let mut engine = engine::hold();
    space::for_each(&mut engine, |_, space| {
        if let Some(user) = space::MmUser::get(&space) {
            if !space.is_dead() {
                // SAFETY: Every task runs mm/ksm.c; the mm was on our list and so not on the other.
                if unsafe { sys::intree::give(user.mm()) }.is_err() {
                    engine::entry::stay_unmerged(user.mm());
                }
            }
        }
        space.kill();
    });
    drop(engine);
    // The numbers of each mm are the kernel's to change once it can be started again.
    engine::finish_pending();
    PREPARED.store(false, Relaxed);
    give_files_back();
    pr_info!("samepage merging handed back\n");
}

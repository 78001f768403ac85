// SPDX-License-Identifier: GPL-2.0

//! Somebody else's livepatch (`tests/livepatch`) before and beside swapksm.

use std::fs;
use std::path::Path;

use super::common::{frames_become, merged_crowd, same};
use super::takeover::{begin, insmod, load, remove, unload, works, PATCH};
use crate::case::{skip, Bench, Case, Context, Outcome, Room};
use crate::sharer::{self, Sharer};
use crate::wait;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case::new(
        "takeover/livepatch_replaces",
        "a livepatch that would replace all others is refused while swapksm is loaded",
        replaces,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/livepatch_beside",
        "another livepatch comes and goes beside swapksm",
        beside,
    )
    .room(Room::Takeover),
    Case::new(
        "takeover/livepatch_before",
        "swapksm is loaded and unloaded where there is another livepatch, which goes before it or after it",
        before,
    )
    .room(Room::Takeover)
    .seconds(300),
];

const OTHER_FILE: &str = "other_livepatch.ko";
const OTHER_PATCH: &str = "/sys/kernel/livepatch/other_livepatch";
const PAGES: usize = 128;

/// The other livepatch, in force; taken away in the end.
struct Other {
    there: bool,
}

impl Other {
    /// Enables it as one that replaces all others, or beside them.
    fn enable(replace: bool) -> Outcome<Self> {
        let parameters = if replace { c"replace=1" } else { c"replace=0" };
        check_eq!(
            insmod(OTHER_FILE, parameters),
            None,
            "error of insmod {OTHER_FILE} {parameters:?}"
        );
        let other = Other { there: true };
        wait::until("every task has changed over to the other livepatch", || {
            let state = fs::read_to_string(format!("{OTHER_PATCH}/transition"))
                .context("the other livepatch's transition")?;
            Ok((state.trim() == "0", state))
        })?;
        other.works()?;
        Ok(other)
    }

    fn works(&self) -> Outcome {
        check!(in_force()?, "the other livepatch is not in force");
        Ok(())
    }

    fn disable(mut self) -> Outcome {
        self.take_away()
    }

    fn take_away(&mut self) -> Outcome {
        self.there = false;
        let enabled = format!("{OTHER_PATCH}/enabled");
        fs::write(&enabled, "0").context(&enabled)?;
        wait::until("the other livepatch is gone", || {
            Ok((!Path::new(OTHER_PATCH).exists(), ()))
        })?;
        check!(!in_force()?, "the other livepatch is still in force");
        // Livepatch drops its reference a moment after the directory.
        wait::until("the other livepatch can be removed", || {
            let removed = remove(c"other_livepatch");
            Ok((removed.is_ok(), removed))
        })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if self.there {
            if let Err(error) = self.take_away() {
                crate::runner::log(&format!("the other livepatch stays: {error:?}"));
            }
        }
    }
}

/// Whether the other livepatch's function is what runs.
fn in_force() -> Outcome<bool> {
    Ok(fs::read_to_string("/proc/version")
        .context("/proc/version")?
        .contains("another livepatch"))
}

/// Begins a case: swapksm is not loaded, and both modules are there.
fn begin_with_other() -> Outcome {
    if !Path::new(OTHER_FILE).exists() {
        return skip(format!("{OTHER_FILE} is not in the working directory"));
    }
    begin()
}

fn replaces(bench: &Bench) -> Outcome {
    begin_with_other()?;
    load()?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    check_eq!(
        insmod(OTHER_FILE, c"replace=1"),
        Some(libc::EINVAL),
        "error of insmod {OTHER_FILE} replace=1"
    );
    check!(
        !Path::new(OTHER_PATCH).exists() && !in_force()?,
        "the other livepatch is there nevertheless"
    );
    let enabled = format!("{PATCH}/enabled");
    let enabled = fs::read_to_string(&enabled).context(&enabled)?;
    check_eq!(enabled.trim(), "1", "enabled of swapksm");
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES).context("swapksm goes on")?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)?;
    works(bench, "swapksm afterwards")?;
    unload()?;
    Other::enable(true)
        .context("after unloading")?
        .disable()
        .context("after unloading")
}

fn beside(bench: &Bench) -> Outcome {
    begin_with_other()?;
    load()?;
    let mut sharers = merged_crowd(bench, 2, PAGES)?;
    let other = Other::enable(false)?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES).context("with the other livepatch")?;
    other.disable()?;
    sharers.push(Sharer::start(PAGES, same)?);
    frames_become(&sharers, PAGES).context("without it again")?;
    sharer::verify(&mut sharers)?;
    sharer::finish(sharers)?;
    unload()
}

fn before(bench: &Bench) -> Outcome {
    begin_with_other()?;
    for replace in [false, true] {
        for goes_first in [false, true] {
            let which = format!("replace={replace}, goes first: {goes_first}");
            one_before(bench, replace, goes_first).context(which)?;
        }
    }
    works(bench, "the kernel's KSM at the end")
}

fn one_before(bench: &Bench, replace: bool, goes_first: bool) -> Outcome {
    let other = Other::enable(replace)?;
    load()?;
    other.works()?;
    works(bench, "swapksm")?;
    if goes_first {
        other.disable()?;
        works(bench, "swapksm without the other livepatch")?;
        return unload();
    }
    unload()?;
    other.works()?;
    other.disable()
}

// SPDX-License-Identifier: GPL-2.0

//! Writing anything to the files of /sys/kernel/mm/ksm, and reading them.

use std::{
    ffi::CString,
    sync::{atomic::Ordering::Relaxed, Mutex, PoisonError},
};

use kernel::prelude::*;

use crate::{
    config::{Config, ADVISOR_SCAN_TIME, CONFIG, RUN_UNMERGE},
    engine::{INTERRUPTED, SHARING},
    faces::sysfs::{show, store},
};

/// The settings are the module's own, of which there is one.
static ALONE: Mutex<()> = Mutex::new(());

/// Writes: a byte for the file, one for the length of the text and what else is the case, and the text.
pub fn sysfs(data: &[u8]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    reset();
    let mut rest = data;
    while let [file, how, tail @ ..] = rest {
        SHARING.store(how & 0x80 != 0, Relaxed);
        INTERRUPTED.store(how & 0x40 != 0, Relaxed);
        let (text, tail) = tail.split_at(usize::from(how & 0x3F).min(tail.len()));
        rest = tail;
        // The kernel hands over a string that ends with the first zero.
        let end = text.iter().position(|byte| *byte == 0);
        let text = CString::new(&text[..end.unwrap_or(text.len())]).expect("no zero in it");
        write(usize::from(*file) % (files() + 1), &text);
    }
}

fn write(file: usize, text: &CStr) {
    let before = all();
    let result = store(file, text);
    let after = all();
    match result {
        Err(error) => {
            assert_eq!(
                before, after,
                "{text:?} was refused with {error:?} by {file}"
            );
            let known = [EINVAL, ERANGE, EACCES, EBUSY, EINTR, ENOENT];
            assert!(known.contains(&error), "{error:?} is not documented");
        }
        Ok(()) => write_back(file),
    }
    ranges();
    // Reading into too little room.
    match show(file, &mut [0; 3]) {
        Ok(len) => assert!(len <= 3, "file {file} has told more than there is room for"),
        Err(error) => assert!(error == EINTR || error == ENOENT, "file {file}: {error:?}"),
    }
}

/// What is read can be written again and changes nothing: so are settings saved and restored. The advisor's modes are told
/// all, with the chosen one in brackets, as on the stock kernel; and it keeps others from setting `pages_to_scan`.
fn write_back(file: usize) {
    let shown = text_of(file).expect("it was there to be written");
    if shown.contains('[') {
        return;
    }
    INTERRUPTED.store(false, Relaxed);
    let before = all();
    let text = CString::new(shown.clone()).expect("no zero in it");
    match store(file, &text) {
        Ok(()) => assert_eq!(before, all(), "file {file}, written {shown:?}"),
        Err(error) => {
            let advisor_decides = CONFIG.advisor_mode.load(Relaxed) == ADVISOR_SCAN_TIME;
            let is_shared = SHARING.load(Relaxed);
            assert!(
                advisor_decides || is_shared,
                "file {file}: what it tells, {shown:?}, it refuses with {error:?}"
            );
        }
    }
}

/// What the rest of the module relies on.
fn ranges() {
    assert!(CONFIG.run.load(Relaxed) <= RUN_UNMERGE);
    assert!(CONFIG.max_page_sharing.load(Relaxed) >= 2);
    assert!(CONFIG.max_page_sharing.load(Relaxed) <= i32::MAX as u32);
    assert!(CONFIG.merge_across_nodes.load(Relaxed) <= 1);
    assert!(CONFIG.advisor_mode.load(Relaxed) <= ADVISOR_SCAN_TIME);
    assert!(CONFIG.advisor_target_scan_time.load(Relaxed) >= 1);
}

fn text_of(file: usize) -> Option<String> {
    let mut page = [0; 4095];
    let len = show(file, &mut page).ok()?;
    let text = String::from_utf8(page[..len].to_vec()).expect("text");
    assert!(text.ends_with('\n'), "a line: {text:?}");
    Some(text)
}

/// What all files tell. `sync` may be interrupted.
fn all() -> Vec<Option<String>> {
    (0..files()).map(text_of).collect()
}

/// How many files there are.
fn files() -> usize {
    static COUNT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let is_there = |file: &usize| show(*file, &mut [0; 64]) != Err(ENOENT);
    *COUNT.get_or_init(|| (0..).take_while(is_there).count())
}

/// As when the module is loaded, whatever the input before has left.
fn reset() {
    let fresh = Config::new();
    macro_rules! copy {
        ($($name:ident,)+) => {
            $(CONFIG.$name.store(fresh.$name.load(Relaxed), Relaxed);)+
        };
    }
    copy! {
        run,
        pages_to_scan,
        sleep_us,
        merge_across_nodes,
        max_page_sharing,
        use_zero_pages,
        smart_scan,
        prune_millisecs,
        max_kernel_pages,
        advisor_mode,
        advisor_epoch,
        advisor_max_cpu,
        advisor_min_pages_to_scan,
        advisor_max_pages_to_scan,
        advisor_target_scan_time,
    }
}

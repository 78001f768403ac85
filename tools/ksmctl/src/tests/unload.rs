// SPDX-License-Identifier: GPL-2.0

//! `ksmctl unload`

use super::fake::Fake;
use super::golden::check;
use crate::files;

const UNLOAD: &str = "ksmctl unload";

fn merging(name: &str) -> Fake {
    Fake::swapksm(name)
        .set("run", "1")
        .set("pages_to_scan", "555")
        .set("pages_shared", "4096")
}

#[test]
fn gives_back_with_its_settings() {
    let fake = merging("unload");
    check("unload", &fake, UNLOAD);
    let now = |file: &str| fake.value(&format!("{}/{file}", files::KSM));
    assert_eq!(
        [now("run"), now("pages_to_scan")].map(Option::unwrap),
        ["1", "555"],
        "settings that were carried back"
    );
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
}

#[test]
fn needs_what_it_needs() {
    check("unload-not-loaded", &Fake::kernel("unload_none"), UNLOAD);
    let user = merging("unload_user").not_root();
    check("unload-not-root", &user, UNLOAD);
    let open = merging("unload_open")
        .opener(88, "ksm-tool")
        .opener(97, "monitor");
    check("unload-held-open", &open, UNLOAD);
}

#[test]
fn finishes_what_was_begun() {
    let fake = Fake::kernel("unload_left").module_left();
    check("unload-handed-back", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
}

#[test]
fn goes_on_without_memory_to_unmerge() {
    let fake = merging("unload_memory")
        .write_fails("run", libc::ENOMEM)
        .says_when_it_goes("swapksm: 37 merged pages could not be unmerged; they stay shared until their users write to them or exit");
    check("unload-no-memory", &fake, UNLOAD);
}

#[test]
fn stays_when_it_takes_too_long() {
    let fake = merging("unload_stuck")
        .process(55, "sleeper", "")
        .stuck_on_the_way_out();
    check("unload-too-long", &fake, "ksmctl unload --timeout 7");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "swapksm merges on");
    assert!(fake.value(files::REFCNT).is_some(), "the module is there");
}

#[test]
fn stays_when_it_is_interrupted() {
    let fake = merging("unload_interrupted")
        .stuck_on_the_way_out()
        .interrupted_after(2);
    check("unload-interrupted", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_some(), "the module is there");
}

#[test]
fn goes_on_when_it_is_too_late_to_stay() {
    let fake = merging("unload_too_late")
        .interrupted_after(2)
        .too_late_to_stay();
    check("unload-too-late", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel merges");
}

#[test]
fn goes_on_when_the_patch_is_just_going() {
    let fake = merging("unload_going")
        .interrupted_after(2)
        .too_late_and_by_bits();
    check("unload-too-late", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
}

#[test]
fn is_interrupted_while_unmerging() {
    let fake = merging("unload_unmerging").write_fails("run", libc::EINTR);
    check("unload-interrupted-unmerging", &fake, UNLOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "swapksm merges on");
}

#[test]
fn tells_of_a_setting_that_is_refused() {
    let fake = merging("unload_setting")
        .set("max_page_sharing", "512")
        .write_fails("max_page_sharing", libc::EBUSY);
    check("unload-setting-refused", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
}

#[test]
fn waits_for_another_livepatch() {
    let fake = merging("unload_busy").write_fails("enabled", libc::EBUSY);
    check("unload-after-another", &fake, UNLOAD);
    let mut fake = merging("unload_busy_for_ever");
    for _ in 0..250 {
        fake = fake.write_fails("enabled", libc::EBUSY);
    }
    check("unload-never-its-turn", &fake, "ksmctl unload --timeout 11");
}

#[test]
fn is_interrupted_while_another_livepatch_changes_over() {
    let mut fake = merging("unload_busy_interrupted").interrupted_after(3);
    for _ in 0..250 {
        fake = fake.write_fails("enabled", libc::EBUSY);
    }
    check("unload-interrupted-before", &fake, UNLOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "swapksm merges on");
}

#[test]
fn tells_of_all_that_went_wrong() {
    let fake = merging("unload_pinned")
        .set("max_page_sharing", "512")
        .write_fails("max_page_sharing", libc::EBUSY)
        .pinned();
    check("unload-two-failures", &fake, UNLOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel merges");
}

#[test]
fn lets_another_one_end() {
    let fake = merging("unload_locked")
        .process(4711, "ksmctl", "")
        .locked_by("4711 load");
    check("unload-locked", &fake, UNLOAD);
    assert!(fake.value(files::REFCNT).is_some(), "the module is there");
}

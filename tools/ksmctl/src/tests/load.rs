// SPDX-License-Identifier: GPL-2.0

//! `ksmctl load`

use super::fake::Fake;
use super::golden::check;
use crate::files;

const LOAD: &str = "ksmctl load";
/// The module's line when it finds pages that run 2 has left.
const LEFT: &str = "swapksm: not loaded: 3 pages were left merged by run 2; see the guide";

#[test]
fn takes_over_with_its_settings() {
    let fake = Fake::kernel("load")
        .set("pages_to_scan", "777")
        .set("sleep_millisecs", "33");
    check("load", &fake, LOAD);
    let now = |file: &str| fake.value(&format!("{}/{file}", files::KSM));
    assert_eq!(
        [now("run"), now("pages_to_scan"), now("sleep_millisecs")].map(Option::unwrap),
        ["1", "777", "33"],
        "settings that were carried over"
    );
}

#[test]
fn leaves_the_scanner_stopped() {
    let fake = Fake::kernel("load_stopped");
    check("load-stopped", &fake, "ksmctl load --stopped");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("0"));
}

#[test]
fn replaces_a_module_that_was_left() {
    let fake = Fake::kernel("load_over_left").module_left();
    check("load-over-left", &fake, LOAD);
}

#[test]
fn needs_what_it_needs() {
    let already = Fake::swapksm("load_already");
    check("load-already", &already, LOAD);
    let user = Fake::kernel("load_user").not_root();
    check("load-not-root", &user, LOAD);
    let kernel = Fake::kernel("load_no_livepatch").without(files::LIVEPATCH);
    check("load-no-livepatch", &kernel, LOAD);
    let kernel = Fake::kernel("load_no_ksm").without(files::KSM);
    check("load-no-ksm", &kernel, LOAD);
    let kernel = Fake::kernel("load_no_module").without("/lib/modules");
    check("load-no-module", &kernel, LOAD);
    check("load-no-file", &kernel, "ksmctl load nowhere/swapksm.ko");
}

/// Not installed: what lies about is loaded only if root alone can have put it there.
#[test]
fn takes_no_file_of_others_unasked() {
    let bare = |name: &str| Fake::kernel(name).without("/lib/modules");
    let own = bare("load_here").module_here(0o644, 0o755);
    check("load-here", &own, LOAD);
    assert_eq!(own.inserted(), "/root/checkout/swapksm.ko");
    let foreign = [
        bare("load_here_user")
            .module_here(0o644, 0o755)
            .user_here(1000),
        bare("load_here_stick")
            .module_here(0o644, 0o755)
            .nosuid_here(),
        bare("load_here_group").module_here(0o664, 0o755),
        bare("load_here_tmp").module_here(0o644, 0o1777),
        bare("load_here_link")
            .file_of_somebody("/home/eve/eve.ko")
            .link_here("/home/eve/eve.ko"),
    ];
    for fake in foreign {
        check("load-not-roots", &fake, LOAD);
        assert_eq!(fake.inserted(), "", "nothing is loaded");
    }
}

#[test]
fn takes_the_installed_file_first() {
    let fake = Fake::kernel("load_installed").module_here(0o644, 0o755);
    check("load", &fake, LOAD);
    assert_eq!(
        fake.inserted(),
        "/lib/modules/7.3.4-fake/updates/swapksm.ko"
    );
}

#[test]
fn lets_another_one_end() {
    let other = Fake::kernel("load_locked_out")
        .process(4711, "ksmctl", "")
        .locked_by("4711 load");
    check("load-locked", &other, LOAD);
    let run = other.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "nothing was changed");
    check("load", &other.unlocked(), LOAD);
    let killed = Fake::kernel("load_locked_helper").locked_by("4711 load");
    check("load-locked-by-helper", &killed, LOAD);
    let new = Fake::kernel("load_locked_new").locked_by("");
    check("load-locked-by-nobody", &new, LOAD);
}

#[test]
fn says_why_the_kernel_refuses() {
    let other = Fake::kernel("load_magic").refuses(
        libc::ENOEXEC,
        "swapksm: version magic '7.2.12-fake SMP mod_unload ' should be '7.3.4-fake SMP mod_unload '",
    );
    check("load-other-kernel", &other, LOAD);
    let locked = Fake::kernel("load_locked").refuses(libc::EKEYREJECTED, "");
    check("load-unsigned", &locked, LOAD);
    let symbol = Fake::kernel("load_symbol").refuses(
        libc::EINVAL,
        "livepatch: symbol 'proc_pid_ksm_stat' not found in symbol table",
    );
    check("load-no-symbol", &symbol, LOAD);
    // The kernel's own goes on as before.
    let run = symbol.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"));
}

#[test]
fn waits_for_pages_that_are_left() {
    let fake = Fake::kernel("load_left")
        .refuses(libc::EBUSY, LEFT)
        .refuses(libc::EBUSY, LEFT);
    check("load-left-twice", &fake, LOAD);
    let mut fake = Fake::kernel("load_left_for_ever");
    for _ in 0..26 {
        fake = fake.refuses(libc::EBUSY, LEFT);
    }
    check("load-left-for-ever", &fake, LOAD);
}

#[test]
fn gives_up_against_a_restless_scanner() {
    let line = "swapksm: not loaded: the kernel's own samepage merging is running; write 2 to run";
    let mut fake = Fake::kernel("load_restless").restless();
    for _ in 0..3 {
        fake = fake.refuses(libc::EBUSY, line);
    }
    check("load-restless", &fake, LOAD);
}

#[test]
fn cannot_unmerge_for_want_of_memory() {
    let fake = Fake::kernel("load_memory").write_fails("run", libc::ENOMEM);
    check("load-no-memory", &fake, LOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel's scanner goes on");
}

#[test]
fn is_interrupted_while_unmerging() {
    let fake = Fake::kernel("load_unmerging").write_fails("run", libc::EINTR);
    check("load-interrupted-unmerging", &fake, LOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel's scanner goes on");
    assert!(fake.value(files::REFCNT).is_none(), "nothing was loaded");
}

#[test]
fn is_undone_when_it_takes_too_long() {
    let fake = Fake::kernel("load_stuck")
        .process(55, "sleeper", "")
        .stuck_on_the_way_in();
    check("load-too-long", &fake, "ksmctl load --timeout 12");
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel's scanner");
}

#[test]
fn is_undone_when_it_is_interrupted() {
    let fake = Fake::kernel("load_interrupted")
        .process(55, "sleeper", "")
        .stuck_on_the_way_in()
        .interrupted_after(2);
    check("load-interrupted", &fake, LOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
}

#[test]
fn is_undone_when_it_was_to_leave_the_scanner_stopped() {
    let fake = Fake::kernel("load_stopped_interrupted")
        .stuck_on_the_way_in()
        .interrupted_after(2);
    check("load-stopped-interrupted", &fake, "ksmctl load --stopped");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel's scanner goes on");
}

#[test]
fn starts_the_kernels_scanner_though_the_module_stays() {
    let fake = Fake::kernel("load_pinned")
        .stuck_on_the_way_in()
        .interrupted_after(2)
        .pinned();
    check("load-undone-but-held", &fake, LOAD);
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "the kernel's scanner goes on");
}

/// The kernel has one livepatch change over after the other.
#[test]
fn is_undone_after_another_livepatch() {
    let busy = |name: &str, times| {
        let fake = Fake::kernel(name)
            .stuck_on_the_way_in()
            .interrupted_after(2);
        (0..times).fold(fake, |fake, _| fake.write_fails("enabled", libc::EBUSY))
    };
    let fake = busy("load_busy", 130);
    check("load-undone-after-another", &fake, LOAD);
    assert!(fake.value(files::REFCNT).is_none(), "the module has gone");
    // It has changed over by then.
    let fake = busy("load_busy_for_ever", 200).arrives_meanwhile();
    check("load-undone-never", &fake, "ksmctl load --timeout 7");
    let run = fake.value(&format!("{}/run", files::KSM));
    assert_eq!(run.as_deref(), Some("1"), "swapksm merges");
}

#[test]
fn tells_what_is_left_to_do_when_going_back_takes_too_long() {
    let fake = Fake::kernel("load_stuck_back")
        .set("pages_to_scan", "777")
        .process(55, "sleeper", "")
        .stuck_on_the_way();
    check("load-going-back", &fake, "ksmctl load --timeout 1");
    // `ksmctl unload`, which is the remedy, carries what stands there to the kernel.
    let settings = format!("{}/pages_to_scan", files::KSM);
    assert_eq!(fake.value(&settings).as_deref(), Some("777"));
}

#[test]
fn tells_of_a_setting_that_is_refused() {
    let fake = Fake::kernel("load_setting")
        .set("max_page_sharing", "512")
        .write_fails("max_page_sharing", libc::EBUSY)
        .write_fails("max_page_sharing", libc::EBUSY);
    check("load-setting-refused", &fake, LOAD);
}

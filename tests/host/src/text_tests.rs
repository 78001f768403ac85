// SPDX-License-Identifier: GPL-2.0

use std::fmt::Write as _;

use crate::text::Text;

#[test]
fn text_that_fits_is_left_alone() {
    let mut buf = [0; 8];
    let mut text = Text::new(&mut buf);
    writeln!(text, "{}", 1234567).expect("never fails");
    assert_eq!(text.finish(), 8);
    assert_eq!(&buf, b"1234567\n");
}

#[test]
fn text_that_is_cut_says_so() {
    let mut buf = [0; 8];
    let mut text = Text::new(&mut buf);
    writeln!(text, "{}", 123456789).expect("never fails");
    assert_eq!(text.finish(), 8);
    assert_eq!(&buf, b"1234...\n");
}

#[test]
fn clearing_starts_again() {
    let mut buf = [0; 8];
    let mut text = Text::new(&mut buf);
    write!(text, "{}", 123456789).expect("never fails");
    text.clear();
    writeln!(text, "ok").expect("never fails");
    assert_eq!(text.finish(), 3);
    assert_eq!(&buf[..3], b"ok\n");
}

#[test]
fn no_room_at_all_is_no_error() {
    let mut text = Text::new(&mut []);
    write!(text, "lost").expect("never fails");
    assert_eq!(text.finish(), 0);
}

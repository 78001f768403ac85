// SPDX-License-Identifier: GPL-2.0

//! Running a command on a make-believe machine, and comparing what it says with what it said when it was right.

use std::fs;
use std::path::PathBuf;

use clap::Parser;

use super::fake::Fake;
use crate::Cli;

/// Set to `write` it has the files written anew, for a person to compare with the old ones.
const SWITCH: &str = "KSMCTL_GOLDEN";

/// All that a user sees of a command: what goes to standard error, then standard output, then the exit code. What differs
/// from run to run, the machine's directory, is left out.
fn transcript(fake: &Fake, words: &str) -> String {
    let cli = Cli::try_parse_from(words.split(' ')).expect("a command line that is understood");
    let result = crate::perform(&fake.machine(), &cli.command);
    let mut text = format!("$ {words}\n");
    for line in fake.told() {
        text += &format!("ksmctl: {line}\n");
    }
    match result {
        Ok(out) => text += &format!("{out}exit code 0\n"),
        Err(failure) => text += &format!("{failure}\nexit code 1\n"),
    }
    text.replace(&fake.root().display().to_string(), "")
}

/// Runs a command and compares.
pub fn check(name: &str, fake: &Fake, words: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    let found = transcript(fake, words);
    if std::env::var(SWITCH).is_ok_and(|mode| mode == "write") {
        fs::write(&file, &found).expect("a golden file that can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; {SWITCH}=write makes it of:\n{found}",
            file.display()
        )
    });
    assert!(
        found == expected,
        "{} has\n{expected}\nand the command says\n{found}\nIf this is right, write it there with {SWITCH}=write.",
        file.display()
    );
}

// SPDX-License-Identifier: GPL-2.0

//! What a person reads of this program. The terminal or pipe may have been closed meanwhile: this must not end a command
//! half-way, as `println!` and `eprintln!` would (the lints at the top of main.rs refuse them).

use std::io::{self, Write};

/// Tells of something, or that something went wrong. There is nowhere to say that it could not be told.
pub fn tell(text: &str) {
    // In one piece: another program may write to the same terminal.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Writes what a command answers. Whoever has closed the other end has read enough.
pub fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

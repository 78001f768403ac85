// SPDX-License-Identifier: GPL-2.0

//! Writing text into a buffer of fixed size.
//!
//! Plain `no_std` Rust: the host tests compile this file too.

use core::fmt;

/// Stands at the end of text that was cut.
const CUT: &[u8] = b"...\n";

/// Text that ends where its buffer ends. Writing never fails; what does not fit is left out.
pub(crate) struct Text<'a> {
    buf: &'a mut [u8],
    len: usize,
    cut: bool,
}

impl<'a> Text<'a> {
    /// No text yet.
    pub(crate) fn new(buf: &'a mut [u8]) -> Self {
        Self {
            buf,
            len: 0,
            cut: false,
        }
    }

    /// Starts again.
    #[allow(dead_code, reason = "only the self-check of debug builds does")]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }

    /// The number of bytes written. Text that was cut ends with an ellipsis from here on.
    pub(crate) fn finish(self) -> usize {
        if self.cut {
            if let Some(tail) = self.buf.len().checked_sub(CUT.len()) {
                self.buf[tail..].copy_from_slice(CUT);
            }
        }
        self.len
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.buf.len() - self.len;
        let fits = s.len().min(room);
        self.buf[self.len..self.len + fits].copy_from_slice(&s.as_bytes()[..fits]);
        self.len += fits;
        self.cut |= fits < s.len();
        Ok(())
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Error numbers.

use core::fmt;

/// An error number, as the kernel's functions return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(i32);

/// What functions of the kernel return.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

impl Error {
    /// The number, below 0.
    pub fn to_errno(self) -> i32 {
        self.0
    }
}

impl From<fmt::Error> for Error {
    fn from(_: fmt::Error) -> Self {
        code::EINVAL
    }
}

/// 0 or more is no error.
pub fn to_result(number: i32) -> Result {
    if number < 0 {
        Err(Error(number))
    } else {
        Ok(())
    }
}

/// The numbers, from include/uapi/asm-generic/errno*.h.
pub mod code {
    use super::Error;

    macro_rules! numbers {
        ($($name:ident = $number:literal,)+) => {
            $(pub const $name: Error = Error(-$number);)+
        };
    }

    numbers! {
        EPERM = 1,
        ENOENT = 2,
        ESRCH = 3,
        EINTR = 4,
        EAGAIN = 11,
        ENOMEM = 12,
        EACCES = 13,
        EFAULT = 14,
        EBUSY = 16,
        EEXIST = 17,
        ENODEV = 19,
        EINVAL = 22,
        ENOTTY = 25,
        ERANGE = 34,
    }
}

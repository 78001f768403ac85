// SPDX-License-Identifier: GPL-2.0

//! Reading numbers and truth values as lib/kstrtox.c does.

use core::ffi::CStr;

use crate::error::{
    code::{EINVAL, ERANGE},
    Result,
};

/// The first letter decides, with "on" and "off" the second: whatever follows is ignored.
pub fn kstrtobool(text: &CStr) -> Result<bool> {
    let first = text.to_bytes().first().map(u8::to_ascii_lowercase);
    let second = text.to_bytes().get(1).map(u8::to_ascii_lowercase);
    match (first, second) {
        (Some(b'e' | b'y' | b't' | b'1'), _) | (Some(b'o'), Some(b'n')) => Ok(true),
        (Some(b'd' | b'n' | b'f' | b'0'), _) | (Some(b'o'), Some(b'f')) => Ok(false),
        _ => Err(EINVAL),
    }
}

/// A decimal number: a plus sign and one line feed at the end are allowed, and nothing else around it.
pub fn kstrtoull(text: &CStr) -> Result<u64> {
    let text = text.to_bytes();
    digits(text.strip_prefix(b"+").unwrap_or(text))
}

/// The same with a sign.
pub fn kstrtoll(text: &CStr) -> Result<i64> {
    match text.to_bytes().strip_prefix(b"-") {
        Some(rest) => 0_i64.checked_sub_unsigned(digits(rest)?).ok_or(ERANGE),
        None => i64::try_from(kstrtoull(text)?).map_err(|_| ERANGE),
    }
}

/// Too many digits are out of range whatever follows them.
fn digits(text: &[u8]) -> Result<u64> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let mut value: u64 = 0;
    for byte in digits {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
            .ok_or(ERANGE)?;
    }
    match rest {
        b"" | b"\n" if !digits.is_empty() => Ok(value),
        _ => Err(EINVAL),
    }
}

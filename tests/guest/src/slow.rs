// SPDX-License-Identifier: GPL-2.0

//! How much slower than a stock kernel the running one is: a kernel that checks every access, lock or object needs longer
//! for all, and every time limit goes by this one factor.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Files that only such kernels have: lockdep, kmemleak (KASAN has none of its own), KCSAN.
const SIGNS: &[&str] = &[
    "/proc/lockdep_stats",
    "/sys/kernel/debug/kmemleak",
    "/sys/kernel/debug/kcsan",
];

/// Times as long as everything may take there.
const SLOW: u32 = 6;

/// The factor of the running kernel.
pub fn factor() -> u32 {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    *FACTOR.get_or_init(|| of(|sign| Path::new(sign).exists()))
}

/// A time limit of a stock kernel's, as long as it is here.
pub fn limit(on_a_stock_kernel: Duration) -> Duration {
    on_a_stock_kernel * factor()
}

fn of(has: impl Fn(&str) -> bool) -> u32 {
    match SIGNS.iter().any(|&sign| has(sign)) {
        true => SLOW,
        false => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_checkers_is_not_slow() {
        assert_eq!(of(|_| false), 1);
    }

    #[test]
    fn any_sign_of_a_checker_makes_limits_longer() {
        for &sign in SIGNS {
            assert_eq!(of(|file| file == sign), SLOW);
        }
    }
}

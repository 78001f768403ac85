// SPDX-License-Identifier: GPL-2.0

//! Mistakes in Rust, for misbehave_main.c: they show that Rust which is compiled as swapksm's is, is checked as its C is.
//!
//! The functions have names of their own in reports, since they are not inlined and not mangled.

use core::{cell::UnsafeCell, hint::black_box};

use kernel::{prelude::*, sync::new_spinlock};

/// Writes the byte after an allocation.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_out_of_bounds() {
    let Ok(mut bytes) = KBox::new([0u8; 13], GFP_KERNEL) else {
        return;
    };
    let first: *mut u8 = black_box(bytes.as_mut_ptr());
    // SAFETY: There is none; that is the purpose.
    unsafe { *first.add(13) = 1 };
}

/// Reads an allocation that was freed.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_use_after_free() {
    let Ok(number) = KBox::new(1u64, GFP_KERNEL) else {
        return;
    };
    let stale: *const u64 = black_box(&*number);
    drop(number);
    // SAFETY: There is none; that is the purpose.
    black_box(unsafe { *stale });
}

/// Allocates, and so may sleep, with a spinlock held.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_sleep_in_atomic() {
    let Ok(lock) = KBox::pin_init(new_spinlock!(0u32, "misbehave"), GFP_KERNEL) else {
        return;
    };
    let _guard = lock.lock();
    let _ = black_box(KBox::new(1u64, GFP_KERNEL));
}

/// Adds to the greatest number.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_overflow() {
    black_box(black_box(u32::MAX) + black_box(1));
}

/// Asserts what is not so.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_assertion() {
    debug_assert!(black_box(false), "on purpose");
}

struct Counter(UnsafeCell<u32>);

// SAFETY: It is not; that is the purpose.
unsafe impl Sync for Counter {}

static COUNTER: Counter = Counter(UnsafeCell::new(0));

/// Counts with a number that another thread counts with, and nothing between them.
#[no_mangle]
#[inline(never)]
extern "C" fn rust_count() {
    for _ in 0..1000 {
        // SAFETY: As above.
        unsafe { *black_box(COUNTER.0.get()) += 1 };
    }
}

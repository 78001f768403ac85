// SPDX-License-Identifier: GPL-2.0

//! Mistakes on purpose, one for each argument; `tests/sanitize/run` wants each of them reported.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::thread;

/// A number that two threads write to without a lock.
struct Shared(UnsafeCell<u64>);

// SAFETY: It is not: that is the mistake.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared(UnsafeCell::new(0));

fn race() {
    let write = || {
        for _ in 0..1000 {
            // SAFETY: None, on purpose.
            unsafe { *SHARED.0.get() += 1 };
        }
    };
    let other = thread::spawn(write);
    write();
    other.join().expect("the other thread ends");
    // SAFETY: It has ended.
    println!("{}", unsafe { *SHARED.0.get() });
}

fn use_after_free() {
    let place = Box::into_raw(Box::new(7_u64));
    // SAFETY: It came from a box.
    drop(unsafe { Box::from_raw(place) });
    // SAFETY: None, on purpose.
    println!("{}", unsafe { black_box(place).read_volatile() });
}

fn out_of_bounds() {
    let numbers = Box::new([1_u64, 2, 3]);
    // SAFETY: None, on purpose.
    println!("{}", unsafe {
        black_box(numbers.as_ptr()).add(3).read_volatile()
    });
}

/// What must not be reported: a lock, channels and threads of std.
fn nothing() {
    let sum = std::sync::Mutex::new(0_u64);
    let (send, receive) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        for number in 0..8 {
            let (send, sum) = (send.clone(), &sum);
            scope.spawn(move || {
                *sum.lock().expect("nobody panics") += number;
                send.send(number).expect("it is received");
            });
        }
    });
    drop(send);
    assert_eq!(
        receive.iter().sum::<u64>(),
        *sum.lock().expect("nobody panics")
    );
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("race") => race(),
        Some("use-after-free") => use_after_free(),
        Some("out-of-bounds") => out_of_bounds(),
        Some("nothing") => nothing(),
        other => panic!("there is no mistake {other:?}"),
    }
}

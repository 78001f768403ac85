// SPDX-License-Identifier: GPL-2.0

//! What the fuzzer has found interesting, and random bytes: tried without the fuzzer.

use std::{fs, path::PathBuf};

/// The same pseudo-random numbers in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn try_all(target: &str, function: fn(&[u8])) {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "seeds", target]
        .iter()
        .collect();
    let mut seeds = Vec::new();
    for file in fs::read_dir(&dir).expect("seeds") {
        seeds.push(fs::read(file.expect("a seed").path()).expect("readable"));
    }
    assert!(!seeds.is_empty(), "no seeds in {}", dir.display());
    let mut numbers = Numbers(0x5A17);
    for seed in &seeds {
        function(seed);
        for _ in 0..200 {
            let mut bytes = seed.clone();
            for _ in 0..=numbers.next() % 4 {
                let at = numbers.next() as usize % bytes.len().max(1);
                match bytes.get_mut(at) {
                    Some(byte) => *byte = numbers.next() as u8,
                    None => bytes.push(numbers.next() as u8),
                }
            }
            function(&bytes);
        }
    }
}

#[test]
fn requests() {
    try_all("ioctl", crate::ioctl);
}

#[test]
fn lists_of_regions() {
    try_all("regions", crate::regions);
}

#[test]
fn files_of_sysfs() {
    try_all("sysfs", crate::sysfs);
}

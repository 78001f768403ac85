// SPDX-License-Identifier: GPL-2.0

//! A swap area of a few slots, so that a slot that is given back is the next to be given out.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::swapping;
use crate::case::{fail, Context, Outcome};
use crate::region::Region;
use crate::sys::{self, PAGE};
use crate::wait;

/// Where the header has the number of the last slot (`union swap_header` in include/linux/swap.h).
const LAST_PAGE: usize = 1028;
const MAGIC: &[u8] = b"SWAPSPACE2";

/// The swap device in use, made small; as it was before when dropped.
pub struct SmallSwap {
    area: Area,
    whole: Vec<u8>,
}

/// A block device to swap on.
pub struct Area {
    path: String,
    name: CString,
    on: bool,
}

impl Area {
    /// The device at `path`, which is in use or not.
    pub fn new(path: &str, on: bool) -> Area {
        let name = CString::new(path).expect("a device name has no zero byte");
        Area {
            path: path.to_owned(),
            name,
            on,
        }
    }

    /// Starts to use it.
    pub fn on(&mut self) -> Outcome {
        // SAFETY: a string that outlives the call.
        sys::check(unsafe { libc::swapon(self.name.as_ptr(), 0) }.into())
            .context(format!("swapon {}", self.path))?;
        self.on = true;
        Ok(())
    }

    /// Stops to use it, which brings in what is out.
    pub fn off(&mut self) -> Outcome {
        self.try_off().context(format!("swapoff {}", self.path))
    }

    /// The same, the error as the kernel gave it.
    pub fn try_off(&mut self) -> std::io::Result<()> {
        // SAFETY: a string that outlives the call.
        sys::check(unsafe { libc::swapoff(self.name.as_ptr()) }.into())?;
        self.on = false;
        Ok(())
    }

    /// Writes the header of an area of `slots` slots.
    pub fn format(&self, slots: usize) -> Outcome {
        let mut header = vec![0; PAGE];
        header[1024..1028].copy_from_slice(&1u32.to_le_bytes());
        header[LAST_PAGE..LAST_PAGE + 4].copy_from_slice(&(slots as u32).to_le_bytes());
        header[PAGE - MAGIC.len()..].copy_from_slice(MAGIC);
        self.write_header(&header)
    }

    fn read_header(&self) -> Outcome<Vec<u8>> {
        let mut header = vec![0; PAGE];
        let file = fs::File::open(&self.path).context(&self.path)?;
        file.read_exact_at(&mut header, 0).context(&self.path)?;
        match header.ends_with(MAGIC) {
            true => Ok(header),
            false => fail(format!("{} has no swap header", self.path)),
        }
    }

    fn write_header(&self, header: &[u8]) -> Outcome {
        let file = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .context(&self.path)?;
        file.write_all_at(header, 0)
            .and_then(|()| file.sync_all())
            .context(format!("writing the swap header of {}", self.path))
    }

    /// How many slots there are, and how many are in use.
    pub fn slots(&self) -> Outcome<(usize, usize)> {
        let swaps = fs::read_to_string("/proc/swaps").context("/proc/swaps")?;
        for line in swaps.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [path, _, size, used, _] = words[..] {
                if path == self.path {
                    let slots = |word: &str| word.parse::<usize>().unwrap_or(0) * 1024 / PAGE;
                    return Ok((slots(size), slots(used)));
                }
            }
        }
        fail(format!("/proc/swaps does not name {}", self.path))
    }
}

impl SmallSwap {
    /// Leaves the swap device in use with `slots` slots.
    pub fn take(slots: usize) -> Outcome<SmallSwap> {
        let mut area = Area::new(&swapping::device()?, true);
        area.off()?;
        let whole = area.read_header()?;
        let mut small = SmallSwap { area, whole };
        small.area.format(slots)?;
        small.area.on()?;
        Ok(small)
    }

    /// The device.
    pub fn area(&mut self) -> &mut Area {
        &mut self.area
    }

    /// Fills all slots that are free with pages of nobody else's content, which the returned region keeps.
    pub fn fill(&self) -> Outcome<Region> {
        let (slots, _) = self.area.slots()?;
        let region = Region::map(slots + 32)?;
        region.fill(|index| 0xF111_0000 + index as u64);
        wait::until("the swap device is full", || {
            region.advise(libc::MADV_PAGEOUT).context("MADV_PAGEOUT")?;
            let (slots, used) = self.area.slots()?;
            Ok((slots == used, format!("{used} of {slots} slots")))
        })?;
        Ok(region)
    }
}

impl Drop for SmallSwap {
    fn drop(&mut self) {
        let restored = (|| {
            if self.area.on {
                self.area.off()?;
            }
            self.area.write_header(&self.whole)?;
            self.area.on()
        })();
        if let Err(stop) = restored {
            eprintln!(
                "guest-tests: {} is not as it was: {stop}; later swap cases may fail",
                self.area.path
            );
        }
    }
}

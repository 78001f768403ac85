// SPDX-License-Identifier: GPL-2.0

//! The packed word of an item: the frame it points to, what the item is, and how often it was looked at in vain.

#![forbid(unsafe_code)]

/// What an item is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Nothing: the slot is free.
    Free,
    /// A page is watched; its content may be changing.
    Volatile,
    /// Its content stood still for a scan: in the unstable tree.
    Unstable,
    /// Shares the page of a node.
    Stable,
}

/// The word.
///
/// # Invariants
///
/// Bits 0..40 are the frame (52-bit physical addresses), 40..49 the item's number in its chunk, 49..51 its state, 51..55
/// its age, 55..59 the scans to skip, 59 whether its hash is that of the content last seen.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Word(u64);

const PFN_BITS: u32 = 40;
const SLOT: Field = Field {
    at: PFN_BITS,
    bits: 9,
};
const STATE: Field = Field { at: 49, bits: 2 };
const AGE: Field = Field { at: 51, bits: 4 };
const SKIPS: Field = Field { at: 55, bits: 4 };
const HASHED: Field = Field { at: 59, bits: 1 };
const PFN: Field = Field {
    at: 0,
    bits: PFN_BITS,
};

/// The age at which [`Word::grow_older`] stops: older makes no difference.
const OLDEST: u64 = 15;

struct Field {
    at: u32,
    bits: u32,
}

impl Field {
    const fn mask(&self) -> u64 {
        ((1 << self.bits) - 1) << self.at
    }
}

impl Word {
    /// A free slot.
    pub(crate) const fn new(slot: u64) -> Self {
        Self(slot << SLOT.at)
    }

    fn get(self, field: &Field) -> u64 {
        (self.0 & field.mask()) >> field.at
    }

    fn set(&mut self, field: &Field, value: u64) {
        self.0 = (self.0 & !field.mask()) | ((value << field.at) & field.mask());
    }

    /// The item's number in its chunk.
    pub(crate) fn slot(self) -> usize {
        self.get(&SLOT) as usize
    }

    /// The frame; meaningful only while the chunk says that the pointer is live.
    pub(crate) fn pfn(self) -> u64 {
        self.get(&PFN)
    }

    pub(crate) fn set_pfn(&mut self, pfn: u64) {
        self.set(&PFN, pfn);
    }

    pub(crate) fn state(self) -> State {
        match self.get(&STATE) {
            0 => State::Free,
            1 => State::Volatile,
            2 => State::Unstable,
            _ => State::Stable,
        }
    }

    /// Changes the state. A slot that becomes free forgets its age, but not its hash: a page that was only moved is
    /// recognised when it is watched again.
    pub(crate) fn set_state(&mut self, state: State) {
        let value = match state {
            State::Free => 0,
            State::Volatile => 1,
            State::Unstable => 2,
            State::Stable => 3,
        };
        self.set(&STATE, value);
        if state == State::Free || state == State::Stable {
            self.set(&AGE, 0);
            self.set(&SKIPS, 0);
        }
    }

    pub(crate) fn is_hashed(self) -> bool {
        self.get(&HASHED) != 0
    }

    pub(crate) fn set_hashed(&mut self, on: bool) {
        self.set(&HASHED, u64::from(on));
    }

    /// Counts one more visit that did not end in a merge and says whether smart scan leaves this one out: from the
    /// fourth visit on 1, then 2, 4 and at last 8 of the following visits are.
    pub(crate) fn grow_older(&mut self) -> bool {
        let age = self.get(&AGE);
        if age < OLDEST {
            self.set(&AGE, age + 1);
        }
        if age < 3 {
            return false;
        }
        let skips = self.get(&SKIPS);
        if skips > 0 {
            self.set(&SKIPS, skips - 1);
            return true;
        }
        let next = match age {
            ..=3 => 1,
            4..=5 => 2,
            6..=8 => 4,
            _ => 8,
        };
        self.set(&SKIPS, next);
        false
    }
}

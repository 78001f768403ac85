// SPDX-License-Identifier: GPL-2.0

use crate::word::{State, Word};

const SLOTS: u64 = 512;
const STATES: [State; 4] = [State::Free, State::Volatile, State::Unstable, State::Stable];
/// The highest frame of a machine with 52-bit physical addresses.
const LAST_PFN: u64 = (1 << 40) - 1;

/// How many of the next visits smart scan leaves out, counted until one is not.
fn left_out(word: &mut Word) -> u32 {
    let mut count = 0;
    while word.grow_older() {
        count += 1;
        assert!(count < 100, "it is never looked at again");
    }
    count
}

#[test]
fn a_new_word_knows_its_slot_and_nothing_else() {
    for slot in 0..SLOTS {
        let word = Word::new(slot);
        assert_eq!(word.slot() as u64, slot);
        assert_eq!(word.state(), State::Free);
        assert_eq!(word.pfn(), 0);
        assert!(!word.is_hashed());
    }
}

#[test]
fn the_widest_values_fit() {
    let mut word = Word::new(SLOTS - 1);
    word.set_pfn(LAST_PFN);
    assert_eq!(word.pfn(), LAST_PFN);
    assert_eq!((word.slot() as u64, word.state()), (SLOTS - 1, State::Free));
    word.set_pfn(0);
    assert_eq!((word.pfn(), word.slot() as u64), (0, SLOTS - 1));
}

/// Visits 5, 7 and 8, 10 to 13, then 8 of 9 for ever: the cadence of the kernel's smart scan.
#[test]
fn smart_scan_leaves_more_and_more_visits_out() {
    let mut word = Word::new(0);
    word.set_state(State::Volatile);
    let looked_at: Vec<u32> = (1..=60).filter(|_| !word.grow_older()).collect();
    assert_eq!(looked_at, [1, 2, 3, 4, 6, 9, 14, 23, 32, 41, 50, 59]);
}

#[test]
fn the_age_goes_with_the_state() {
    for state in STATES {
        let mut word = Word::new(7);
        word.set_state(State::Volatile);
        let old_age = (1..=50).filter(|_| !word.grow_older()).count();
        assert_eq!(old_age, 11, "visits that were not left out");
        word.set_state(state);
        let expected = match state {
            // Begins anew: three visits, and a fourth, before any is left out.
            State::Free | State::Stable => 0,
            State::Volatile | State::Unstable => 8,
        };
        assert_eq!(left_out(&mut word), expected, "{state:?} after old age");
    }
}

#[test]
fn a_freed_slot_keeps_its_hash() {
    let mut word = Word::new(3);
    word.set_state(State::Volatile);
    word.set_hashed(true);
    for state in STATES {
        word.set_state(state);
        assert!(word.is_hashed(), "after {state:?}");
    }
    word.set_hashed(false);
    assert!(!word.is_hashed());
}

/// What a word shall be, field by field.
#[derive(Clone, Copy)]
struct Model {
    slot: u64,
    pfn: u64,
    state: State,
    hashed: bool,
    /// Visits since the age was forgotten.
    visits: u32,
}

impl Model {
    /// The answer to one more visit.
    fn visit(&mut self) -> bool {
        self.visits += 1;
        let last = [1, 2, 3, 4, 6, 9, 14].contains(&self.visits);
        let later = self.visits > 14 && (self.visits - 14) % 9 == 0;
        !last && !later
    }

    fn compare(&self, word: Word) {
        assert_eq!(word.slot() as u64, self.slot);
        assert_eq!(word.pfn(), self.pfn);
        assert_eq!(word.state(), self.state);
        assert_eq!(word.is_hashed(), self.hashed);
    }
}

/// The same pseudo-random numbers in every run (xorshift).
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// No field changes another, in whatever order they are changed.
#[test]
fn fields_are_apart() {
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for slot in 0..SLOTS {
        let mut word = Word::new(slot);
        let mut model = Model {
            slot,
            pfn: 0,
            state: State::Free,
            hashed: false,
            visits: 0,
        };
        for _ in 0..400 {
            match random(&mut seed) % 5 {
                0 => {
                    model.pfn = random(&mut seed) & LAST_PFN;
                    word.set_pfn(model.pfn);
                }
                1 => {
                    model.state = STATES[random(&mut seed) as usize % 4];
                    if matches!(model.state, State::Free | State::Stable) {
                        model.visits = 0;
                    }
                    word.set_state(model.state);
                }
                2 => {
                    model.hashed = random(&mut seed) & 1 != 0;
                    word.set_hashed(model.hashed);
                }
                _ => assert_eq!(
                    word.grow_older(),
                    model.visit(),
                    "visit {} of slot {slot}",
                    model.visits
                ),
            }
            model.compare(word);
        }
    }
}

/// A frame number wider than the field must not spill into its neighbour.
#[test]
fn what_is_too_wide_is_cut() {
    let mut word = Word::new(5);
    word.set_state(State::Unstable);
    word.set_pfn(u64::MAX);
    assert_eq!(word.pfn(), LAST_PFN);
    assert_eq!((word.slot(), word.state()), (5, State::Unstable));
    assert!(!word.is_hashed());
}

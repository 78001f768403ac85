// SPDX-License-Identifier: GPL-2.0

use std::sync::atomic::Ordering::Relaxed;

use crate::config::{AdvisorDecides, Config, ADVISOR_NONE, ADVISOR_SCAN_TIME};

#[test]
fn the_sleep_has_two_views() {
    let config = Config::new();
    assert_eq!(config.sleep_millisecs(), 20);
    for millisecs in [0, 1, 4_294_967, u32::MAX] {
        config.set_sleep_millisecs(millisecs);
        assert_eq!(config.sleep_us.load(Relaxed), u64::from(millisecs) * 1000);
        assert_eq!(config.sleep_millisecs(), u64::from(millisecs));
    }
}

#[test]
fn a_short_sleep_is_not_told_as_none() {
    let config = Config::new();
    for (micros, millisecs) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
        config.sleep_us.store(micros, Relaxed);
        assert_eq!(config.sleep_millisecs(), millisecs, "{micros} µs");
    }
}

#[test]
fn the_advisor_takes_pages_to_scan_over_and_gives_it_back() {
    let config = Config::new();
    assert_eq!(config.set_pages_to_scan(7), Ok(()));
    config.set_advisor_mode(ADVISOR_SCAN_TIME);
    assert_eq!(config.pages_to_scan.load(Relaxed), 500);
    assert_eq!(config.set_pages_to_scan(7), Err(AdvisorDecides));
    assert_eq!(config.pages_to_scan.load(Relaxed), 500);
    assert!(config.accepts_pages_to_scan(500));
    assert!(!config.accepts_pages_to_scan(501));
    config.set_advisor_mode(ADVISOR_NONE);
    assert_eq!(config.pages_to_scan.load(Relaxed), 100);
    assert!(config.accepts_pages_to_scan(501));
}

#[test]
fn only_a_change_of_the_advisor_makes_it_start_again() {
    let config = Config::new();
    config.set_advisor_mode(ADVISOR_NONE);
    assert_eq!(config.advisor_epoch.load(Relaxed), 0);
    config.set_advisor_mode(ADVISOR_SCAN_TIME);
    config.pages_to_scan.store(900, Relaxed);
    config.set_advisor_mode(ADVISOR_SCAN_TIME);
    assert_eq!(config.advisor_epoch.load(Relaxed), 1);
    assert_eq!(config.pages_to_scan.load(Relaxed), 900);
}

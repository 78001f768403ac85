// SPDX-License-Identifier: GPL-2.0

//! A page comes back to a fork that the scanner has not met: whose fork is it?

use std::sync::atomic::Ordering::SeqCst;

use crate::{
    config::RUN_STOP,
    engine,
    machine::{
        fault::{advise, fork, read, write},
        mm::{end_mms, mm_struct},
        rmap::COMPARED,
    },
    processes::{check, load, turn, unload},
    steps::{pfn, swap_out, until},
};

/// Sharers of one node at one address, and depth of forking; few enough for Miri.
const SHARERS: usize = if cfg!(miri) { 8 } else { 150 };
const DEPTH: usize = if cfg!(miri) { 8 } else { 250 };
const AT_ONCE: usize = if cfg!(miri) { 2 } else { 10 };

/// At most so many ancestors are compared for one fault, with the node's lock held (`FORK_STEPS` of `engine/swapin.rs`).
const MOST: usize = 16 * 1024;

/// Whoever forks deep and has many sharers chooses how much there would be to compare.
#[test]
fn the_search_among_sharers_is_bounded() {
    let _turn = turn();
    load(1);
    let mut all: Vec<&mm_struct> = Vec::new();
    while all.len() < SHARERS {
        // Some at a time: there are few frames.
        for _ in 0..AT_ONCE {
            let mm = mm_struct::new(None);
            advise(mm, true);
            assert!(write(mm, 0, 1).is_ok());
            all.push(mm);
        }
        until("merged", || {
            pfn(all[0]).is_some() && all.iter().all(|mm| pfn(mm) == pfn(all[0]))
        });
    }
    assert!(engine::set_run(RUN_STOP).is_ok());
    let mut at_most = 0;
    // The first sharer's line and the last one's: one of them is found late.
    for mut mm in [all[0], all[SHARERS - 1]] {
        for _ in 0..DEPTH {
            mm = fork(mm);
            all.push(mm);
        }
        swap_out(mm);
        let before = COMPARED.load(SeqCst);
        assert!(read(mm, 0).is_ok());
        at_most = at_most.max(COMPARED.load(SeqCst) - before);
    }
    assert!(at_most > DEPTH, "nothing was looked for");
    assert!(at_most <= MOST, "{at_most} ancestors were compared");
    check();

    for mm in all {
        assert!(read(mm, 0).is_ok());
        mm.put_user();
    }
    end_mms();
    unload();
}

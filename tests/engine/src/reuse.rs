// SPDX-License-Identifier: GPL-2.0

//! A swap entry that a merged page has given back, and that comes to a page of one who was a sharer.

use crate::{
    engine,
    machine::{
        fault::{fork, read, write},
        mm::{address, end_mms},
    },
    processes::{check, load, turn, unload},
    steps::{merged_pair, pfn, swap_out},
};

/// The node remembers its entry until it gets another. A page-table entry that names it may be that of somebody else's page:
/// not exclusive, as merged ones are, since its owner has forked.
#[test]
fn an_entry_with_a_new_owner_makes_no_sharer() {
    let _turn = turn();
    load(1);
    let (one, two) = merged_pair();

    let old = swap_out(one);
    assert_eq!(old, swap_out(two));
    assert!(read(one, 0).is_ok() && read(two, 0).is_ok());
    assert_eq!(pfn(one), pfn(two), "one page again, and no entry for it");

    let child = {
        // The reaper puts off what this covers: it looks when all has happened.
        let _invalidation = one.invalidate_start(address(0), address(1));
        assert!(write(one, 0, 2).is_ok());
        let child = fork(one);
        assert_eq!(old, swap_out(one), "the entry is used again");
        child
    };
    assert!(engine::sync().is_ok());
    assert_ne!(old, swap_out(two));
    check();

    for mm in [one, two, child] {
        assert!(read(mm, 0).is_ok());
        mm.put_user();
    }
    end_mms();
    unload();
}

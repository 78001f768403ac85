// SPDX-License-Identifier: GPL-2.0

//! Memory that goes offline with a page in it that cannot be moved.

use crate::{
    engine,
    machine::{
        folio::{swapksm_folio_node, Frame},
        mm::end_mms,
    },
    processes::{check, load, turn, unload},
    steps::{merged_pair, pfn, swap_out},
};

/// A page that breaks while it is in the swap cache stays there, with whoever found it broken as a user, and memory goes
/// offline around it. The node forgets it, and may be freed; so the page must not name the node any more.
#[test]
fn a_page_that_stays_in_memory_that_goes_names_no_node() {
    let _turn = turn();
    load(1);
    let (one, two) = merged_pair();

    let page = Frame::of_pfn(pfn(one).expect("a page in memory"));
    assert!(page.try_get());
    assert_eq!(swap_out(one), swap_out(two));
    // SAFETY: We have a reference.
    let node = || unsafe { swapksm_folio_node(page.as_ptr()) };
    assert!(!node().is_null(), "it is merged, and in the swap cache");

    engine::memory_going_offline();
    engine::memory_offline(page.pfn(), 1);
    engine::memory_settled();
    assert!(node().is_null(), "it names a node that has forgotten it");
    check();

    page.put();
    for mm in [one, two] {
        mm.put_user();
    }
    end_mms();
    unload();
}

// SPDX-License-Identifier: GPL-2.0

//! An ordered tree of objects that carry their own link, equal keys allowed.
//!
//! The kernel crate's `RBTree` owns what it holds, one allocation a node; stable nodes and items exist by themselves and
//! belong to lists, chunks and folios too.

use core::ptr;

use crate::sys::bindings as b;

/// The order of a tree.
pub(crate) trait Keyed {
    /// The key of the object that carries `link`.
    ///
    /// # Safety
    ///
    /// `link` is in the tree of this order, and the engine is held.
    unsafe fn key(link: *mut b::rb_node) -> u64;
}

/// The root of a tree ordered by `K`.
pub(crate) struct Tree<K> {
    root: b::rb_root,
    order: core::marker::PhantomData<K>,
}

// SAFETY: Only reached with the engine held.
unsafe impl<K> Send for Tree<K> {}

impl<K: Keyed> Tree<K> {
    pub(crate) const fn new() -> Self {
        Self {
            root: b::rb_root {
                rb_node: ptr::null_mut(),
            },
            order: core::marker::PhantomData,
        }
    }

    /// Inserts behind all equal keys.
    ///
    /// # Safety
    ///
    /// `link` belongs to an object that is in no tree and stays where it is until erased.
    pub(crate) unsafe fn insert(&mut self, link: *mut b::rb_node, key: u64) {
        let mut parent: *mut b::rb_node = ptr::null_mut();
        let mut place: *mut *mut b::rb_node = &mut self.root.rb_node;
        // SAFETY: Every link in the tree is valid, by this function's contract at their insertion.
        unsafe {
            while !(*place).is_null() {
                parent = *place;
                place = if key < K::key(parent) {
                    &mut (*parent).rb_left
                } else {
                    &mut (*parent).rb_right
                };
            }
            (*link).__rb_parent_color = parent as usize;
            (*link).rb_left = ptr::null_mut();
            (*link).rb_right = ptr::null_mut();
            *place = link;
            b::rb_insert_color(link, &mut self.root);
        }
    }

    /// Takes an object out.
    ///
    /// # Safety
    ///
    /// `link` is in this tree.
    pub(crate) unsafe fn erase(&mut self, link: *mut b::rb_node) {
        // SAFETY: By the contract.
        unsafe { b::rb_erase(link, &mut self.root) };
    }

    /// Puts `new` in the place of `old`, which has the same key.
    ///
    /// # Safety
    ///
    /// `old` is in this tree, `new` in none.
    pub(crate) unsafe fn replace(&mut self, old: *mut b::rb_node, new: *mut b::rb_node) {
        // SAFETY: By the contract.
        unsafe { b::rb_replace_node(old, new, &mut self.root) };
    }

    /// The first object with this key, null if there is none.
    pub(crate) fn first_equal(&self, key: u64) -> *mut b::rb_node {
        let mut at = self.root.rb_node;
        let mut found = ptr::null_mut();
        // SAFETY: Every link in the tree is valid.
        unsafe {
            while !at.is_null() {
                let here = K::key(at);
                if here == key {
                    found = at;
                }
                at = if key <= here {
                    (*at).rb_left
                } else {
                    (*at).rb_right
                };
            }
        }
        found
    }

    /// The object after `link` if it has the same key, else null.
    ///
    /// # Safety
    ///
    /// `link` is in this tree.
    pub(crate) unsafe fn next_equal(&self, link: *mut b::rb_node) -> *mut b::rb_node {
        // SAFETY: By the contract.
        unsafe {
            let next = b::rb_next(link);
            if next.is_null() || K::key(next) != K::key(link) {
                ptr::null_mut()
            } else {
                next
            }
        }
    }

    /// The object with the lowest key, null in an empty tree.
    pub(crate) fn first(&self) -> *mut b::rb_node {
        let mut at = self.root.rb_node;
        if at.is_null() {
            return at;
        }
        // SAFETY: Every link in the tree is valid.
        unsafe {
            while !(*at).rb_left.is_null() {
                at = (*at).rb_left;
            }
        }
        at
    }

    /// The object after `link` in order, null at the end.
    ///
    /// # Safety
    ///
    /// `link` is in this tree.
    pub(crate) unsafe fn next(&self, link: *mut b::rb_node) -> *mut b::rb_node {
        // SAFETY: By the contract.
        unsafe { b::rb_next(link) }
    }
}

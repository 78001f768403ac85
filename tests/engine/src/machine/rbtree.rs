// SPDX-License-Identifier: GPL-2.0

//! The kernel's red-black tree, without the colours: order is all that the engine can tell.

use std::ptr::{null_mut, with_exposed_provenance_mut};

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct rb_node {
    pub(crate) __rb_parent_color: usize,
    pub(crate) rb_right: *mut rb_node,
    pub(crate) rb_left: *mut rb_node,
}

#[repr(C)]
pub(crate) struct rb_root {
    pub(crate) rb_node: *mut rb_node,
}

unsafe fn parent(node: *mut rb_node) -> *mut rb_node {
    // SAFETY: The caller's: it is in a tree.
    with_exposed_provenance_mut(unsafe { (*node).__rb_parent_color })
}

unsafe fn set_parent(node: *mut rb_node, parent: *mut rb_node) {
    if !node.is_null() {
        // SAFETY: The caller's: it is in a tree.
        unsafe { (*node).__rb_parent_color = parent.expose_provenance() };
    }
}

pub(crate) unsafe fn rb_insert_color(node: *mut rb_node, _root: *mut rb_root) {
    // SAFETY: The caller's: it has linked the node. Children will name it.
    unsafe { set_parent(node, parent(node)) };
    let _ = node.expose_provenance();
}

/// Puts `new` where `old` hangs.
unsafe fn replace_child(root: *mut rb_root, old: *mut rb_node, new: *mut rb_node) {
    // SAFETY: The caller's: `old` is in the tree.
    unsafe {
        let above = parent(old);
        if above.is_null() {
            (*root).rb_node = new;
        } else if (*above).rb_left == old {
            (*above).rb_left = new;
        } else {
            (*above).rb_right = new;
        }
        set_parent(new, above);
    }
}

pub(crate) unsafe fn rb_erase(node: *mut rb_node, root: *mut rb_root) {
    // SAFETY: The caller's: the node is in the tree.
    unsafe {
        let (left, right) = ((*node).rb_left, (*node).rb_right);
        if left.is_null() {
            replace_child(root, node, right);
        } else if right.is_null() {
            replace_child(root, node, left);
        } else {
            let mut next = right;
            while !(*next).rb_left.is_null() {
                next = (*next).rb_left;
            }
            if next != right {
                replace_child(root, next, (*next).rb_right);
                (*next).rb_right = right;
                set_parent(right, next);
            }
            replace_child(root, node, next);
            (*next).rb_left = left;
            set_parent(left, next);
        }
    }
}

pub(crate) unsafe fn rb_replace_node(old: *mut rb_node, new: *mut rb_node, root: *mut rb_root) {
    // SAFETY: The caller's: `old` is in the tree, `new` in none.
    unsafe {
        let _ = new.expose_provenance();
        (*new).rb_left = (*old).rb_left;
        (*new).rb_right = (*old).rb_right;
        replace_child(root, old, new);
        set_parent((*new).rb_left, new);
        set_parent((*new).rb_right, new);
    }
}

pub(crate) unsafe fn rb_next(node: *const rb_node) -> *mut rb_node {
    let mut at = node.cast_mut();
    // SAFETY: The caller's: the node is in a tree.
    unsafe {
        if !(*at).rb_right.is_null() {
            at = (*at).rb_right;
            while !(*at).rb_left.is_null() {
                at = (*at).rb_left;
            }
            return at;
        }
        loop {
            let above = parent(at);
            if above.is_null() {
                return null_mut();
            }
            if (*above).rb_left == at {
                return above;
            }
            at = above;
        }
    }
}

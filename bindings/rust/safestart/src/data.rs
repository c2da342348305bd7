// SPDX-License-Identifier: LGPL-2.1-or-later
//! What is attached to nodes and generations. The library's key is the address of a box that holds one `Arc`, so that a reader
//! needs no table; the boxes that were not given back yet are remembered, for the end.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// Dropped with the handle or with the last snapshot, run or thread that may still look at one of the boxes.
pub(crate) struct Boxes<T> {
    alive: Mutex<HashSet<u64>>,
    _of: std::marker::PhantomData<Arc<T>>,
}

impl<T> Boxes<T> {
    pub(crate) fn new() -> Self {
        Boxes { alive: Mutex::default(), _of: std::marker::PhantomData }
    }

    pub(crate) fn keep(&self, object: Arc<T>) -> u64 {
        let key = Box::into_raw(Box::new(object)) as u64;
        self.alive.lock().unwrap().insert(key);
        key
    }

    /// No reader can see it any more.
    pub(crate) fn give_back(&self, key: u64) {
        if self.alive.lock().unwrap().remove(&key) {
            drop(unsafe { Box::from_raw(key as *mut Arc<T>) });
        }
    }
}

impl<T> Drop for Boxes<T> {
    fn drop(&mut self) {
        for key in self.alive.get_mut().unwrap().drain() {
            drop(unsafe { Box::from_raw(key as *mut Arc<T>) });
        }
    }
}

/// # Safety
/// The key is 0 or of a box of this type, and is not given back within `'a`.
pub(crate) unsafe fn behind<'a, T>(key: u64) -> Option<&'a Arc<T>> {
    (key as *const Arc<T>).as_ref()
}

pub(crate) struct Objects<T, G> {
    pub(crate) nodes: Boxes<T>,
    pub(crate) sets: Boxes<G>,
}

impl<T, G> Objects<T, G> {
    pub(crate) fn new() -> Self {
        Objects { nodes: Boxes::new(), sets: Boxes::new() }
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! One run, as `prepare` and `restart` see it.

use crate::data::Objects;
use crate::error::{c_string, c_words, check, errno_of, BoxError, Error};
use crate::events::Shared;
use crate::nodes::{Entry, Node, Nodes};
use libsafestart_sys as sys;
use std::future::Future;
use std::os::raw::c_int;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// One attempt to apply the desired set. Threads may share it.
pub struct Run<T, G = ()> {
    shared: Arc<Shared<T, G>>,
    number: u64,
    raw: Mutex<*mut sys::safestart_run>, // NULL once finished; taken after the gate
    told: Arc<Told>,
}

// The pointer is used under the lock and the gate only.
unsafe impl<T: Send + Sync, G: Send + Sync> Send for Run<T, G> {}
unsafe impl<T: Send + Sync, G: Send + Sync> Sync for Run<T, G> {}

/// How a node of the candidate differs from the live set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Removed,
    /// Its address or a label; the incarnation is a label.
    Changed,
}

/// A difference between the live set and the candidate.
#[derive(Debug)]
pub struct Change<T> {
    pub kind: ChangeKind,
    /// The candidate's entry, of a removed node the live one.
    pub node: Entry<T>,
    /// Of a changed node the live entry; with its data, to be kept by [`Run::set_node_data`].
    pub was: Option<Entry<T>>,
}

impl<T, G> Run<T, G> {
    pub(crate) fn new(shared: Arc<Shared<T, G>>, number: u64, raw: *mut sys::safestart_run) -> Self {
        let told = Arc::<Told>::default();
        shared.runs.lock().unwrap().insert(raw as usize, told.clone());
        Run { shared, number, raw: Mutex::new(raw), told }
    }

    fn call<R>(&self, what: impl FnOnce(*mut sys::safestart_run, &Objects<T, G>) -> Result<R, Error>) -> Result<R, Error> {
        let open = self.shared.gate.read().unwrap();
        let raw = self.raw.lock().unwrap();
        match &*open {
            Some(objects) if !raw.is_null() => what(*raw, objects),
            _ => Err(Error::new(libc::ESTALE, "the run is over")),
        }
    }

    /// As in its outcome and in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The differences, in the order of ids.
    pub fn changes(&self) -> Result<Vec<Change<T>>, Error> {
        self.call(|raw, _| {
            let live = unsafe { Nodes::<T, G>::of(sys::safestart_run_current(raw)) };
            let mut changes = Vec::new();
            for index in 0.. {
                let mut kind: c_int = 0;
                let node = unsafe { sys::safestart_run_change(raw, index, &mut kind) };
                if node.is_null() {
                    break;
                }
                let node = unsafe { Node::of(node) }.entry();
                let (kind, was) = match kind {
                    sys::SAFESTART_ADDED => (ChangeKind::Added, None),
                    sys::SAFESTART_REMOVED => (ChangeKind::Removed, None),
                    _ => (ChangeKind::Changed, live.find(&node.id).map(|node| node.entry())),
                };
                changes.push(Change { kind, node, was });
            }
            Ok(changes)
        })
    }

    /// All nodes of the set that the run applies, with the data that they inherit or were given. Rejected ones are still among them.
    pub fn candidate(&self) -> Result<Vec<Entry<T>>, Error> {
        self.call(|raw, _| {
            let nodes = unsafe { Nodes::<T, G>::of(sys::safestart_run_candidate(raw)) };
            Ok(nodes.iter().map(|node| node.entry()).collect())
        })
    }

    /// Leaves an added or changed node out of the set; a changed one keeps its old entry. The others are applied, and this one is
    /// retried. In `prepare` only.
    pub fn reject(&self, id: &str, reason: &str) -> Result<(), Error> {
        let (id, reason) = (c_string(id)?, c_words(reason));
        self.call(|raw, _| check(unsafe { sys::safestart_run_reject(raw, id.as_ptr(), reason.as_ptr()) }, None).map(drop))
    }

    /// Attaches an object, such as a connection pool, to a node of the candidate. Unchanged nodes inherit it. It is dropped (the
    /// `Arc`, that is) when no reader can see it any more, or if the run fails. In `prepare` only.
    pub fn set_node_data(&self, id: &str, data: impl Into<Arc<T>>) -> Result<(), Error> {
        let id = c_string(id)?;
        self.call(|raw, objects| {
            let key = objects.nodes.keep(data.into());
            check(unsafe { sys::safestart_run_set_node_key(raw, id.as_ptr(), key) }, None)
                .map(drop)
                .inspect_err(|_| objects.nodes.give_back(key))
        })
    }

    /// Attaches an object to the generation, such as a ring of its nodes; without this call it has none. In `prepare` only.
    pub fn set_data(&self, data: impl Into<Arc<G>>) -> Result<(), Error> {
        self.call(|raw, objects| {
            let key = objects.sets.keep(data.into());
            let result = unsafe { sys::safestart_run_set_key(raw, key) };
            if result < 0 && result != -libc::ENOMEM {
                objects.sets.give_back(key); // after ENOMEM the run fails, and the library gives it back
            }
            check(result, None).map(drop)
        })
    }

    /// A number, such as an exit code, as the `status` of the outcome. In `restart` only.
    pub fn set_status(&self, status: i32) -> Result<(), Error> {
        self.call(|raw, _| {
            unsafe { sys::safestart_run_set_status(raw, status) };
            Ok(())
        })
    }

    /// Is it pointless to go on? The deadline has passed, or the handle was shut down.
    pub fn is_cancelled(&self) -> bool {
        self.call(|raw, _| Ok(unsafe { sys::safestart_run_cancelled(raw) } != 0)).unwrap_or(true)
    }

    /// A future that ends when it is pointless to go on; it may outlive the run.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { told: self.told.clone() }
    }

    /// Finishes the run: for `prepare_later` and `restart_later`. A run that is dropped has failed.
    pub fn finish(self, result: Result<(), BoxError>) {
        self.end(result);
    }

    pub(crate) fn end(&self, result: Result<(), BoxError>) {
        let _ = self.call(|raw, _| {
            // Before the library may use the same address again: `restart` has the run of `prepare`.
            self.shared.runs.lock().unwrap().remove(&(raw as usize));
            match result {
                Ok(()) => unsafe { sys::safestart_run_finish(raw, 0) },
                Err(error) => {
                    let words = c_words(&error.to_string());
                    unsafe { sys::safestart_run_fail(raw, -errno_of(&*error), words.as_ptr()) }
                }
            };
            Ok(())
        });
        *self.raw.lock().unwrap() = std::ptr::null_mut();
        self.told.tell();
    }
}

impl<T, G> Drop for Run<T, G> {
    fn drop(&mut self) {
        if !self.raw.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).is_null() {
            let words = if std::thread::panicking() { "it panicked" } else { "its Run was dropped without finish()" };
            self.end(Err(words.into()));
        }
    }
}

/// Whether a run was cancelled.
#[derive(Default)]
pub(crate) struct Told(Mutex<(bool, Vec<Waker>)>);

impl Told {
    pub(crate) fn tell(&self) {
        let mut told = self.0.lock().unwrap();
        told.0 = true;
        let wakers = std::mem::take(&mut told.1);
        drop(told);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// See [`Run::cancelled`].
pub struct Cancelled {
    told: Arc<Told>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut told = self.told.0.lock().unwrap();
        if told.0 {
            return Poll::Ready(());
        }
        if !told.1.iter().any(|waker| waker.will_wake(context.waker())) {
            told.1.push(context.waker().clone());
        }
        Poll::Pending
    }
}

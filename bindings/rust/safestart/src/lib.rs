// SPDX-License-Identifier: LGPL-2.1-or-later
#![doc = include_str!("../../README.md")]

mod data;
mod error;
mod events;
mod nodes;
mod open;
mod outcome;
mod run;

pub use error::{BoxError, Error};
pub use nodes::{Cached, Entry, Guard, Node, Nodes, Snapshot};
pub use open::Builder;
pub use outcome::{Outcome, Ticket, Verdict};
pub use run::{Cancelled, Change, ChangeKind, Run};

use data::Objects;
use error::{c_string, c_words, check, taken, Words};
use events::{Shared, Taker};
use libsafestart_sys as sys;
use outcome::Waiters;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A handle: the nodes of one server, with a `T` attached to each node and a `G` to each generation. It may be shared by any number
/// of threads. Dropping it closes it.
pub struct Safestart<T: Send + Sync + 'static, G: Send + Sync + 'static = ()> {
    shared: Arc<Shared<T, G>>,
    objects: Arc<Objects<T, G>>,
    taker: Option<Taker>,
    closed: bool,
}

/// What [`Safestart::request`] may be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOptions<'a> {
    /// Lifts `max_shrink` and `min_nodes`.
    pub force: bool,
    /// Skips debounce and backoff.
    pub urgent: bool,
    pub reason: Option<&'a str>,
}

/// What this process knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeState {
    /// Neither announced nor live.
    Unknown,
    /// In the desired set, not live yet.
    Announced,
    /// Live, but no request to it has been reported yet.
    Live,
    /// Live, and the newest report says it works.
    Proven,
    /// Live, and the newest report says it does not work.
    Failing,
    /// Announced, but unusable or rejected.
    Quarantined,
    /// Has left the set, but a reader still holds it.
    Retired,
}

/// The version of the library that is loaded.
pub fn version() -> String {
    unsafe { error::copied(sys::safestart_version()) }
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Safestart<T, G> {
    /// Begins to open a handle.
    pub fn builder() -> Builder<T, G> {
        Builder::new()
    }

    pub(crate) fn raw(&self) -> *mut sys::safestart {
        self.shared.raw
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.shared.waiters
    }

    pub(crate) fn objects(&self) -> Arc<Objects<T, G>> {
        self.objects.clone()
    }

    /// Asks for the nodes to be applied, and returns at once.
    pub fn request(&self) -> Result<Ticket, Error> {
        self.request_with(RequestOptions::default())
    }

    pub fn request_with(&self, options: RequestOptions<'_>) -> Result<Ticket, Error> {
        let force = if options.force { sys::SAFESTART_FORCE } else { 0 };
        let urgent = if options.urgent { sys::SAFESTART_URGENT } else { 0 };
        let reason = options.reason.map(c_words);
        let reason = reason.as_ref().map_or(std::ptr::null(), |reason| reason.as_ptr());
        match unsafe { sys::safestart_request(self.raw(), force | urgent, reason) } {
            0 => Err(Error::new(libc::ECANCELED, "the handle was shut down")),
            ticket => Ok(Ticket(ticket)),
        }
    }

    /// Replaces the whole desired set (`source=push`) by a Prometheus file_sd document.
    pub fn replace(&self, json: &str) -> Result<Ticket, Error> {
        let (json, mut ticket, mut why) = (c_string(json)?, 0, Words::new());
        let (words, size) = why.buffer();
        let result = unsafe { sys::safestart_nodes_replace(self.raw(), json.as_ptr(), &mut ticket, words, size) };
        check(result, Some(&why)).map(|_| Ticket(ticket))
    }

    /// Adds a node to the desired set (`source=push`), or gives the node with this id another address or incarnation.
    pub fn announce(&self, id: &str, address: &str, incarnation: Option<&str>) -> Result<Ticket, Error> {
        let (id, address, mut ticket) = (c_string(id)?, c_string(address)?, 0);
        let incarnation = incarnation.map(c_string).transpose()?;
        let incarnation = incarnation.as_ref().map_or(std::ptr::null(), |incarnation| incarnation.as_ptr());
        let result = unsafe { sys::safestart_node_announce(self.raw(), id.as_ptr(), address.as_ptr(), incarnation, &mut ticket) };
        check(result, None).map(|_| Ticket(ticket))
    }

    /// Takes a node out of the desired set (`source=push`).
    pub fn withdraw(&self, id: &str) -> Result<Ticket, Error> {
        let (id, mut ticket) = (c_string(id)?, 0);
        let result = unsafe { sys::safestart_node_withdraw(self.raw(), id.as_ptr(), &mut ticket) };
        check(result, None).map(|_| Ticket(ticket))
    }

    /// What this process knows of a node, and why.
    pub fn state(&self, id: &str) -> Result<(NodeState, String), Error> {
        let (id, mut why) = (c_string(id)?, Words::new());
        let (words, size) = why.buffer();
        let result = unsafe { sys::safestart_node_state(self.raw(), id.as_ptr(), words, size) };
        let state = match check(result, None)? {
            sys::SAFESTART_NODE_ANNOUNCED => NodeState::Announced,
            sys::SAFESTART_NODE_APPLIED => NodeState::Live,
            sys::SAFESTART_NODE_PROVEN => NodeState::Proven,
            sys::SAFESTART_NODE_FAILING => NodeState::Failing,
            sys::SAFESTART_NODE_QUARANTINED => NodeState::Quarantined,
            sys::SAFESTART_NODE_RETIRED => NodeState::Retired,
            _ => NodeState::Unknown,
        };
        Ok((state, why.text()))
    }

    /// The state of the handle; `"summary"` is the line to read first.
    pub fn status(&self) -> Result<serde_json::Value, Error> {
        let text = unsafe { taken(sys::safestart_status_json(self.raw())) }?;
        serde_json::from_str(&text).map_err(|error| Error::new(libc::EINVAL, error.to_string()))
    }

    /// Figures in the Prometheus exposition format.
    pub fn metrics(&self) -> Result<String, Error> {
        unsafe { taken(sys::safestart_metrics_text(self.raw())) }
    }

    /// Starts no more runs, and answers every open ticket with [`Verdict::Cancelled`]. Nodes stay.
    pub fn shutdown(&self) {
        unsafe { sys::safestart_shutdown(self.raw()) };
        self.shared.waiters.wake();
    }

    /// Takes the events that wait, and returns at once: for a handle [without a thread](Builder::without_thread), when
    /// [its descriptor](Self::as_fd) is readable. False: the handle was shut down, and no run will come any more.
    pub fn take_events(&self) -> bool {
        self.shared.take_events()
    }

    /// Takes events as a task of tokio until the handle is shut down: for a handle [without a thread](Builder::without_thread).
    #[cfg(feature = "tokio")]
    pub async fn drive(&self) -> std::io::Result<()> {
        // SAFETY: the descriptor is open as long as the handle, which is borrowed, and is polled only.
        let descriptor = unsafe { tokio::io::unix::AsyncFd::register_with_interest(self.as_fd(), tokio::io::Interest::READABLE) };
        let descriptor = descriptor?;
        while self.take_events() {
            descriptor.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// In a forked child, before [`after_fork`](Self::after_fork): another `name`, its own `control`, or `serves`.
    pub fn after_fork_set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value, mut why) = (c_string(key)?, c_string(value)?, Words::new());
        let (words, size) = why.buffer();
        let result = unsafe { sys::safestart_after_fork_set(self.raw(), key.as_ptr(), value.as_ptr(), words, size) };
        check(result, Some(&why)).map(drop)
    }

    /// In a forked child: goes on by itself, with data of its own (the parent's is never dropped here). With `start=after_fork` this
    /// is what starts the handle, in the parent too. Otherwise it changes nothing in a process that did not fork.
    pub fn after_fork(&mut self) -> Result<(), Error> {
        let forked = unsafe { sys::safestart_forked(self.raw()) } == 1;
        if forked {
            // The parent's locks may be held by threads that are not here, and its objects are not dropped here.
            let objects = Arc::new(Objects::new());
            let shared = Shared::new(self.raw(), objects.clone(), self.shared.hooks.clone());
            std::mem::forget(std::mem::replace(&mut self.shared, Arc::new(shared)));
            std::mem::forget(std::mem::replace(&mut self.objects, objects));
        }
        check(unsafe { sys::safestart_after_fork(self.raw()) }, None)?;
        if let Some(taker) = self.taker.take_if(|_| forked) {
            taker.forget();
            self.taker = Some(Taker::start(self.shared.clone()).map_err(open::no_thread)?);
        }
        Ok(())
    }

    /// Closes the handle; what runs in `prepare` is not waited for. Dropping it does the same, and cannot say what went wrong.
    pub fn close(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        self.closed = true;
        if unsafe { sys::safestart_forked(self.raw()) } == 1 {
            // A child that did not go on: the locks, the objects and the thread are the parent's.
            std::mem::forget((self.shared.clone(), self.objects.clone()));
            if let Some(taker) = self.taker.take() {
                taker.forget();
            }
            return check(unsafe { sys::safestart_close(self.raw()) }, None).map(drop);
        }
        drop(self.shared.gate.write().unwrap().take());
        unsafe { sys::safestart_shutdown(self.raw()) };
        if let Some(taker) = self.taker.take() {
            taker.stop();
        }
        let told: Vec<_> = self.shared.runs.lock().unwrap().drain().collect();
        told.iter().for_each(|(_, told)| told.tell());
        check(unsafe { sys::safestart_close(self.raw()) }, None).map(drop)
    }
}

/// The descriptor is readable while events wait.
impl<T: Send + Sync + 'static, G: Send + Sync + 'static> AsFd for Safestart<T, G> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unsafe { BorrowedFd::borrow_raw(sys::safestart_event_fd(self.raw())) }
    }
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Drop for Safestart<T, G> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        if let Err(error) = self.end() {
            log::error!(target: "safestart", "the handle could not be closed: {error}");
        }
    }
}

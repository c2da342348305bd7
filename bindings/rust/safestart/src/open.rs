// SPDX-License-Identifier: LGPL-2.1-or-later
//! Opening a handle.

use crate::data::Objects;
use crate::error::{c_string, check, BoxError, Error, Words};
use crate::events::{Hooks, Part, Shared, Taker};
use crate::outcome::Outcome;
use crate::run::Run;
use crate::Safestart;
use libsafestart_sys as sys;
use std::sync::Arc;

/// Settings, and the application's part.
#[must_use]
pub struct Builder<T, G = ()> {
    settings: Vec<(String, String)>,
    hooks: Hooks<T, G>,
    thread: bool,
}

pub(crate) fn no_thread(error: std::io::Error) -> Error {
    Error::new(error.raw_os_error().unwrap_or(libc::EAGAIN), format!("no thread for events: {error}"))
}

struct Conf(*mut sys::safestart_conf);

impl Conf {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let (key, value, mut why) = (c_string(key)?, c_string(value)?, Words::new());
        let (words, size) = why.buffer();
        let result = unsafe { sys::safestart_conf_set(self.0, key.as_ptr(), value.as_ptr(), words, size) };
        check(result, Some(&why)).map(drop)
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        unsafe { sys::safestart_conf_free(self.0) }
    }
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Builder<T, G> {
    pub(crate) fn new() -> Self {
        Builder { settings: Vec::new(), hooks: Hooks { prepare: Part::None, restart: Part::None, outcome: None }, thread: true }
    }

    /// A setting of the library, by its name. What is wrong with it, [`open`](Self::open) says.
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Called on a thread of its own when the set changed, before anything is live: connect to what [`Run::changes`] names, and
    /// attach it by [`Run::set_node_data`]. Do nothing that cannot be undone, the run can still fail. An error leaves the old set
    /// serving, arrives in the outcome in its own words, and is retried.
    pub fn prepare(mut self, prepare: impl Fn(&Run<T, G>) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.prepare = Part::Blocking("prepare", Arc::new(prepare));
        self
    }

    /// As [`prepare`](Self::prepare), for what finishes later: it gets the run, must not block, and may spawn a task that calls
    /// [`Run::finish`].
    pub fn prepare_later(mut self, prepare: impl Fn(Run<T, G>) + Send + Sync + 'static) -> Self {
        self.hooks.prepare = Part::Later(Box::new(prepare));
        self
    }

    /// Reloads everything else that needs it, after the set went live, for an unchanged set too. Otherwise as
    /// [`prepare`](Self::prepare).
    pub fn restart(mut self, restart: impl Fn(&Run<T, G>) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.hooks.restart = Part::Blocking("restart", Arc::new(restart));
        self
    }

    /// As [`prepare_later`](Self::prepare_later).
    pub fn restart_later(mut self, restart: impl Fn(Run<T, G>) + Send + Sync + 'static) -> Self {
        self.hooks.restart = Part::Later(Box::new(restart));
        self
    }

    /// Is told how each run ended, in order. It must not block.
    pub fn on_outcome(mut self, outcome: impl Fn(Outcome) + Send + Sync + 'static) -> Self {
        self.hooks.outcome = Some(Box::new(outcome));
        self
    }

    /// No thread takes the events: you do, by [`Safestart::take_events`] or, with the feature `tokio`, by `Safestart::drive`.
    pub fn without_thread(mut self) -> Self {
        self.thread = false;
        self
    }

    /// Opens the handle. The first load goes on in the background; until it is done there are no nodes, see [`Safestart::ready`].
    pub fn open(self) -> Result<Safestart<T, G>, Error> {
        let mut conf = Conf(unsafe { sys::safestart_conf_new() });
        if conf.0.is_null() {
            return Err(Error::new(libc::ENOMEM, "out of memory"));
        }
        for (key, value) in &self.settings {
            if ["events", "thread"].contains(&key.as_str()) {
                return Err(Error::new(libc::EINVAL, format!("{key}: is decided by the Rust binding, leave it out")));
            }
            conf.set(key, value)?;
        }
        conf.set("events", "pull")?;
        let (mut raw, mut why) = (std::ptr::null_mut(), Words::new());
        let (words, size) = why.buffer();
        check(unsafe { sys::safestart_open(&mut raw, conf.0, words, size) }, Some(&why))?;
        let objects = Arc::new(Objects::new());
        let shared = Arc::new(Shared::new(raw, objects.clone(), Arc::new(self.hooks)));
        let mut handle = Safestart { shared, objects, taker: None, closed: false };
        if self.thread {
            handle.taker = Some(Taker::start(handle.shared.clone()).map_err(no_thread)?);
        }
        Ok(handle)
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The library's events: taken by a thread of the binding, or by the application's own loop.

use crate::data::Objects;
use crate::error::{copied, BoxError};
use crate::outcome::{Outcome, Waiters};
use crate::run::{Run, Told};
use libsafestart_sys as sys;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

type Blocking<T, G> = Arc<dyn Fn(&Run<T, G>) -> Result<(), BoxError> + Send + Sync>;
type Later<T, G> = Box<dyn Fn(Run<T, G>) + Send + Sync>;

/// `prepare` or `restart`.
pub(crate) enum Part<T, G> {
    None,
    Blocking(&'static str, Blocking<T, G>),
    Later(Later<T, G>),
}

pub(crate) struct Hooks<T, G> {
    pub(crate) prepare: Part<T, G>,
    pub(crate) restart: Part<T, G>,
    pub(crate) outcome: Option<Box<dyn Fn(Outcome) + Send + Sync>>,
}

/// What runs and the thread that takes events share with the handle.
pub(crate) struct Shared<T, G> {
    pub(crate) raw: *mut sys::safestart,
    /// The objects while the handle is open; read: a run or the next event is being used. A run that outlives the handle keeps none.
    pub(crate) gate: RwLock<Option<Arc<Objects<T, G>>>>,
    pub(crate) runs: Mutex<HashMap<usize, Arc<Told>>>,
    pub(crate) waiters: Waiters,
    pub(crate) hooks: Arc<Hooks<T, G>>,
}

// The pointer is used while the gate is open only; the library may be called from any thread.
unsafe impl<T: Send + Sync, G: Send + Sync> Send for Shared<T, G> {}
unsafe impl<T: Send + Sync, G: Send + Sync> Sync for Shared<T, G> {}

/// An event that is no longer the library's.
enum Event {
    Prepare(u64, *mut sys::safestart_run),
    Restart(u64, *mut sys::safestart_run),
    Cancelled(usize),
    Committed,
    RetireSet(u64),
    RetireNode(u64),
    Outcome(Outcome),
    Log(i32, String),
    Unknown,
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Shared<T, G> {
    pub(crate) fn new(raw: *mut sys::safestart, objects: Arc<Objects<T, G>>, hooks: Arc<Hooks<T, G>>) -> Self {
        Shared { raw, gate: RwLock::new(Some(objects)), runs: Mutex::default(), waiters: Waiters::default(), hooks }
    }

    /// Takes the events that wait. False: no more will come that matter.
    pub(crate) fn take_events(self: &Arc<Self>) -> bool {
        loop {
            match self.next_event() {
                Ok(Some(event)) => self.handle(event),
                Ok(None) => return true,
                Err(()) => {
                    self.waiters.wake();
                    return false;
                }
            }
        }
    }

    /// Copies it at once: its texts are valid until the next one, or close.
    fn next_event(&self) -> Result<Option<Event>, ()> {
        let open = self.gate.read().unwrap();
        if open.is_none() {
            return Err(());
        }
        let mut event: sys::safestart_event = unsafe { std::mem::zeroed() };
        event.size = std::mem::size_of_val(&event);
        match unsafe { sys::safestart_next_event(self.raw, &mut event) } {
            1 => {}
            0 => return Ok(None),
            _ => return Err(()),
        }
        Ok(Some(match event.kind {
            sys::SAFESTART_EVENT_PREPARE => Event::Prepare(event.run_number, event.run),
            sys::SAFESTART_EVENT_RESTART => Event::Restart(event.run_number, event.run),
            sys::SAFESTART_EVENT_CANCELLED => Event::Cancelled(event.run as usize),
            sys::SAFESTART_EVENT_COMMITTED => Event::Committed,
            sys::SAFESTART_EVENT_RETIRE => Event::RetireSet(event.key),
            sys::SAFESTART_EVENT_RETIRE_NODE => Event::RetireNode(event.key),
            sys::SAFESTART_EVENT_OUTCOME => Event::Outcome(Outcome::of(unsafe { &*event.outcome })),
            sys::SAFESTART_EVENT_LOG => Event::Log(event.level, unsafe { copied(event.text) }),
            _ => Event::Unknown,
        }))
    }

    fn handle(self: &Arc<Self>, event: Event) {
        match event {
            Event::Prepare(number, raw) => self.begin(number, raw, &self.hooks.prepare),
            Event::Restart(number, raw) => self.begin(number, raw, &self.hooks.restart),
            Event::Cancelled(raw) => {
                let told = self.runs.lock().unwrap().get(&raw).cloned();
                if let Some(told) = told {
                    told.tell();
                }
            }
            Event::Committed => self.waiters.wake(), // ready() needs no more
            Event::RetireSet(key) => self.give_back(|objects| objects.sets.give_back(key)),
            Event::RetireNode(key) => self.give_back(|objects| objects.nodes.give_back(key)),
            Event::Outcome(outcome) => {
                self.waiters.wake();
                if let Some(told) = &self.hooks.outcome {
                    protected(|| told(outcome));
                }
            }
            Event::Log(level, text) => protected(|| log::log!(target: "safestart", level_of(level), "{text}")),
            Event::Unknown => {}
        }
    }

    /// Not under the gate: what is dropped may close the handle.
    fn give_back(&self, what: impl FnOnce(&Objects<T, G>)) {
        let objects = self.gate.read().unwrap().clone();
        if let Some(objects) = objects {
            protected(|| what(&objects));
        }
    }

    fn begin(self: &Arc<Self>, number: u64, raw: *mut sys::safestart_run, part: &Part<T, G>) {
        let run = Run::new(self.clone(), number, raw);
        match part {
            Part::None => run.end(Ok(())),
            Part::Later(begin) => protected(|| begin(run)),
            Part::Blocking(name, part) => {
                let part = part.clone();
                // If no thread can be started, the closure and with it the run are dropped: it has failed.
                let _ = std::thread::Builder::new().name(format!("safestart {name}")).spawn(move || run.end(part(&run)));
            }
        }
    }
}

/// What the application does must not end the thread that takes events; a panic was reported by the panic hook.
fn protected(what: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(what));
}

fn level_of(syslog: i32) -> log::Level {
    match syslog {
        ..=3 => log::Level::Error,
        4 => log::Level::Warn,
        5 | 6 => log::Level::Info,
        _ => log::Level::Debug,
    }
}

/// A thread that takes events. In a forked child there is none, and what is left of it is its descriptors.
pub(crate) struct Taker {
    stop: UnixStream,
    _watched: Arc<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Taker {
    pub(crate) fn start<T, G>(shared: Arc<Shared<T, G>>) -> std::io::Result<Self>
    where
        T: Send + Sync + 'static,
        G: Send + Sync + 'static,
    {
        let (stop, watched) = UnixStream::pair()?;
        let watched = Arc::new(watched);
        let watching = watched.clone();
        let thread = std::thread::Builder::new().name("safestart events".into()).spawn(move || {
            let events = unsafe { sys::safestart_event_fd(shared.raw) };
            while shared.take_events() && wait_for(events, watching.as_raw_fd()) {}
        })?;
        Ok(Taker { stop, _watched: watched, thread: Some(thread) })
    }

    /// It may be the caller: then it ends when the caller has returned.
    pub(crate) fn stop(mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// The thread is the parent's: it is not here.
    pub(crate) fn forget(mut self) {
        std::mem::forget(self.thread.take());
    }
}

/// True: events; false: the end.
fn wait_for(events: RawFd, stop: RawFd) -> bool {
    let mut descriptors = [stop, events].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    loop {
        let result = unsafe { libc::poll(descriptors.as_mut_ptr(), 2, -1) };
        if result > 0 {
            return descriptors[0].revents == 0;
        }
        if result < 0 && std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return false;
        }
    }
}

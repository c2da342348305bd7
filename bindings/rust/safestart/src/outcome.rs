// SPDX-License-Identifier: LGPL-2.1-or-later
//! How runs end, and waiting for it: by a future that any runtime may poll, or on this thread.

use crate::error::{check, copied, Error};
use crate::Safestart;
use libsafestart_sys as sys;
use std::collections::HashMap;
use std::future::Future;
use std::os::raw::c_int;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Stands for a request, and for all others that the same run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// A new generation is live, or `restart` was carried out.
    Applied,
    /// The live set already is this one.
    Unchanged,
    /// Malformed, or a guard rail: no retry until the input changes.
    Refused,
    /// The source, `prepare` or `restart` failed: retried.
    Failed,
    /// Took longer than `run_timeout`: retried.
    TimedOut,
    /// The handle was shut down.
    Cancelled,
}

/// How a run ended, and with it every request that it covered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    pub verdict: Verdict,
    /// 0, or why (as in `<errno.h>`), for every verdict from `Refused` on.
    pub errno: i32,
    /// In words: what happened, what to do, when it is retried.
    pub message: String,
    /// Which run; 0: none (shut down before).
    pub run: u64,
    /// The generation that was live when it ended.
    pub generation: u64,
    /// How many it coalesced.
    pub requests: u64,
    /// Runs in a row that tried this set, this one included.
    pub attempts: u32,
    /// Entries left out as unusable or rejected.
    pub quarantined: u32,
    /// This ticket and every older one is answered.
    pub ticket: Ticket,
    /// What `restart` set by [`Run::set_status`](crate::Run::set_status).
    pub status: i32,
    /// The process that made the run; 0: none.
    pub pid: u32,
    /// So many outcomes directly before this one were left out (`on_outcome`).
    pub merged: u64,
}

impl Outcome {
    /// `Ok` if the nodes that were asked for are live.
    pub fn result(&self) -> Result<(), Error> {
        match self.verdict {
            Verdict::Applied | Verdict::Unchanged => Ok(()),
            _ => Err(Error::new(self.errno, self.message.clone())),
        }
    }

    pub(crate) fn of(raw: &sys::safestart_outcome) -> Self {
        Outcome {
            verdict: match raw.verdict {
                sys::SAFESTART_APPLIED => Verdict::Applied,
                sys::SAFESTART_UNCHANGED => Verdict::Unchanged,
                sys::SAFESTART_REFUSED => Verdict::Refused,
                sys::SAFESTART_TIMED_OUT => Verdict::TimedOut,
                sys::SAFESTART_CANCELLED => Verdict::Cancelled,
                _ => Verdict::Failed,
            },
            errno: -raw.error,
            message: unsafe { copied(raw.message.as_ptr()) },
            run: raw.run,
            generation: raw.generation,
            requests: raw.requests,
            attempts: raw.attempts,
            quarantined: raw.quarantined,
            ticket: Ticket(raw.ticket),
            status: raw.status,
            pid: raw.pid as u32,
            merged: raw.merged,
        }
    }
}

fn empty() -> sys::safestart_outcome {
    let mut outcome: sys::safestart_outcome = unsafe { std::mem::zeroed() };
    outcome.size = std::mem::size_of_val(&outcome);
    outcome
}

/// Futures that wait for something to end; each looks again when a run has ended.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<(u64, HashMap<u64, Waker>)>);

impl Waiters {
    pub(crate) fn wake(&self) {
        let all: Vec<Waker> = self.0.lock().unwrap().1.drain().map(|(_, waker)| waker).collect();
        all.into_iter().for_each(Waker::wake);
    }
}

/// Waits, without a thread, until `look` says something else than EAGAIN.
struct Wait<'a, L> {
    waiters: &'a Waiters,
    key: Option<u64>,
    look: L,
}

impl<R, L: FnMut() -> Result<R, Error> + Unpin> Future for Wait<'_, L> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Under the lock: what ends after the look wakes this waiter.
        let mut waiters = this.waiters.0.lock().unwrap();
        match (this.look)() {
            Err(error) if error.errno() == libc::EAGAIN => {
                let key = *this.key.get_or_insert_with(|| {
                    waiters.0 += 1;
                    waiters.0
                });
                waiters.1.insert(key, context.waker().clone());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

impl<L> Drop for Wait<'_, L> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.waiters.0.lock().unwrap().1.remove(&key);
        }
    }
}

fn milliseconds(timeout: Option<Duration>) -> c_int {
    timeout.map_or(-1, |timeout| c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX))
}

impl<T: Send + Sync + 'static, G: Send + Sync + 'static> Safestart<T, G> {
    /// Waits for the outcome of a ticket, in any runtime; dropping the future ends the wait. A read that follows finds the set of
    /// that outcome or a later one. The error is not the run's (see [`Outcome::result`]), but the wait's: ENODATA for a ticket that
    /// was answered long ago (the last 1024 are kept), EINVAL for one that was never issued.
    pub fn outcome(&self, ticket: Ticket) -> impl Future<Output = Result<Outcome, Error>> + Send + '_ {
        let look = move || {
            let mut outcome = empty();
            check(unsafe { sys::safestart_try_wait(self.raw(), ticket.0, &mut outcome) }, None).map(|_| Outcome::of(&outcome))
        };
        Wait { waiters: self.waiters(), key: None, look }
    }

    /// Waits until a first set is live, in any runtime.
    pub fn ready(&self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        let look = || match unsafe { sys::safestart_wait_ready(self.raw(), 0) } {
            result if result == -libc::ETIMEDOUT => Err(Error::new(libc::EAGAIN, "")),
            result => check(result, None).map(|_| ()),
        };
        Wait { waiters: self.waiters(), key: None, look }
    }

    /// As [`outcome`](Self::outcome), on this thread, ETIMEDOUT after the timeout; `None` waits without limit.
    pub fn wait(&self, ticket: Ticket, timeout: Option<Duration>) -> Result<Outcome, Error> {
        let mut outcome = empty();
        let result = unsafe { sys::safestart_wait(self.raw(), ticket.0, milliseconds(timeout), &mut outcome) };
        check(result, None).map(|_| Outcome::of(&outcome))
    }

    /// As [`ready`](Self::ready), on this thread.
    pub fn wait_ready(&self, timeout: Option<Duration>) -> Result<(), Error> {
        check(unsafe { sys::safestart_wait_ready(self.raw(), milliseconds(timeout)) }, None).map(|_| ())
    }

    /// How the newest run ended; `None` before the first one has.
    pub fn last_outcome(&self) -> Option<Outcome> {
        let mut outcome = empty();
        let result = unsafe { sys::safestart_last_outcome(self.raw(), &mut outcome) };
        (result == 0).then(|| Outcome::of(&outcome))
    }
}

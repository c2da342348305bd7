// SPDX-License-Identifier: LGPL-2.1-or-later
//! What the conformance program does with its nodes, by the script that it is given.

use safestart::{BoxError, ChangeKind, Run};
use serde_json::{json, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::RwLock;
use std::time::Duration;

static RETIRED: AtomicU64 = AtomicU64::new(0);
static RETIRED_SETS: AtomicU64 = AtomicU64::new(0);

/// The object of a node. That it is not used after it was dropped, the compiler sees to.
pub struct Connection {
    pub number: u64,
    pub process: u32,
}

impl Drop for Connection {
    fn drop(&mut self) {
        RETIRED.fetch_add(1, Ordering::SeqCst);
    }
}

/// The object of a generation.
pub struct Set;

impl Drop for Set {
    fn drop(&mut self) {
        RETIRED_SETS.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
pub struct Application {
    script: RwLock<(String, String)>,
    /// The next prepare is left open.
    pub later: AtomicBool,
    /// prepare stays inside as long as this is set, and says so.
    pub hold: AtomicBool,
    pub held: AtomicBool,
    made: AtomicU64,
    made_sets: AtomicU64,
    told: AtomicU64,
    heartbeat: AtomicU64,
}

fn moment() {
    std::thread::sleep(Duration::from_millis(1));
}

impl Application {
    pub fn script(&self, prepare: &str, restart: &str) {
        *self.script.write().unwrap() = (prepare.into(), restart.into());
    }

    pub fn prepare(&self, run: &Run<Connection, Set>) -> Result<(), BoxError> {
        let script = self.script.read().unwrap().0.clone();
        if let Some(words) = script.strip_prefix("throw:") {
            return Err(words.into());
        }
        if script == "crash" {
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
        }
        let rejected = script.strip_prefix("reject:");
        for change in run.changes()? {
            if rejected == Some(&change.node.id) {
                run.reject(&change.node.id, "not this one")?;
            } else if change.kind != ChangeKind::Removed {
                let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
                run.set_node_data(&change.node.id, Connection { number, process: std::process::id() })?;
            }
        }
        self.made_sets.fetch_add(1, Ordering::SeqCst);
        run.set_data(Set)?;
        if script == "hang" {
            while !run.is_cancelled() {
                moment();
            }
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        while self.hold.load(Ordering::SeqCst) {
            self.held.store(true, Ordering::SeqCst);
            moment();
        }
        if self.later.swap(false, Ordering::SeqCst) {
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }

    pub fn restart(&self, run: &Run<Connection, Set>) -> Result<(), BoxError> {
        let script = self.script.read().unwrap().1.clone();
        if let Some(words) = script.strip_prefix("throw:") {
            return Err(words.into());
        }
        if let Some(status) = script.strip_prefix("status:") {
            run.set_status(status.parse()?)?;
        }
        Ok(())
    }

    pub fn beat(&self) {
        loop {
            std::thread::sleep(Duration::from_millis(10));
            self.heartbeat.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub fn counts(&self) -> Value {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or("");
            line.split_whitespace().nth(1).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
        };
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        json!({"made": get(&self.made), "retired": get(&RETIRED), "used_after_retire": 0, "made_sets": get(&self.made_sets),
            "retired_sets": get(&RETIRED_SETS), "told": get(&self.told), "heartbeat": self.heartbeat.swap(0, Ordering::SeqCst),
            "threads": field("Threads:"), "descriptors": std::fs::read_dir("/proc/self/fd").unwrap().count(), "rss_kib": field("VmRSS:")})
    }
}

/// The library's log on standard error, by one write: a fork finds no lock taken.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.level(), record.args());
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }

    fn flush(&self) {}
}

pub fn log() {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Info);
}

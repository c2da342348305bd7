// SPDX-License-Identifier: LGPL-2.1-or-later
//! The functions of the C library libsafestart, as `safestart.h` declares and describes them. Use the crate `safestart`
//! unless you miss something there.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_void};

macro_rules! opaque {
    ($($name:ident),*) => { $(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )* };
}

opaque!(safestart, safestart_conf, safestart_snapshot, safestart_node, safestart_run, safestart_source);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct safestart_outcome {
    pub size: usize,
    pub run: u64,
    pub generation: u64,
    pub requests: u64,
    pub attempts: u32,
    pub quarantined: u32,
    pub verdict: i32,
    pub error: i32,
    pub message: [c_char; 256],
    pub ticket: u64,
    pub status: i32,
    pub pid: i32,
    pub merged: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct safestart_event {
    pub size: usize,
    pub kind: i32,
    pub level: i32,
    pub run_number: u64,
    pub run: *mut safestart_run,
    pub key: u64,
    pub outcome: *const safestart_outcome,
    pub text: *const c_char,
}

/// Every member may be `None`; zeroed but for `size` is a good start.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct safestart_callbacks {
    pub size: usize,
    pub prepare: Option<unsafe extern "C" fn(*mut safestart_run, *mut c_void) -> c_int>,
    pub retire: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub log: Option<unsafe extern "C" fn(c_int, *const c_char, *mut c_void)>,
    pub outcome: Option<unsafe extern "C" fn(*const safestart_outcome, *mut c_void)>,
    pub retire_node: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub restart: Option<unsafe extern "C" fn(*mut safestart_run, *mut c_void) -> c_int>,
    pub committed: Option<unsafe extern "C" fn(*mut safestart_run, *mut c_void)>,
    pub destroy: Option<unsafe extern "C" fn(*mut c_void)>,
}

pub const SAFESTART_PENDING: c_int = -1;
pub const SAFESTART_APPLIED: c_int = 0;
pub const SAFESTART_UNCHANGED: c_int = 1;
pub const SAFESTART_REFUSED: c_int = 2;
pub const SAFESTART_FAILED: c_int = 3;
pub const SAFESTART_TIMED_OUT: c_int = 4;
pub const SAFESTART_CANCELLED: c_int = 5;
pub const SAFESTART_FORCE: u32 = 1;
pub const SAFESTART_URGENT: u32 = 2;
pub const SAFESTART_PROCESS: u32 = 4;
pub const SAFESTART_NODE_UNKNOWN: c_int = 0;
pub const SAFESTART_NODE_ANNOUNCED: c_int = 1;
pub const SAFESTART_NODE_APPLIED: c_int = 2;
pub const SAFESTART_NODE_PROVEN: c_int = 3;
pub const SAFESTART_NODE_FAILING: c_int = 4;
pub const SAFESTART_NODE_QUARANTINED: c_int = 5;
pub const SAFESTART_NODE_RETIRED: c_int = 6;
pub const SAFESTART_ADDED: c_int = 1;
pub const SAFESTART_REMOVED: c_int = 2;
pub const SAFESTART_CHANGED: c_int = 3;
pub const SAFESTART_EVENT_PREPARE: c_int = 1;
pub const SAFESTART_EVENT_RESTART: c_int = 2;
pub const SAFESTART_EVENT_COMMITTED: c_int = 3;
pub const SAFESTART_EVENT_CANCELLED: c_int = 4;
pub const SAFESTART_EVENT_RETIRE: c_int = 5;
pub const SAFESTART_EVENT_RETIRE_NODE: c_int = 6;
pub const SAFESTART_EVENT_OUTCOME: c_int = 7;
pub const SAFESTART_EVENT_LOG: c_int = 8;
pub const SAFESTART_LATER: c_int = 1;

extern "C" {
    pub fn safestart_version() -> *const c_char;
    pub fn safestart_strerror(error: c_int) -> *const c_char;
    pub fn safestart_free(memory: *mut c_void);
    pub fn safestart_conf_new() -> *mut safestart_conf;
    pub fn safestart_conf_free(conf: *mut safestart_conf);
    pub fn safestart_conf_set(
        conf: *mut safestart_conf,
        key: *const c_char,
        value: *const c_char,
        why: *mut c_char,
        why_size: usize,
    ) -> c_int;
    pub fn safestart_conf_set_callbacks(conf: *mut safestart_conf, callbacks: *const safestart_callbacks, user_data: *mut c_void) -> c_int;
    pub fn safestart_conf_add_source(conf: *mut safestart_conf, source: *const safestart_source, user_data: *mut c_void) -> c_int;
    pub fn safestart_setting(index: usize, key: *mut *const c_char, value: *mut *const c_char, help: *mut *const c_char) -> c_int;
    pub fn safestart_target_id(conf: *const safestart_conf, target: *const c_char, id: *mut c_char, size: usize) -> c_int;
    pub fn safestart_check(conf: *const safestart_conf, json: *const c_char, why: *mut c_char, why_size: usize) -> c_int;
    pub fn safestart_open(out: *mut *mut safestart, conf: *const safestart_conf, why: *mut c_char, why_size: usize) -> c_int;
    pub fn safestart_wait_ready(ss: *mut safestart, timeout_ms: c_int) -> c_int;
    pub fn safestart_after_fork(ss: *mut safestart) -> c_int;
    pub fn safestart_forked(ss: *const safestart) -> c_int;
    pub fn safestart_after_fork_set(
        ss: *mut safestart,
        key: *const c_char,
        value: *const c_char,
        why: *mut c_char,
        why_size: usize,
    ) -> c_int;
    pub fn safestart_shutdown(ss: *mut safestart) -> c_int;
    pub fn safestart_close(ss: *mut safestart) -> c_int;
    pub fn safestart_request_restart(ss: *mut safestart) -> u64;
    pub fn safestart_request(ss: *mut safestart, flags: u32, reason: *const c_char) -> u64;
    pub fn safestart_try_wait(ss: *mut safestart, ticket: u64, outcome: *mut safestart_outcome) -> c_int;
    pub fn safestart_wait(ss: *mut safestart, ticket: u64, timeout_ms: c_int, outcome: *mut safestart_outcome) -> c_int;
    pub fn safestart_last_outcome(ss: *mut safestart, outcome: *mut safestart_outcome) -> c_int;
    pub fn safestart_nodes_replace(ss: *mut safestart, json: *const c_char, ticket: *mut u64, why: *mut c_char, why_size: usize) -> c_int;
    pub fn safestart_node_announce(
        ss: *mut safestart,
        id: *const c_char,
        address: *const c_char,
        incarnation: *const c_char,
        ticket: *mut u64,
    ) -> c_int;
    pub fn safestart_node_withdraw(ss: *mut safestart, id: *const c_char, ticket: *mut u64) -> c_int;
    pub fn safestart_node_report(node: *const safestart_node, error: c_int) -> c_int;
    pub fn safestart_node_state(ss: *mut safestart, id: *const c_char, why: *mut c_char, why_size: usize) -> c_int;
    pub fn safestart_read_lock(ss: *mut safestart) -> *const safestart_snapshot;
    pub fn safestart_read_unlock(ss: *mut safestart);
    pub fn safestart_snapshot_acquire(ss: *mut safestart) -> *mut safestart_snapshot;
    pub fn safestart_snapshot_release(snapshot: *mut safestart_snapshot);
    pub fn safestart_generation(ss: *const safestart) -> u64;
    pub fn safestart_generation_address(ss: *const safestart) -> *const u64;
    pub fn safestart_snapshot_generation(snapshot: *const safestart_snapshot) -> u64;
    pub fn safestart_snapshot_size(snapshot: *const safestart_snapshot) -> usize;
    pub fn safestart_snapshot_at(snapshot: *const safestart_snapshot, index: usize) -> *const safestart_node;
    pub fn safestart_snapshot_find(snapshot: *const safestart_snapshot, id: *const c_char) -> *const safestart_node;
    pub fn safestart_snapshot_data(snapshot: *const safestart_snapshot) -> *mut c_void;
    pub fn safestart_snapshot_key(snapshot: *const safestart_snapshot) -> u64;
    pub fn safestart_snapshot_json(snapshot: *const safestart_snapshot) -> *mut c_char;
    pub fn safestart_node_id(node: *const safestart_node) -> *const c_char;
    pub fn safestart_node_host(node: *const safestart_node) -> *const c_char;
    pub fn safestart_node_port(node: *const safestart_node) -> u16;
    pub fn safestart_node_label(node: *const safestart_node, name: *const c_char) -> *const c_char;
    pub fn safestart_node_label_at(node: *const safestart_node, index: usize, name: *mut *const c_char) -> *const c_char;
    pub fn safestart_node_data(node: *const safestart_node) -> *mut c_void;
    pub fn safestart_node_key(node: *const safestart_node) -> u64;
    pub fn safestart_run_number(run: *const safestart_run) -> u64;
    pub fn safestart_run_current(run: *const safestart_run) -> *const safestart_snapshot;
    pub fn safestart_run_candidate(run: *const safestart_run) -> *const safestart_snapshot;
    pub fn safestart_run_change(run: *const safestart_run, index: usize, kind: *mut c_int) -> *const safestart_node;
    pub fn safestart_run_reject(run: *mut safestart_run, id: *const c_char, reason: *const c_char) -> c_int;
    pub fn safestart_run_set_node_data(run: *mut safestart_run, node: *const safestart_node, data: *mut c_void) -> c_int;
    pub fn safestart_run_set_data(run: *mut safestart_run, data: *mut c_void);
    pub fn safestart_run_set_status(run: *mut safestart_run, status: c_int);
    pub fn safestart_run_cancelled(run: *const safestart_run) -> c_int;
    pub fn safestart_run_finish(run: *mut safestart_run, error: c_int) -> c_int;
    pub fn safestart_run_fail(run: *mut safestart_run, error: c_int, message: *const c_char) -> c_int;
    pub fn safestart_run_set_node_key(run: *mut safestart_run, id: *const c_char, key: u64) -> c_int;
    pub fn safestart_run_set_key(run: *mut safestart_run, key: u64) -> c_int;
    pub fn safestart_run_changes_json(run: *const safestart_run) -> *mut c_char;
    pub fn safestart_event_fd(ss: *mut safestart) -> c_int;
    pub fn safestart_next_event(ss: *mut safestart, event: *mut safestart_event) -> c_int;
    pub fn safestart_fd(ss: *mut safestart) -> c_int;
    pub fn safestart_dispatch(ss: *mut safestart, timeout_ms: c_int) -> c_int;
    pub fn safestart_status_json(ss: *mut safestart) -> *mut c_char;
    pub fn safestart_metrics_text(ss: *mut safestart) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    /// Both ways: what is declared here is in the header, and what is in the header is declared here.
    #[test]
    fn every_function_of_the_header_is_declared() {
        let header = std::fs::read_to_string(env!("SAFESTART_H")).unwrap();
        let wanted = names(&header, |line| !line.starts_with([' ', '*', '/', '\t']));
        let declared = names(include_str!("lib.rs"), |line| line.starts_with("    pub fn "));
        assert!(wanted.len() > 50, "{wanted:?}");
        assert_eq!(wanted, declared);
    }

    fn names(text: &str, belongs: impl Fn(&str) -> bool) -> std::collections::BTreeSet<&str> {
        text.lines()
            .filter(|line| belongs(line))
            .filter_map(|line| line.split_once('('))
            .filter_map(|(before, _)| before.rsplit([' ', '*']).next())
            .filter(|name| name.starts_with("safestart_"))
            .collect()
    }

    #[test]
    fn the_library_is_there() {
        let version = unsafe { std::ffi::CStr::from_ptr(super::safestart_version()) };
        assert!(version.to_str().unwrap().starts_with("1."));
    }
}

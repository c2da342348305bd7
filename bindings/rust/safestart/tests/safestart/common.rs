// SPDX-License-Identifier: LGPL-2.1-or-later
//! What the tests share.

use safestart::{Builder, ChangeKind, Outcome, Run, Safestart, Ticket, Verdict};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a server attaches to a node: counts those that are alive.
pub struct Pool(pub Arc<AtomicUsize>);

impl Pool {
    pub fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Pool(alive.clone())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub fn builder<T: Send + Sync + 'static, G: Send + Sync + 'static>() -> Builder<T, G> {
    Safestart::builder().set("debounce", "0").set("retry_min", "0").set("max_shrink", "100%")
}

/// Gives each new or changed node a pool.
pub fn attach(run: &Run<Pool>, alive: &Arc<AtomicUsize>) -> Result<(), safestart::BoxError> {
    for change in run.changes()? {
        if change.kind != ChangeKind::Removed {
            run.set_node_data(&change.node.id, Pool::new(alive))?;
        }
    }
    Ok(())
}

/// Nodes of id and address.
pub fn document(nodes: &[(&str, &str)]) -> String {
    let groups: Vec<_> =
        nodes.iter().map(|(id, address)| serde_json::json!({"targets": [address], "labels": {"id": id, "zone": "z"}})).collect();
    serde_json::Value::from(groups).to_string()
}

pub fn wait<T: Send + Sync, G: Send + Sync>(handle: &Safestart<T, G>, ticket: Ticket) -> Outcome {
    handle.wait(ticket, Some(Duration::from_secs(60))).unwrap()
}

pub fn replace<T: Send + Sync, G: Send + Sync>(handle: &Safestart<T, G>, nodes: &[(&str, &str)]) -> Outcome {
    wait(handle, handle.replace(&document(nodes)).unwrap())
}

pub fn expect(outcome: &Outcome, verdict: Verdict, words: &str) {
    assert!(outcome.verdict == verdict && outcome.message.contains(words), "{verdict:?} {words}: {outcome:?}");
    assert_eq!(outcome.result().is_ok(), matches!(verdict, Verdict::Applied | Verdict::Unchanged));
}

pub fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < limit, "never came: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

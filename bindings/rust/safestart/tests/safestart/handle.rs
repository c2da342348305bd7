// SPDX-License-Identifier: LGPL-2.1-or-later
//! Settings, nodes, outcomes, reports.
use crate::common::*;
use safestart::{Guard, NodeState, RequestOptions, Run, Safestart, Snapshot, Verdict};
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex};

#[test]
fn bad_settings_are_refused_in_words() {
    for (key, words) in [("debonce", "debounce"), ("events", "leave it out"), ("a\0b", "NUL")] {
        let Err(error) = Safestart::<()>::builder().set(key, "1s").open() else { panic!("{key} was accepted") };
        assert!(error.errno() == libc::EINVAL && error.to_string().contains(words), "{error}");
    }
    assert!(safestart::version().starts_with("1."));
}

#[test]
fn nodes_and_data_arrive_together() {
    let handle = builder::<String, usize>()
        .prepare(|run| {
            for change in run.changes()? {
                if change.kind != safestart::ChangeKind::Removed {
                    run.set_node_data(&change.node.id, format!("pool of {}", change.node.host))?;
                }
            }
            Ok(run.set_data(run.candidate()?.len())?)
        })
        .open()
        .unwrap();
    assert!(handle.read().is_empty() && handle.read().generation() == 0 && handle.last_outcome().is_none());
    expect(&replace(&handle, &[("b", "[::1]:2"), ("a", "10.0.0.1:1")]), Verdict::Applied, "2 nodes");
    let mut cached = handle.cached();
    assert_eq!(cached.nodes().len(), 2);
    {
        let nodes = handle.read();
        assert_eq!((nodes.generation(), nodes.len(), **nodes.data().unwrap()), (1, 2, 2));
        assert_eq!(nodes.iter().map(|node| node.id()).collect::<Vec<_>>(), ["a", "b"]);
        let b = nodes.find("b").unwrap();
        assert_eq!((b.host(), b.port(), b.label("zone"), b.label("x")), ("::1", 2, Some("z"), None));
        assert_eq!(b.labels().collect::<Vec<_>>(), [("zone", "z")]);
        assert_eq!(**b.data().unwrap(), "pool of ::1");
        assert!(nodes.find("c").is_none() && nodes.get(2).is_none());
    }
    let old = handle.snapshot();
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Applied, "1 removed");
    assert_eq!((old.len(), cached.nodes().len(), cached.nodes().generation()), (2, 1, 2));
    assert_eq!(**handle.read().find("a").unwrap().data().unwrap(), "pool of 10.0.0.1", "it is inherited");
    assert_eq!(handle.last_outcome().unwrap().run, 2);
}

#[test]
fn nodes_are_announced_and_withdrawn() {
    let handle = builder::<(), ()>().open().unwrap();
    expect(&wait(&handle, handle.announce("a", "10.0.0.1:1", Some("boot-7")).unwrap()), Verdict::Applied, "");
    expect(&wait(&handle, handle.announce("a", "10.0.0.2:1", None).unwrap()), Verdict::Applied, "");
    assert_eq!(handle.read().find("a").unwrap().label("incarnation"), Some("boot-7"));
    assert_eq!(handle.withdraw("b").unwrap_err().errno(), libc::ENOENT);
    assert_eq!(handle.announce("b", "nowhere", None).unwrap_err().errno(), libc::EINVAL);
    assert!(!handle.replace("[{").unwrap_err().to_string().is_empty());
}

#[test]
fn errors_and_panics_arrive_in_words() {
    type Script = fn(&Run<()>) -> Result<(), safestart::BoxError>;
    fn fine(_: &Run<()>) -> Result<(), safestart::BoxError> {
        Ok(())
    }
    let script = Arc::new(Mutex::new((fine as Script, fine as Script)));
    let (one, other) = (script.clone(), script.clone());
    let handle = builder::<(), ()>()
        .prepare(move |run| {
            let part = one.lock().unwrap().0;
            part(run)
        })
        .restart(move |run| {
            let part = other.lock().unwrap().1;
            part(run)
        })
        .open()
        .unwrap();
    script.lock().unwrap().0 = |_| Err("no route to riak-2 – ä".into());
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Failed, "prepare failed: no route to riak-2 – ä");
    script.lock().unwrap().0 = |_| Err(Error::from_raw_os_error(libc::EHOSTUNREACH).into());
    assert_eq!(replace(&handle, &[("a", "10.0.0.1:1")]).errno, libc::EHOSTUNREACH);
    script.lock().unwrap().0 = |_| panic!("this panic belongs to the test");
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Failed, "it panicked");
    *script.lock().unwrap() = (fine, |_| Err("no such unit".into()));
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Failed, "restart failed: no such unit");
    script.lock().unwrap().1 = |run| Ok(run.set_status(7)?);
    assert_eq!(wait(&handle, handle.request().unwrap()).status, 7);
}

#[test]
fn a_rejected_node_is_left_out_and_force_lifts_a_guard_rail() {
    let handle =
        builder::<(), ()>().set("max_shrink", "50%").prepare(|run| Ok(run.reject("x", "not this one").or(Err("no x"))?)).open().unwrap();
    expect(&replace(&handle, &[("a", "10.0.0.1:1"), ("b", "10.0.0.2:1"), ("c", "10.0.0.3:1"), ("x", "10.0.0.4:1")]), Verdict::Applied, "");
    let (state, why) = handle.state("x").unwrap();
    assert!(state == NodeState::Quarantined && why.contains("not this one"), "{state:?} {why}");
    expect(&replace(&handle, &[("x", "10.0.0.4:1")]), Verdict::Refused, "SAFESTART_FORCE");
    let handle = builder::<(), ()>().set("max_shrink", "50%").open().unwrap();
    replace(&handle, &[("a", "10.0.0.1:1"), ("b", "10.0.0.2:1"), ("c", "10.0.0.3:1")]);
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Refused, "SAFESTART_FORCE");
    let options = RequestOptions { force: true, urgent: true, reason: Some("they are gone") };
    expect(&wait(&handle, handle.request_with(options).unwrap()), Verdict::Applied, "");
}

#[test]
fn reports_make_nodes_proven_or_failing() {
    let handle = builder::<(), ()>().open().unwrap();
    replace(&handle, &[("a", "10.0.0.1:1")]);
    let refused = Error::from_raw_os_error(libc::ECONNREFUSED);
    let late = Error::new(ErrorKind::TimedOut, "late");
    for (report, wanted, words) in
        [(Ok(()), NodeState::Proven, ""), (Err(&refused), NodeState::Failing, "refused"), (Err(&late), NodeState::Failing, "timed out")]
    {
        handle.read().find("a").unwrap().report(report);
        let (state, why) = handle.state("a").unwrap();
        assert!(state == wanted && why.contains(words), "{state:?} {why}");
    }
    assert_eq!(handle.status().unwrap()["generation"], 1);
    assert!(handle.metrics().unwrap().contains("safestart_generation{"));
}

#[test]
fn what_may_be_sent() {
    fn is_send_and_sync<X: Send + Sync>() {}
    is_send_and_sync::<Safestart<String>>();
    is_send_and_sync::<Snapshot<String>>();
    is_send_and_sync::<Run<String>>();
    // A Guard is not Send: see the example at its type, which must not compile.
    let _: fn(Guard<'_, String>) = |_| ();
}

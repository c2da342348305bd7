// SPDX-License-Identifier: LGPL-2.1-or-later
//! Data, waits, the end, and forks.
use crate::common::*;
use safestart::{Safestart, Verdict};
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn pools() -> (Arc<AtomicUsize>, Safestart<Pool>) {
    let alive = Arc::<AtomicUsize>::default();
    let count = alive.clone();
    (alive, builder().prepare(move |run| attach(run, &count)).open().unwrap())
}

#[test]
fn data_is_dropped_once_and_not_before() {
    let (alive, handle) = pools();
    let left = || alive.load(Ordering::SeqCst);
    replace(&handle, &[("a", "10.0.0.1:1"), ("b", "10.0.0.2:1")]);
    let held = handle.snapshot();
    for i in 0..200 {
        expect(&replace(&handle, &[("a", &format!("10.0.1.{i}:1")), ("b", "10.0.0.2:1")]), Verdict::Applied, "");
    }
    until("all others are dropped", || left() == 3);
    assert_eq!(held.find("a").unwrap().data().unwrap().0.load(Ordering::SeqCst), 3);
    drop(held);
    until("the held one is dropped", || left() == 2);
    let (last, kept) = (handle.snapshot(), handle.read().find("b").unwrap().data().unwrap().clone());
    handle.close().unwrap();
    assert_eq!((left(), last.len()), (2, 2), "a snapshot outlives the handle");
    drop(last);
    assert_eq!(left(), 1, "and an Arc the snapshot");
    drop(kept);
    assert_eq!(left(), 0);
}

#[test]
fn readers_on_many_threads_see_whole_generations() {
    let (alive, handle) = pools();
    replace(&handle, &[("a", "10.0.0.1:1"), ("b", "10.0.0.2:1")]);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut newest, mut cached) = ([0; 3], handle.cached());
                while !end.load(Ordering::SeqCst) {
                    for (way, nodes) in [&*handle.read(), &**cached.nodes(), &*handle.snapshot()].into_iter().enumerate() {
                        assert!(nodes.generation() >= newest[way], "generations go backwards");
                        newest[way] = nodes.generation();
                        assert!(nodes.iter().all(|node| Arc::ptr_eq(&node.data().unwrap().0, &alive)));
                    }
                }
            });
        }
        for i in 0..200 {
            let outcome = replace(&handle, &[("a", &format!("10.0.1.{i}:1")), ("b", "10.0.0.2:1")]);
            assert!(handle.read().generation() >= outcome.generation);
        }
        end.store(true, Ordering::SeqCst);
    });
    drop(handle);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_changed_nodes_object_may_be_kept_and_that_of_a_failed_run_is_dropped() {
    let alive = Arc::<AtomicUsize>::default();
    let (count, fail) = (alive.clone(), Arc::new(AtomicBool::new(false)));
    let failing = fail.clone();
    let handle = builder::<Pool, ()>()
        .prepare(move |run| {
            for change in run.changes()? {
                let kept = change.was.and_then(|was| was.data);
                run.set_node_data(&change.node.id, kept.unwrap_or_else(|| Arc::new(Pool::new(&count))))?;
            }
            if failing.load(Ordering::SeqCst) {
                Err("no".into())
            } else {
                Ok(())
            }
        })
        .open()
        .unwrap();
    for i in 0..20 {
        expect(&replace(&handle, &[("a", &format!("10.0.0.{i}:1"))]), Verdict::Applied, "");
        assert_eq!(alive.load(Ordering::SeqCst), 1);
    }
    fail.store(true, Ordering::SeqCst);
    expect(&replace(&handle, &[("a", "10.0.0.1:1"), ("b", "10.0.0.2:1")]), Verdict::Failed, "no");
    until("that of b is dropped", || alive.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_future_waits_without_a_thread_and_may_be_dropped() {
    let handle = builder::<(), ()>().set("debounce", "1h").set("max_delay", "1h").open().unwrap();
    let ticket = handle.request().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut waits: Vec<_> = (0..500).map(|_| Box::pin(handle.outcome(ticket))).collect();
    assert!(waits.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_pending()));
    let mut never = Box::pin(handle.outcome(safestart::Ticket(ticket.0 + 9)));
    let Poll::Ready(Err(error)) = never.as_mut().poll(&mut context) else { panic!("it was never issued") };
    assert_eq!(error.errno(), libc::EINVAL);
    waits.truncate(1);
    assert_eq!(handle.wait(ticket, Some(Duration::ZERO)).unwrap_err().errno(), libc::ETIMEDOUT);
    handle.shutdown();
    let Poll::Ready(Ok(outcome)) = waits[0].as_mut().poll(&mut context) else { panic!("shutdown answers") };
    expect(&outcome, Verdict::Cancelled, "");
    assert_eq!(handle.request().unwrap_err().errno(), libc::ECANCELED);
}

#[test]
fn prepare_is_told_of_its_deadline() {
    let hang = Arc::new(AtomicBool::new(true));
    let hanging = hang.clone();
    let (say, told) = mpsc::channel();
    let say = Mutex::new(say);
    let handle = builder::<(), ()>()
        .set("run_timeout", "50ms")
        .prepare(move |run| {
            if hanging.load(Ordering::SeqCst) {
                until("it is cancelled", || run.is_cancelled());
                say.lock().unwrap().send(()).unwrap();
            }
            Ok(())
        })
        .open()
        .unwrap();
    // On a busy machine the deadline may pass before prepare has begun.
    until("prepare is told", || {
        expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::TimedOut, "`prepare`");
        told.recv_timeout(Duration::from_millis(100)).is_ok()
    });
    hang.store(false, Ordering::SeqCst);
    until("it is applied", || replace(&handle, &[("a", "10.0.0.1:1")]).verdict == Verdict::Applied);
}

#[test]
fn close_waits_for_no_prepare_and_the_run_is_over_then() {
    let (give, runs) = mpsc::channel();
    let give = Mutex::new(give);
    let handle =
        builder::<Pool, ()>().set("run_timeout", "1h").prepare_later(move |run| give.lock().unwrap().send(run).unwrap()).open().unwrap();
    handle.replace(&document(&[("a", "10.0.0.1:1")])).unwrap();
    let run = runs.recv().unwrap();
    let alive = Arc::<AtomicUsize>::default();
    run.set_node_data("a", Pool::new(&alive)).unwrap();
    handle.close().unwrap();
    assert!(run.is_cancelled());
    let mut cancelled = Box::pin(run.cancelled());
    assert!(cancelled.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(run.set_node_data("a", Pool::new(&alive)).unwrap_err().errno(), libc::ESTALE);
    run.finish(Ok(()));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_run_that_is_held_is_told_of_its_deadline() {
    let (give, runs) = mpsc::channel();
    let give = Mutex::new(give);
    let handle =
        builder::<(), ()>().set("run_timeout", "50ms").prepare_later(move |run| give.lock().unwrap().send(run).unwrap()).open().unwrap();
    let mut run = None;
    // On a busy machine the deadline may pass before prepare has begun.
    while run.is_none() {
        expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::TimedOut, "`prepare`");
        run = runs.recv_timeout(Duration::from_millis(100)).ok();
    }
    let cancelled = Mutex::new(Box::pin(run.as_ref().unwrap().cancelled()));
    let look = || cancelled.lock().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    until("the future ends", look);
}

#[test]
fn a_run_that_is_dropped_has_failed() {
    let handle = builder::<(), ()>().prepare_later(drop).open().unwrap();
    expect(&replace(&handle, &[("a", "10.0.0.1:1")]), Verdict::Failed, "dropped without finish()");
}

#[test]
fn the_handle_may_be_dropped_by_what_it_calls() {
    let slot = Arc::new(Mutex::new(None::<Safestart<()>>));
    let (own, (say, done)) = (slot.clone(), mpsc::channel());
    let say = Mutex::new(say);
    let handle = builder()
        .on_outcome(move |_| {
            drop(own.lock().unwrap().take());
            say.lock().unwrap().send(()).unwrap();
        })
        .open()
        .unwrap();
    let held = slot.lock().unwrap().insert(handle).replace(&document(&[("a", "10.0.0.1:1")]));
    held.unwrap();
    done.recv().unwrap();
}

#[test]
fn events_may_be_taken_by_the_application() {
    let handle = builder::<(), ()>().prepare(|_| Ok(())).without_thread().open().unwrap();
    let ticket = handle.replace(&document(&[("a", "10.0.0.1:1")])).unwrap();
    let mut descriptor = libc::pollfd { fd: handle.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    while handle.wait(ticket, Some(Duration::ZERO)).is_err() {
        assert_eq!(unsafe { libc::poll(&mut descriptor, 1, 60000) }, 1);
        assert!(handle.take_events());
    }
    handle.shutdown();
    until("the end", || !handle.take_events());
}

#[cfg(feature = "tokio")]
#[tokio::test(flavor = "multi_thread")]
async fn tokio_drives_it() {
    let handle = Arc::new(
        builder::<Pool, ()>()
            .without_thread()
            .prepare_later(|run| {
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    let result = attach(&run, &Arc::default());
                    run.finish(result);
                });
            })
            .open()
            .unwrap(),
    );
    let driven = handle.clone();
    let driver = tokio::spawn(async move { driven.drive().await });
    for i in 0..50 {
        let ticket = handle.replace(&document(&[("a", &format!("10.0.0.{i}:1"))])).unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(60), handle.outcome(ticket)).await.unwrap().unwrap();
        expect(&outcome, Verdict::Applied, "");
    }
    handle.ready().await.unwrap();
    let never = handle.request().unwrap();
    drop(tokio::time::timeout(Duration::ZERO, handle.outcome(never)).await);
    handle.shutdown();
    driver.await.unwrap().unwrap();
}

#[test]
fn a_forked_child_goes_on_with_data_of_its_own() {
    let (alive, mut handle) = pools();
    replace(&handle, &[("a", "10.0.0.1:1")]);
    let child = unsafe { libc::fork() };
    if child == 0 {
        // Only what is safe after a fork: no assertion that prints.
        let mut fine = || -> Option<()> {
            handle.after_fork().ok()?;
            let outcome = handle.wait(handle.request().ok()?, Some(Duration::from_secs(60))).ok()?;
            let own = handle.read().find("a")?.data()?.0.load(Ordering::SeqCst) == 2;
            (own && outcome.result().is_ok()).then_some(())
        };
        let code = if fine().is_some() { 0 } else { 1 };
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    expect(&replace(&handle, &[("a", "10.0.0.2:1")]), Verdict::Applied, "");
    drop(handle);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_child_that_does_not_go_on_may_drop_the_handle() {
    let (_, handle) = pools();
    replace(&handle, &[("a", "10.0.0.1:1")]);
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(handle);
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    expect(&replace(&handle, &[("a", "10.0.0.2:1")]), Verdict::Applied, ""); // the parent is not affected
}

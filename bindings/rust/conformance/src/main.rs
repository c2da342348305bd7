// SPDX-License-Identifier: LGPL-2.1-or-later
//! The Rust program that bindings/conformance drives: a command a line on standard input, an answer a line on standard output.
mod application;

use application::{Application, Connection, Set};
use safestart::{Error, RequestOptions, Safestart, Ticket};
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io::BufRead;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

type Handle = Safestart<Connection, Set>;

/// The smallest runtime there is: a task is a thread that parks.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn until<R>(future: impl Future<Output = R>, end: Option<Instant>) -> Option<R> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

fn put(id: &Value, answer: Result<Value, Error>) {
    let mut answer = answer.unwrap_or_else(|error| json!({"error": -error.errno(), "message": error.to_string()}));
    answer["id"] = id.clone();
    println!("{answer}");
}

fn text<'a>(command: &'a Value, name: &str) -> &'a str {
    command[name].as_str().unwrap_or("")
}

/// Cancelled is dropped: the future is, when its time has come.
fn outcome(handle: &Handle, command: &Value) -> Result<Value, Error> {
    let begun = Instant::now();
    let after = |name: &str| command[name].as_i64().filter(|ms| *ms >= 0).map(|ms| begun + Duration::from_millis(ms as u64));
    let (timeout, cancel) = (after("timeout_ms"), after("cancel_after_ms"));
    let end = match (timeout, cancel) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let Some(result) = until(handle.outcome(Ticket(command["ticket"].as_u64().unwrap_or(0))), end) else {
        return Ok(match cancel {
            Some(cancel) if Some(cancel) == end => json!({"cancelled": true, "after_ms": cancel.elapsed().as_millis() as u64}),
            _ => json!({"timeout": true}),
        });
    };
    result.map(|o| {
        json!({"verdict": o.verdict as i32, "code": -o.errno, "words": o.message, "run": o.run, "generation": o.generation,
            "requests": o.requests, "status": o.status})
    })
}

fn burst(handle: &Handle, command: &Value) -> Result<Value, Error> {
    let threads = command["threads"].as_u64().unwrap_or(1);
    let each = command["count"].as_u64().unwrap_or(0) / threads;
    let mut tickets = BTreeSet::new();
    std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| (0..each).filter_map(|_| handle.request().ok()).collect::<BTreeSet<_>>())).collect();
        for one in all {
            tickets.extend(one.join().unwrap().into_iter().map(|ticket| ticket.0));
        }
    });
    Ok(json!({"tickets": tickets}))
}

fn nodes(handle: &Handle) -> Value {
    let nodes = handle.read();
    let all: Vec<Value> = nodes
        .iter()
        .map(|node| {
            json!({"id": node.id(), "host": node.host(), "port": node.port(), "labels": node.labels().collect::<BTreeMap<_, _>>(),
                "data": node.data().map(|connection| connection.number)})
        })
        .collect();
    json!({"generation": nodes.generation(), "nodes": all})
}

fn read(handle: &Handle, times: u64) -> Value {
    let own = AtomicU64::new(1);
    let mut cached = handle.cached();
    let mut sum = 0;
    let begun = Instant::now();
    for _ in 0..times {
        sum += std::hint::black_box(cached.nodes()) as *const _ as usize & 1;
    }
    let middle = Instant::now();
    for _ in 0..times {
        sum += std::hint::black_box(own.load(Ordering::Acquire)) as usize;
    }
    let end = Instant::now();
    std::hint::black_box(sum);
    let each = |duration: Duration| duration.as_nanos() as f64 / times as f64;
    json!({"ns": each(middle - begun), "own_ns": each(end - middle)})
}

/// What a child answers, which opens nothing new.
fn child(handle: &mut Handle) -> Value {
    if let Err(error) = handle.after_fork() {
        return json!({"error": error.to_string()});
    }
    let verdict = handle.request().and_then(|ticket| handle.wait(ticket, Some(Duration::from_secs(20))));
    let nodes = handle.read();
    json!({"generation": nodes.generation(), "verdict": verdict.map_or(-1, |outcome| outcome.verdict as i32),
        "data": nodes.iter().all(|node| node.data().is_some_and(|connection| connection.process == std::process::id()))})
}

fn fork(handle: &mut Handle, app: &Application, command: &Value) -> Result<Value, Error> {
    if command["when"] == "prepare" {
        app.hold.store(true, Ordering::SeqCst);
        handle.announce("fork", "10.0.0.99:1", None)?;
        while !app.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (mut here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
    let process = unsafe { libc::fork() };
    if process == 0 {
        app.hold.store(false, Ordering::SeqCst);
        let _ = std::io::Write::write_all(&mut there, child(handle).to_string().as_bytes());
        unsafe { libc::_exit(0) };
    }
    drop(there);
    let mut said = String::new();
    let _ = std::io::Read::read_to_string(&mut here, &mut said);
    unsafe { libc::waitpid(process, std::ptr::null_mut(), 0) };
    app.hold.store(false, Ordering::SeqCst);
    Ok(json!({"child": serde_json::from_str::<Value>(&said).unwrap_or(Value::Null)}))
}

fn open(app: &Arc<Application>, command: &Value) -> Result<Handle, Error> {
    let mut builder = Safestart::builder();
    for (key, value) in command["settings"].as_object().into_iter().flatten() {
        builder = builder.set(key, value.as_str().unwrap_or(""));
    }
    let (one, other) = (app.clone(), app.clone());
    builder.prepare(move |run| one.prepare(run)).restart(move |run| other.restart(run)).open()
}

fn act(handle: &Arc<Handle>, app: &Application, command: &Value) -> Result<Value, Error> {
    let ticket = |ticket: Ticket| json!({"ticket": ticket.0});
    match text(command, "do") {
        "replace" => handle.replace(text(command, "json")).map(ticket),
        "announce" => handle.announce(text(command, "node"), text(command, "address"), command["incarnation"].as_str()).map(ticket),
        "withdraw" => handle.withdraw(text(command, "node")).map(ticket),
        "request" => {
            let flag = |name: &str| command[name].as_bool().unwrap_or(false);
            let options = RequestOptions { force: flag("force"), urgent: flag("urgent"), reason: command["reason"].as_str() };
            handle.request_with(options).map(ticket)
        }
        "outcome" => {
            let (handle, command) = (handle.clone(), command.clone());
            std::thread::spawn(move || {
                let answer = outcome(&handle, &command);
                drop(handle); // before the driver may ask to close
                put(&command["id"], answer);
            });
            Ok(Value::Null)
        }
        "burst" => burst(handle, command),
        "nodes" => Ok(nodes(handle)),
        "report" => {
            let error = std::io::Error::from_raw_os_error(-command["code"].as_i64().unwrap_or(0) as i32);
            let fine = error.raw_os_error() == Some(0);
            handle.read().find(text(command, "node")).unwrap().report(if fine { Ok(()) } else { Err(&error) });
            Ok(json!({}))
        }
        "state" => handle.state(text(command, "node")).map(|(state, why)| json!({"state": state as i32, "why": why})),
        "status" => handle.status().map(|status| json!({"status": status})),
        "metrics" => handle.metrics().map(|text| json!({"text": text})),
        "read" => Ok(read(handle, command["times"].as_u64().unwrap_or(1))),
        "later" => {
            app.later.store(true, Ordering::SeqCst);
            Ok(json!({}))
        }
        "shutdown" => {
            handle.shutdown();
            Ok(json!({}))
        }
        unknown => panic!("{unknown}: no such command"),
    }
}

fn close(handle: &mut Option<Arc<Handle>>) -> Result<Value, Error> {
    let begun = Instant::now();
    let handle = Arc::into_inner(handle.take().unwrap()).expect("a wait is under way");
    handle.close().map(|()| json!({"ms": begun.elapsed().as_millis() as u64}))
}

fn main() {
    application::log();
    let app = Arc::new(Application::default());
    let beating = app.clone();
    std::thread::spawn(move || beating.beat());
    let mut handle: Option<Arc<Handle>> = None;
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = match text(&command, "do") {
            "hello" => {
                Ok(json!({"language": "Rust", "version": env!("CARGO_PKG_RUST_VERSION"), "library": safestart::version(), "forks": true}))
            }
            "open" => open(&app, &command).map(|opened| {
                handle = Some(Arc::new(opened));
                json!({})
            }),
            "script" => {
                app.script(text(&command, "prepare"), text(&command, "restart"));
                Ok(json!({}))
            }
            "counts" => Ok(app.counts()),
            "fork" => fork(Arc::get_mut(handle.as_mut().unwrap()).expect("a wait is under way"), &app, &command),
            "close" => close(&mut handle),
            "end" => match text(&command, "how") {
                "exit" => std::process::exit(3),
                "throw" => panic!("thrown"),
                _ => return, // both: it is dropped
            },
            _ => act(handle.as_ref().expect("a handle"), &app, &command),
        };
        if !matches!(answer, Ok(Value::Null)) {
            put(&command["id"], answer);
        }
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! An HTTP server that answers from Redis nodes: which ones there are, safestart tells it, driven by a task of tokio. Nodes come, go
//! and die under load, and no request fails.
mod redis;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use redis::Pool;
use safestart::{BoxError, ChangeKind, Run, Safestart};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Error;
use std::sync::Arc;
use tokio::signal::unix::{signal, SignalKind};

/// Gives each new node a pool that has answered once. A node that does not answer is left out and retried.
async fn prepare(run: &Run<Pool>) -> Result<(), BoxError> {
    for change in run.changes()?.iter().filter(|change| change.kind != ChangeKind::Removed) {
        let pool = Pool::new(&change.node.host, change.node.port);
        match pool.ask(&["PING"]).await {
            Ok(_) => run.set_node_data(&change.node.id, pool)?,
            Err(error) => run.reject(&change.node.id, &error.to_string())?,
        }
    }
    Ok(())
}

/// Asks the node that has the key, and the next one if that does not answer.
async fn answer(State(handle): State<Arc<Safestart<Pool>>>, uri: Uri) -> Result<String, (StatusCode, String)> {
    let nodes = handle.snapshot(); // owned: it is held over an await
    let mut hasher = DefaultHasher::new();
    uri.path().hash(&mut hasher);
    let first = hasher.finish() as usize % nodes.len().max(1);
    let mut failure = Error::other("there are no nodes");
    for index in 0..nodes.len() {
        let Some(node) = nodes.get((first + index) % nodes.len()) else { break };
        let Some(pool) = node.data() else { continue };
        let said = pool.ask(&["INCR", uri.path()]).await;
        node.report(said.as_ref().map(|_| ()));
        match said {
            Ok(said) => return Ok(format!("{}: {said}\n", node.id())),
            Err(error) => failure = error,
        }
    }
    Err((StatusCode::SERVICE_UNAVAILABLE, failure.to_string()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut address = "127.0.0.1:8080".to_string();
    let mut builder = Safestart::builder().without_thread().prepare_later(|run| {
        tokio::spawn(async move {
            let cancelled = run.cancelled();
            let result = tokio::select! {
                result = prepare(&run) => result,
                () = cancelled => Err("it took too long".into()),
            };
            run.finish(result);
        });
    });
    let mut arguments = std::env::args().skip(1);
    while let (Some(option), Some(value)) = (arguments.next(), arguments.next()) {
        match (option.as_str(), value.split_once('=')) {
            ("--listen", _) => address = value,
            ("--set", Some((key, value))) => builder = builder.set(key, value),
            _ => return Err("usage: server [--listen ADDRESS] [--set KEY=VALUE]...".into()),
        }
    }
    let handle = Arc::new(builder.open()?);
    let driven = handle.clone();
    let driver = tokio::spawn(async move { driven.drive().await });
    handle.ready().await?;
    let mut end = signal(SignalKind::terminate())?;
    let server = axum::Router::new().fallback(answer).with_state(handle.clone());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    axum::serve(listener, server)
        .with_graceful_shutdown(async move {
            end.recv().await;
        })
        .await?;
    handle.shutdown();
    driver.await??;
    Ok(())
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Connections to one Redis: as much of a client as this server needs.

use std::io::{Error, ErrorKind, Result};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

type Connection = BufStream<TcpStream>;

/// Its idle connections are closed when it is dropped: when no request uses it any more.
pub struct Pool {
    host: String,
    port: u16,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub fn new(host: &str, port: u16) -> Self {
        Pool { host: host.into(), port, idle: Mutex::default() }
    }

    /// Sends a command whose answer is one line.
    pub async fn ask(&self, command: &[&str]) -> Result<String> {
        let (connection, said) = timeout(Duration::from_secs(2), self.exchange(command)).await??;
        self.idle.lock().unwrap().push(connection);
        match said.strip_prefix('-') {
            Some(failed) => Err(Error::other(failed.to_string())),
            None => Ok(said.trim_start_matches([':', '+']).into()),
        }
    }

    async fn exchange(&self, command: &[&str]) -> Result<(Connection, String)> {
        let idle = self.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => BufStream::new(TcpStream::connect((self.host.as_str(), self.port)).await?),
        };
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        connection.write_all(text.as_bytes()).await?;
        connection.flush().await?;
        let mut said = String::new();
        connection.read_line(&mut said).await?;
        if said.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok((connection, said.trim_end().into()))
    }
}

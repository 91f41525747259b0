//! The event stream as a browser takes it: chunks to events, and every byte kept.

use super::get;
use crate::support::PATIENCE;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// A viewer.
pub struct Stream {
    socket: TcpStream,
    wire: Vec<u8>,
    /// The text of the stream that has not been taken yet.
    text: Vec<u8>,
    /// All of it.
    pub seen: Vec<u8>,
}

impl Stream {
    /// Opens the stream; panics if it is refused.
    pub async fn open(at: SocketAddr) -> Self {
        let (head, stream) = Self::try_open(at).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        stream
    }

    /// Opens the stream; answers the head as well.
    pub async fn try_open(at: SocketAddr) -> (String, Self) {
        let mut socket = TcpStream::connect(at).await.unwrap();
        socket.write_all(format!("GET /api/stream HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).await.unwrap();
        let mut wire = Vec::new();
        let end = loop {
            if let Some(end) = wire.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut wire)).await.expect("a head").unwrap();
            assert!(read > 0, "closed within the head: {}", String::from_utf8_lossy(&wire));
        };
        let head = String::from_utf8_lossy(&wire[..end]).to_lowercase().replacen("http", "HTTP", 1);
        (head, Self { socket, wire: wire[end..].to_vec(), text: Vec::new(), seen: Vec::new() })
    }

    /// The next event; `None`: the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                    let frame: Vec<u8> = self.text.drain(..end + 2).collect();
                    let frame = String::from_utf8(frame).unwrap();
                    let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                    assert!(line("id: ").is_some_and(|id| !id.is_empty()), "{frame}");
                    let data = serde_json::from_str(line("data: ").unwrap()).unwrap();
                    return Some(Event { name: line("event: ").unwrap().to_owned(), data });
                }
                if !self.dechunk() {
                    match self.socket.read_buf(&mut self.wire).await {
                        Ok(0) | Err(_) => return None,
                        Ok(_) => {}
                    }
                }
            }
        })
        .await
        .expect("an event, or the end of the stream")
    }

    /// Takes one chunk off the wire, if there is a whole one.
    fn dechunk(&mut self) -> bool {
        let Some(line) = self.wire.windows(2).position(|two| two == b"\r\n") else { return false };
        let length = usize::from_str_radix(std::str::from_utf8(&self.wire[..line]).unwrap(), 16).unwrap();
        let (from, to) = (line + 2, line + 2 + length);
        if length == 0 || self.wire.len() < to + 2 {
            return false;
        }
        self.text.extend_from_slice(&self.wire[from..to]);
        self.seen.extend_from_slice(&self.wire[from..to]);
        self.wire.drain(..to + 2);
        true
    }

    /// Reads on until an event is what is looked for; answers what was found in it.
    pub async fn find<T>(&mut self, what: &str, look: impl Fn(&Event) -> Option<T>) -> T {
        let finding = async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before: {what}"));
                if let Some(found) = look(&event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, finding).await.unwrap_or_else(|_| panic!("not seen in the stream: {what}"))
    }

    /// Reads on until this section, of the snapshot or by itself, is what is looked for.
    pub async fn section<T>(&mut self, name: &str, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        self.find(what, |event| match event.name.as_str() {
            "snapshot" => look(&event.data[name]),
            own if own == name => look(&event.data),
            _ => None,
        })
        .await
    }
}

/// What a path answers, as JSON.
pub async fn json(at: SocketAddr, path: &str) -> Value {
    let answer = get(at, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json", "{path}");
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.body))
}

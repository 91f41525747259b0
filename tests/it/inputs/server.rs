//! A web server that answers as its script says, well or badly, and remembers what it was asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How an answer goes on after its text.
#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    /// The connection is closed.
    Close,
    /// Nothing more comes.
    Silence,
    /// This piece comes again and again, as fast as it is taken.
    Endless(&'static str),
    /// This piece comes again and again, after a pause each.
    Drip(&'static str, Duration),
}

/// Text of an answer, and what follows.
pub type Answer = (Vec<u8>, Then);

pub struct Server {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// On this address, at this port or any. `script`: path to answer.
    pub async fn start(ip: IpAddr, port: u16, script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, port)).await.expect("a port");
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (seen, script) = (heads.clone(), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script) = (seen.clone(), script.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &seen, &*script).await;
                });
            }
        });
        Self { address, heads, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of the requests so far; a connection without one counts, as an empty text.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Closes its door: nobody listens there any more.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    script: &(impl Fn(&str) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let at = {
        let mut seen = seen.lock().unwrap();
        seen.push(String::new());
        seen.len() - 1
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        if !head[0].is_ascii_uppercase() {
            // TLS, say: no web server waits for more of it.
            let _ = stream.read(&mut [0; 4096]).await?;
            return stream.write_all(&bare("400 Bad Request", "").0).await;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap()[at] = head;
    let (text, then) = script(&path);
    stream.write_all(&text).await?;
    match then {
        Then::Close => stream.shutdown().await,
        // Until the other side has had enough.
        Then::Silence => stream.read(&mut [0; 16]).await.map(drop),
        Then::Endless(piece) => loop {
            stream.write_all(piece.as_bytes()).await?;
        },
        Then::Drip(piece, pause) => {
            let mut beat = tokio::time::interval(pause);
            loop {
                beat.tick().await;
                stream.write_all(piece.as_bytes()).await?;
            }
        }
    }
}

/// A good answer with this body.
pub fn whole(headers: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    ([head.as_bytes(), body].concat(), Then::Close)
}

/// An answer without a body.
pub fn bare(status: &str, headers: &str) -> Answer {
    (format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}\r\n").into_bytes(), Then::Close)
}

/// A redirect.
pub fn to(location: &str) -> Answer {
    bare("302 Found", &format!("Location: {location}\r\n"))
}

//! The TCP side: a listener and streams that can be frozen, cut or taken down as a stopped, killed or restarted process would be.
//! In: switches of the caller. Out: an `axum` listener whose connections stall or end at once.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Shared by the listener, all streams and the handle.
pub struct Wire {
    frozen: watch::Sender<bool>,
    stalled: Mutex<Vec<Waker>>,
    connections: Mutex<CancellationToken>,
    up: watch::Sender<bool>,
    listening: watch::Sender<bool>,
    is_frozen: AtomicBool,
}

impl Wire {
    pub(crate) fn new() -> Arc<Wire> {
        Arc::new(Wire {
            frozen: watch::Sender::new(false),
            stalled: Mutex::default(),
            connections: Mutex::new(CancellationToken::new()),
            up: watch::Sender::new(true),
            listening: watch::Sender::new(true),
            is_frozen: AtomicBool::new(false),
        })
    }

    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.is_frozen.store(frozen, Ordering::SeqCst);
        self.frozen.send_replace(frozen);
        for waker in std::mem::take(&mut *self.stalled.lock().unwrap_or_else(PoisonError::into_inner)) {
            waker.wake();
        }
    }

    /// Returns at once unless frozen, else when thawed.
    pub(crate) async fn thawed(&self) {
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    pub(crate) fn cut_all(&self) {
        let mut token = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *token).cancel();
    }

    /// Closes the port, or opens it again; returns when that has happened.
    pub(crate) async fn set_up(&self, up: bool) {
        self.up.send_replace(up);
        let _ = self.listening.subscribe().wait_for(|now| *now == up).await;
    }

    /// As `set_up(false)` without waiting, for use from within a run.
    pub(crate) fn go_down(&self) {
        self.up.send_replace(false);
    }

    fn stalls(&self, context: &Context<'_>) -> bool {
        if !self.is_frozen.load(Ordering::SeqCst) {
            return false;
        }
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).push(context.waker().clone());
        // Asked again after registering, or a thaw between the two would be missed.
        self.is_frozen.load(Ordering::SeqCst)
    }
}

/// Accepts connections while the server is up and not frozen; binds the same port again after a time down.
pub struct Door {
    wire: Arc<Wire>,
    listener: Option<TcpListener>,
    address: SocketAddr,
}

impl Door {
    /// Refuses an address that others than this machine could reach.
    pub(crate) fn new(listener: TcpListener, wire: Arc<Wire>) -> io::Result<Door> {
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a stand-in listens on loopback only, not on {address}"),
            ));
        }
        Ok(Door { wire, listener: Some(listener), address })
    }
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let mut up = self.wire.up.subscribe();
        loop {
            if !*up.borrow_and_update() {
                self.listener = None;
                self.wire.listening.send_replace(false);
                let _ = up.wait_for(|up| *up).await;
            }
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => match TcpListener::bind(self.address).await {
                    Ok(listener) => listener,
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "stand-in cannot open its port again yet");
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            let listener = self.listener.insert(listener);
            self.wire.listening.send_replace(true);
            self.wire.thawed().await;
            tokio::select! {
                _ = up.changed() => {}
                accepted = TcpListener::accept(listener) => if let Ok((stream, peer)) = accepted {
                    let _ = stream.set_nodelay(true);
                    let token = self.wire.connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let cut = Box::pin(token.clone().cancelled_owned());
                    return (Line { stream, token, cut, wire: self.wire.clone(), end_seen: false }, peer);
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// One connection.
pub struct Line {
    stream: TcpStream,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    wire: Arc<Wire>,
    end_seen: bool,
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(reset()));
        }
        if self.wire.stalls(context) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let ended = matches!(read, Poll::Ready(Err(_))) || (read.is_ready() && buffer.filled().len() == before);
        // A client that hangs up right after its request is served all the same; the HTTP library would drop the
        // request if it saw the end before the handler has run.
        if ended && !self.end_seen {
            self.end_seen = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.token.is_cancelled() {
            return Poll::Ready(Err(reset()));
        }
        if self.wire.stalls(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

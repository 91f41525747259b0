//! Connections: so many at a time, each with limits on what it may send and how long it may take.
//! In: a listener. Out: requests for the routes; all of it ends soon after it is told to.

use super::guard::Guard;
use super::live::Live;
use super::patient::Patient;
use super::seats::{Seat, Seats, noted};
use super::{Controls, Source, routes};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one side may ask of the other.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; for a further one, another goes that is not being answered; if all are, it is told 503.
    pub connections: usize,
    /// Viewers of the event stream at a time; further ones are told 503, and when to come again.
    pub viewers: usize,
    /// Between two looks at what they are sent.
    pub pace: Duration,
    /// Changes that one of them may lag behind before it gets a fresh picture.
    pub lag: usize,
    /// A request's head must be there in this time, counted from when the one before was answered.
    pub head: Duration,
    /// A write must get on in this time.
    pub write: Duration,
    /// What was asked before the end is answered in this time.
    pub goodbye: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            viewers: 64,
            pace: Duration::from_millis(250),
            lag: 64,
            head: Duration::from_secs(10),
            write: Duration::from_secs(10),
            goodbye: Duration::from_millis(500),
        }
    }
}

/// Bytes of a request's head; the HTTP library takes no less than 8 KiB.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// After an accept that fails for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The address at which a connection came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local(pub SocketAddr);

/// Answers until told to stop; comes back when no connection is left.
pub async fn serve(
    listener: TcpListener,
    guard: Guard,
    source: Arc<dyn Source>,
    controls: Arc<dyn Controls>,
    limits: Limits,
    stop: CancellationToken,
) {
    let live = Arc::new(Live::new(source, limits, stop.clone()));
    let showing = live.clone();
    let showing = tokio::spawn(async move { showing.run().await });
    let router = routes::router(guard, live, controls);
    let seats = Seats::new(limits.connections);
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(seat) = seats.take(peer.ip()) else {
            let _ = stream.try_write(TOO_MANY);
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(connection(stream, router, seat, limits, stop));
    }
    drop(listener);
    open.close();
    open.wait().await;
    // It was told to stop as the connections were.
    let _ = showing.await;
}

async fn connection(stream: TcpStream, router: Router, seat: Arc<Seat>, limits: Limits, stop: CancellationToken) {
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(noted(router, &seat).layer(Extension(Local(local))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES);
    let talking = http.serve_connection(TokioIo::new(Patient::new(stream, limits.write)), service);
    tokio::pin!(talking);
    tokio::select! {
        // How a connection ends concerns nobody here.
        _ = talking.as_mut() => return,
        () = seat.leave.cancelled() => return,
        () = stop.cancelled() => {}
    }
    talking.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.goodbye, talking).await;
}

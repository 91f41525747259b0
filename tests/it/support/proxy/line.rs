//! One connection through the proxy.
//! In: two sockets, the proxy's orders. Out: bytes moved, late, in part or not at all.

use super::{Cut, Fault, State, Then, Way, lock};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

struct Line {
    number: u64,
    state: Arc<State>,
    /// So many more bytes of the answer, then this; `None`: stranded.
    answer: Mutex<Option<(usize, Option<Cut>)>>,
    end: watch::Sender<Option<Cut>>,
}

/// Carries a client's bytes to the server and back until one of them ends, or the proxy ends it.
pub(super) async fn carry(client: TcpStream, number: u64, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(state.target).await else { return drop(client.set_zero_linger()) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut cut_all, end) = (state.cut_all.subscribe(), watch::Sender::new(None));
    let mut ended = end.subscribe();
    let line = Line { number, state, answer: Mutex::default(), end };
    let ((from_client, mut to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    let (there, back) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let moving = async {
        tokio::join!(
            read(from_client, there.0),
            read(from_server, back.0),
            line.write(Way::ToServer, &mut to_server, there.1),
            line.write(Way::ToClient, &mut to_client, back.1),
        )
    };
    let how = tokio::select! {
        _ = moving => None,
        how = ended.wait_for(Option::is_some) => how.ok().and_then(|how| *how),
        how = cut_all.wait_for(|(below, _)| *below > number) => how.ok().map(|how| how.1),
    };
    // The server's side always ends in order, so that it works through whatever has reached it.
    if how == Some(Cut::Reset) {
        let _ = AsRef::<TcpStream>::as_ref(&to_client).set_zero_linger();
        // Dropped, it would say FIN first.
        to_client.forget();
    }
}

/// When it came, and what; empty for the end.
type Piece = (Instant, Vec<u8>);

/// Always reads, as a sender's peer in the kernel does.
async fn read(mut from: OwnedReadHalf, pieces: mpsc::UnboundedSender<Piece>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let _ = pieces.send((Instant::now(), buffer[..read].to_vec()));
        if read == 0 {
            return;
        }
    }
}

impl Line {
    async fn write(&self, way: Way, to: &mut OwnedWriteHalf, mut pieces: mpsc::UnboundedReceiver<Piece>) {
        while let Some((came, mut piece)) = pieces.recv().await {
            self.state.turn_a_bit(way, &mut piece);
            let then = if way == Way::ToServer { self.trapped(&piece) } else { None };
            if let Some(Then::LoseRequest(cut)) = then {
                return self.stop(Some(cut)).await;
            }
            // Set before the request goes out: the answer may be quick.
            match then {
                Some(Then::CutAnswer(bytes, cut)) => *lock(&self.answer) = Some((bytes, Some(cut))),
                Some(Then::Strand(bytes)) => *lock(&self.answer) = Some((bytes, None)),
                _ => {}
            }
            let (bytes, then) = self.limited(way, piece.len());
            let pass = bytes > 0 || piece.is_empty();
            if pass && !self.deliver(way, to, came, &piece[..bytes]).await {
                return;
            }
            if let Some(cut) = then {
                return self.stop(cut).await;
            }
        }
    }

    /// Ends the connection, or only everything on it.
    async fn stop(&self, cut: Option<Cut>) {
        self.state.sprung.fetch_add(1, SeqCst);
        if cut.is_some() {
            self.end.send_replace(cut);
        }
        std::future::pending::<()>().await;
    }

    fn trapped(&self, piece: &[u8]) -> Option<Then> {
        let mut traps = lock(&self.state.traps);
        let holds = |needle: &[u8]| piece.windows(needle.len()).any(|window| window == needle);
        let at = traps.iter().position(|(needle, _)| holds(needle))?;
        Some(traps.remove(at).1)
    }

    /// How much of these bytes may pass, and what follows.
    fn limited(&self, way: Way, bytes: usize) -> (usize, Option<Option<Cut>>) {
        if way == Way::ToClient
            && let Some((left, then)) = &mut *lock(&self.answer)
        {
            let pass = bytes.min(*left);
            *left -= pass;
            return (pass, (pass < bytes || *left == 0 && pass > 0).then_some(*then));
        }
        let mut after = lock(&self.state.cut_after);
        match &mut *after {
            Some((at, left, cut)) if *at == way && bytes > 0 => {
                let (pass, cut) = (bytes.min(*left), *cut);
                *left -= pass;
                if *left > 0 {
                    return (pass, None);
                }
                *after = None;
                (pass, Some(Some(cut)))
            }
            _ => (bytes, None),
        }
    }

    /// False once nothing more can go this way. Nothing to deliver is the end.
    async fn deliver(&self, way: Way, to: &mut OwnedWriteHalf, came: Instant, piece: &[u8]) -> bool {
        let (mut faults, mut stranded) = (self.state.faults.subscribe(), self.state.stranded_below.subscribe());
        let mut rest = piece;
        loop {
            if *stranded.borrow_and_update() > self.number {
                return std::future::pending().await;
            }
            let fault = faults.borrow_and_update()[way as usize];
            let until = match fault {
                Fault::Pass => None,
                Fault::Latency(late) => Some(came + late).filter(|due| *due > Instant::now()),
                Fault::Throttle(rate) => {
                    let share = rest.len().min(rate.div_ceil(20));
                    Some(Instant::now() + Duration::from_secs_f64(share as f64 / rate as f64))
                }
                Fault::Stall => Some(Instant::now() + Duration::from_secs(3600)),
                Fault::Swallow => {
                    self.state.swallowed.fetch_add(rest.len() as u64, SeqCst);
                    // With a gap in it this direction is of no use ever again; TCP never shows one.
                    return std::future::pending().await;
                }
            };
            let share = match (fault, until) {
                (Fault::Throttle(rate), _) => rest.len().min(rate.div_ceil(20)),
                (_, None) => rest.len(),
                (_, Some(_)) => 0,
            };
            if piece.is_empty() && (until.is_none() || matches!(fault, Fault::Throttle(_))) {
                let _ = to.shutdown().await;
                return false;
            }
            if to.write_all(&rest[..share]).await.is_err() {
                return false;
            }
            self.state.moved[way as usize].fetch_add(share as u64, SeqCst);
            rest = &rest[share..];
            let Some(until) = until else { return true };
            tokio::select! {
                () = sleep_until(until) => {}
                _ = faults.changed() => {}
                _ = stranded.changed() => {}
            }
            if rest.is_empty() && !piece.is_empty() {
                return true;
            }
        }
    }
}

//! A TCP proxy that does to connections what networks do to them: slow, silent, cut in the middle, gone in one direction.
//! In: a server's address, and orders while it runs. Out: an address in front of it, and counts to wait for.
//!
//! ```text
//!   client ──▶ reader ──[due]──▶ writer ──▶ server      each direction obeys the fault that holds when bytes are due
//!   client ◀── writer ◀──[due]── reader ◀── server      a stranded connection stays open and moves nothing ever again
//! ```

// By path, because this file is one of several crates' tests.
#[path = "proxy/line.rs"]
mod line;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What happens to bytes of one direction, on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// Each arrives so much later.
    Latency(Duration),
    /// So many a second.
    Throttle(usize),
    /// Kept until the fault is over.
    Stall,
    /// Taken and dropped; the direction stays dead on a connection that this has happened to.
    Swallow,
}

/// How a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// RST.
    Reset,
    /// FIN.
    Finish,
}

/// What becomes of the request that holds the bytes which a test waits for, or of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The request does not arrive; the connection is cut.
    LoseRequest(Cut),
    /// The request arrives; of its answer so many bytes do, then the connection is cut.
    CutAnswer(usize, Cut),
    /// The request arrives; of its answer so many bytes do, and nothing moves on this connection ever again.
    Strand(usize),
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Nobody listens.
    Closed,
    /// They are taken, and nothing ever moves on them.
    Deaf,
}

/// The proxy; its connections end with it.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    _door: AbortOnDropHandle<()>,
}

struct State {
    target: SocketAddr,
    faults: watch::Sender<[Fault; 2]>,
    door: watch::Sender<Door>,
    /// What the door has become.
    stands: watch::Sender<Door>,
    accepted: AtomicU64,
    /// Connections of a lower number than this are stranded.
    stranded_below: watch::Sender<u64>,
    moved: [AtomicU64; 2],
    swallowed: AtomicU64,
    sprung: AtomicU64,
    traps: Mutex<Vec<(Vec<u8>, Then)>>,
    cut_after: Mutex<Option<(Way, usize, Cut)>>,
    cut_all: watch::Sender<(u64, Cut)>,
    /// On a connection's direction: one bit is turned in so many-th byte, so often.
    damage: Mutex<Option<(Way, usize, usize)>>,
    damaged: AtomicU64,
    until_damage: AtomicU64,
}

impl FaultProxy {
    /// Stands in front of this address, on a free port of 127.0.0.1.
    pub async fn before(target: SocketAddr) -> Self {
        let (address, waiting) = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let state = Arc::new(State {
            target,
            faults: watch::Sender::new([Fault::Pass; 2]),
            door: watch::Sender::new(Door::Open),
            stands: watch::Sender::new(Door::Closed),
            accepted: AtomicU64::new(0),
            stranded_below: watch::Sender::new(0),
            moved: Default::default(),
            swallowed: AtomicU64::new(0),
            sprung: AtomicU64::new(0),
            traps: Mutex::default(),
            cut_after: Mutex::default(),
            cut_all: watch::Sender::new((0, Cut::Finish)),
            damage: Mutex::default(),
            damaged: AtomicU64::new(0),
            until_damage: AtomicU64::new(0),
        });
        let door = AbortOnDropHandle::new(tokio::spawn(keep_door(address, waiting, state.clone())));
        let proxy = Self { address, state, _door: door };
        proxy.door(Door::Open).await;
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One direction from now on.
    pub fn set(&self, way: Way, fault: Fault) {
        self.state.faults.send_modify(|faults| faults[way as usize] = fault);
    }

    /// Both directions from now on.
    pub fn both(&self, fault: Fault) {
        self.state.faults.send_replace([fault; 2]);
    }

    /// New connections from now on; returns when it is so.
    pub async fn door(&self, door: Door) {
        self.state.door.send_replace(door);
        let _ = self.state.stands.subscribe().wait_for(|stands| *stands == door).await;
    }

    /// Half-open: the connections of now stay open, and nothing moves on them ever again.
    pub fn strand(&self) {
        self.state.stranded_below.send_replace(self.connections());
    }

    /// Ends all connections of now.
    pub fn cut(&self, cut: Cut) {
        self.state.cut_all.send_replace((self.connections(), cut));
    }

    /// Cuts the connection that moves the last of so many bytes of a direction, counted from now.
    pub fn cut_after(&self, way: Way, bytes: usize, cut: Cut) {
        *lock(&self.state.cut_after) = Some((way, bytes, cut));
    }

    /// Turns a bit of the byte at this place of a direction, counted from now and then from the last one, so often.
    pub fn damage(&self, way: Way, place: usize, often: usize) {
        *lock(&self.state.damage) = Some((way, place, often));
        self.state.until_damage.store(place as u64, SeqCst);
    }

    /// How many bits have been turned.
    pub fn damaged(&self) -> u64 {
        self.state.damaged.load(SeqCst)
    }

    /// Waits for a request with these bytes, once. Several wait for one each, in the order in which they were set.
    pub fn on(&self, request: &str, then: Then) {
        lock(&self.state.traps).push((request.as_bytes().to_vec(), then));
    }

    /// Everything as it was; what has been stranded stays so.
    pub async fn heal(&self) {
        lock(&self.state.traps).clear();
        *lock(&self.state.cut_after) = None;
        *lock(&self.state.damage) = None;
        self.both(Fault::Pass);
        self.door(Door::Open).await;
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u64 {
        self.state.accepted.load(SeqCst)
    }

    /// Bytes that a direction has delivered so far.
    pub fn moved(&self, way: Way) -> u64 {
        self.state.moved[way as usize].load(SeqCst)
    }

    /// Bytes that [`Fault::Swallow`] has dropped so far.
    pub fn swallowed(&self) -> u64 {
        self.state.swallowed.load(SeqCst)
    }

    /// How often [`FaultProxy::on`] and [`FaultProxy::cut_after`] have struck.
    pub fn sprung(&self) -> u64 {
        self.state.sprung.load(SeqCst)
    }
}

impl State {
    fn turn_a_bit(&self, way: Way, piece: &mut [u8]) {
        let mut damage = lock(&self.damage);
        let Some((_, place, often)) = damage.as_mut().filter(|(at, ..)| *at == way) else { return };
        let left = self.until_damage.load(SeqCst) as usize;
        let Some(byte) = piece.get_mut(left) else {
            return self.until_damage.store((left - piece.len()) as u64, SeqCst);
        };
        *byte ^= 1;
        self.damaged.fetch_add(1, SeqCst);
        self.until_damage.store(*place as u64, SeqCst);
        *often -= 1;
        if *often == 0 {
            *damage = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A port that is ours and refuses connections.
fn bound(address: SocketAddr) -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a port");
    (socket.local_addr().expect("an address"), socket)
}

async fn keep_door(address: SocketAddr, waiting: TcpSocket, state: Arc<State>) {
    let (mut door, mut lines) = (state.door.subscribe(), tokio::task::JoinSet::new());
    let (mut waiting, mut listener) = (Some(waiting), None::<TcpListener>);
    loop {
        let now = *door.borrow_and_update();
        if now == Door::Closed && listener.take().is_some() {
            waiting = Some(bound(address).1);
        } else if let (true, Some(socket)) = (now != Door::Closed, waiting.take()) {
            listener = Some(socket.listen(1024).expect("a listener"));
        }
        state.stands.send_replace(now);
        let Some(open) = &listener else {
            let _ = door.changed().await;
            continue;
        };
        tokio::select! {
            biased;
            _ = door.changed() => {}
            Ok((client, _)) = open.accept() => {
                let number = state.accepted.fetch_add(1, SeqCst);
                if now == Door::Deaf {
                    lines.spawn(async move { std::future::pending::<()>().await; drop(client) });
                } else {
                    lines.spawn(line::carry(client, number, state.clone()));
                }
            }
        }
    }
}

//! Who sits on which connection: when all seats are taken, one that is not being answered is given up for the next.
//! In: connections as they come, their requests as they begin and end. Out: a seat, or none; connections that have to go.
//!
//! ```text
//!   taken ──▶ waiting for a head ──whole head──▶ being answered ──last byte──▶ waiting for a head
//!                 └── all seats taken, and its address waits on the most: the oldest goes
//! ```
//! Whoever sends half a request, or nothing, costs a seat only as long as nobody needs it.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio_util::sync::CancellationToken;

/// All seats.
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: u64,
    occupants: BTreeMap<u64, Occupant>,
}

struct Occupant {
    peer: IpAddr,
    /// Its turn in the order of waiting; `None`: it is being answered.
    waits: Option<u64>,
    leave: CancellationToken,
}

/// One seat; given back when the last one who holds it is gone.
pub(super) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    /// Somebody else needs it.
    pub leave: CancellationToken,
}

/// As long as it is kept, the connection is being answered.
struct Answering(Arc<Seat>);

impl Seats {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for this address; `None`: all are taken by connections that are being answered.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Seat>> {
        let mut taken = self.taken();
        if taken.occupants.len() >= self.most {
            let oldest = taken.least_needed()?;
            taken.occupants.remove(&oldest)?.leave.cancel();
        }
        let (id, leave) = (taken.turn(), CancellationToken::new());
        taken.occupants.insert(id, Occupant { peer, waits: Some(id), leave: leave.clone() });
        drop(taken);
        Some(Arc::new(Seat { seats: self.clone(), id, leave }))
    }
}

impl Taken {
    fn turn(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Of the address that waits on most connections, the one that has waited longest.
    fn least_needed(&self) -> Option<u64> {
        let mut waiting: BTreeMap<IpAddr, (usize, u64, u64)> = BTreeMap::new();
        for (id, occupant) in &self.occupants {
            let Some(since) = occupant.waits else { continue };
            let (count, oldest, which) = waiting.entry(occupant.peer).or_insert((0, since, *id));
            *count += 1;
            if since < *oldest {
                (*oldest, *which) = (since, *id);
            }
        }
        let most = waiting.into_values().max_by_key(|(count, oldest, _)| (*count, u64::MAX - *oldest));
        most.map(|(_, _, which)| which)
    }
}

impl Seat {
    fn answering(self: &Arc<Self>) -> Answering {
        if let Some(occupant) = self.seats.taken().occupants.get_mut(&self.id) {
            occupant.waits = None;
        }
        Answering(self.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut taken = self.0.seats.taken();
        let turn = taken.turn();
        if let Some(occupant) = taken.occupants.get_mut(&self.0.id) {
            occupant.waits = Some(turn);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().occupants.remove(&self.id);
    }
}

/// The same routes for a connection on this seat, which counts as being answered until the last byte of an answer is on its way.
pub(super) fn noted(router: Router, seat: &Arc<Seat>) -> Router {
    let seat = Arc::downgrade(seat);
    router.layer(from_fn(move |request: Request, next: Next| {
        let answering = seat.upgrade().map(|seat| seat.answering());
        async move { next.run(request).await.map(|body| Body::new(Noted { body, _answering: answering })) }
    }))
}

/// An answer's body.
struct Noted {
    body: Body,
    _answering: Option<Answering>,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn who_is_answered_stays_and_of_the_others_the_greediest_gives_up_its_oldest() {
        let seats = Seats::new(4);
        let take = |peer| seats.take(peer);
        let (answered, far) = (take(NEAR).unwrap(), take(FAR).unwrap());
        let busy = answered.answering();
        let (first, second) = (take(NEAR).unwrap(), take(NEAR).unwrap());
        let _third = take(NEAR).unwrap();
        assert!(first.leave.is_cancelled(), "two of its address wait");
        assert!(!answered.leave.is_cancelled() && !far.leave.is_cancelled() && !second.leave.is_cancelled());
        // One that has gone by itself makes room, and its seat counts no more although somebody held on to it.
        drop((first, far));
        let _fourth = take(NEAR).unwrap();
        assert!(!second.leave.is_cancelled(), "there was room");
        // What has been answered waits behind those that waited before.
        drop(busy);
        let _fifth = take(NEAR).unwrap();
        assert!(second.leave.is_cancelled() && !answered.leave.is_cancelled());
    }

    #[test]
    fn where_all_are_answered_nobody_gives_way() {
        let seats = Seats::new(2);
        let both = [seats.take(NEAR).unwrap(), seats.take(FAR).unwrap()];
        let busy: Vec<Answering> = both.iter().map(Seat::answering).collect();
        assert!(seats.take(NEAR).is_none());
        drop(busy);
        assert!(seats.take(NEAR).is_some() && both[0].leave.is_cancelled());
    }
}

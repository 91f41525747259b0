//! From a submitted prompt to its history entry, whatever the socket and the server do meanwhile.
//! In: socket events, history, queue. Out: the entry of the ended run, or the failure of one that is lost.
//!
//! ```text
//!              socket heard ┌───────┐ silent for `silence`, or every `poll` without a first socket
//!                  ┌────────│waiting│────────┐
//!                  ▼        └───────┘        ▼
//!   says it is over ──▶ settling ──▶ history: there ──▶ entry
//!   socket closed ────▶ reconnect once, then poll;        not there ──▶ waiting
//!                       queue, then history:  queued or running ──▶ waiting
//!                                             nowhere, twice ──▶ lost
//!                                             no answer for too long ──▶ failure
//! ```

use super::api::{Api, Entry, Place};
use super::http::{ENGINE, Trouble};
use super::message::Message;
use super::progress::Tracker;
use super::settings::Timing;
use super::socket::{Event, Socket};
use crate::failure::{Failure, Reason};
use failpoints::{Point, reach};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

pub(super) struct Follow<'a, 'g> {
    api: &'a Api,
    timing: &'a Timing,
    id: &'a str,
    tracker: &'a mut Tracker<'g>,
    socket: Option<Socket>,
    reconnected: bool,
    /// No socket tells of the run, or only a second one that has told nothing yet.
    blind: bool,
    /// Why the prompt may never have been queued, if the submission was not answered as it should.
    doubt: Option<Failure>,
    /// Nobody was there when it was submitted.
    in_vain: bool,
    /// Whether it was last seen behind others in the queue, where it does nothing.
    waits: bool,
    /// The server let go of our socket, or nobody listened where it was: it may have ended.
    dropped: bool,
    nowhere: u32,
    settling_until: Option<Instant>,
    look_at: Instant,
    locate_at: Instant,
    /// The last sign of life, by whatever way.
    alive: Instant,
    /// Since when every answer was a refusal or not ComfyUI's.
    useless_since: Option<Instant>,
}

impl<'a, 'g> Follow<'a, 'g> {
    pub fn new(
        api: &'a Api,
        timing: &'a Timing,
        id: &'a str,
        tracker: &'a mut Tracker<'g>,
        socket: Option<Socket>,
        doubt: Option<Failure>,
    ) -> Self {
        let now = Instant::now();
        // In doubt, or without a socket, the queue is asked at once.
        let sure = doubt.is_none() && socket.is_some();
        Self {
            api,
            timing,
            id,
            tracker,
            // Without a first socket there is none to connect again: a new one would be the first.
            reconnected: false,
            blind: socket.is_none(),
            socket,
            nowhere: 0,
            settling_until: None,
            look_at: if sure { now + timing.silence } else { now },
            locate_at: if sure { now + timing.locate } else { now },
            in_vain: doubt.as_ref().is_some_and(|doubt| doubt.reason == Reason::ServiceDown),
            doubt,
            waits: false,
            dropped: false,
            alive: now,
            useless_since: None,
        }
    }

    /// The run may have ended before anybody listened: history is asked first of all.
    pub fn looking_back(mut self) -> Self {
        (self.look_at, self.locate_at) = (self.alive, self.alive);
        self
    }

    /// Dropping this future at any point is harmless: it only asks.
    pub async fn until_ended(mut self) -> Result<Entry, Failure> {
        loop {
            tokio::select! {
                biased;
                event = next(&mut self.socket) => match event {
                    Event::Ours(message) => self.hear(&message),
                    Event::Preview => {
                        self.alive = Instant::now();
                        if let Some(preview) = self.socket.as_ref().and_then(Socket::take_preview) {
                            self.tracker.show(preview);
                        }
                    }
                    Event::Alive => self.alive = Instant::now(),
                    Event::Closed => self.reconnect().await,
                },
                () = sleep_until(self.look_at) => {
                    if let Some(entry) = self.look().await? {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        let now = Instant::now();
        self.alive = now;
        (self.nowhere, self.blind, self.waits) = (0, false, false);
        // Somebody runs it, so it did arrive.
        self.doubt = None;
        self.tracker.take(message);
        self.locate_at = now + self.timing.locate;
        if *message == Message::Over {
            reach(Point::ExecutionOver);
            // `execution_success` may come before the history entry, `executing` without node comes after it.
            self.settling_until = Some(now + self.timing.settle);
            self.look_at = now;
        } else {
            self.look_at = now + self.pause();
        }
    }

    /// Closes the old socket first: when an old one closes, the server unregisters a newer one of the same id.
    async fn reconnect(&mut self) {
        (self.socket, self.blind, self.dropped) = (None, true, true);
        self.tracker.unseen();
        let now = Instant::now();
        (self.look_at, self.locate_at) = (now, now);
        if !std::mem::replace(&mut self.reconnected, true) {
            tracing::debug!(prompt_id = self.id, "the websocket ended in mid-run; connecting once more");
            let (connect, ping) = (self.timing.connect, self.timing.ping);
            // It may well stay silent: from here on history is asked every `poll`.
            self.socket = Socket::open(&self.api.http, self.id, self.id, connect, ping).await.ok();
        }
    }

    fn pause(&self) -> Duration {
        match self.settling_until {
            Some(until) if Instant::now() < until => self.timing.settle_poll,
            _ if self.socket.is_none() || self.reconnected => self.timing.poll,
            _ => self.timing.silence,
        }
    }

    async fn look(&mut self) -> Result<Option<Entry>, Failure> {
        let seen = if Instant::now() >= self.locate_at {
            self.api.locate(self.id).await.map(Some)
        } else {
            self.api.history(self.id).await.map(|entry| entry.map(|entry| Place::Ended(Box::new(entry))))
        };
        let now = Instant::now();
        if seen.is_ok() {
            (self.alive, self.useless_since) = (now, None);
        }
        self.look_at = now + self.pause();
        match seen {
            Ok(Some(Place::Ended(entry))) => return Ok(Some(*entry)),
            Ok(Some(Place::Nowhere)) => return self.missing(now).map(|()| None),
            Ok(Some(place)) => {
                (self.nowhere, self.doubt, self.locate_at) = (0, None, now + self.timing.locate);
                self.waits = matches!(place, Place::Pending(_));
                match place {
                    Place::Pending(ahead) => self.tracker.waiting(ahead, self.blind),
                    Place::Running if self.blind => self.tracker.unseen(),
                    Place::Running | Place::Ended(_) | Place::Nowhere => {}
                }
            }
            Ok(None) => {}
            Err(trouble) => self.troubled(&trouble, now)?,
        }
        Ok(None)
    }

    fn missing(&mut self, now: Instant) -> Result<(), Failure> {
        self.nowhere += 1;
        if self.nowhere < 2 {
            (self.look_at, self.locate_at) = (now + self.timing.second_look, now);
            return Ok(());
        }
        Err(self.lost(Failure::of_host(
            Reason::ServiceUnavailable,
            "ComfyUI no longer knows the run: it was restarted, or somebody deleted the run from its queue",
        )))
    }

    /// The server has ended, or has lost the run. Whether the run is why, nobody knows the first time.
    fn lost(&mut self, failure: Failure) -> Failure {
        let failure = self.doubt.take().unwrap_or(failure);
        // A submission that found nobody there is not why.
        let arrived = self.dropped && !self.waits && !self.in_vain;
        Failure { ended_engine: arrived && failure.hosts_fault, ..failure }
    }

    fn troubled(&mut self, trouble: &Trouble, now: Instant) -> Result<(), Failure> {
        // The next look asks the queue: a server that comes back has forgotten everything.
        self.locate_at = now;
        self.look_at = now + self.timing.poll;
        self.dropped |= matches!(trouble, Trouble::Refused);
        let useless_for = match trouble {
            // Slow or cut off, which a busy server is too.
            Trouble::Silent | Trouble::Broken => {
                self.useless_since = None;
                Duration::ZERO
            }
            _ => now - *self.useless_since.get_or_insert(now),
        };
        if useless_for >= self.timing.refused {
            let failure = trouble.failure(ENGINE, "asking for the run");
            return Err(match trouble {
                Trouble::Refused | Trouble::Status { .. } => self.lost(failure),
                // It may be well, and the way to it is not.
                _ => self.doubt.take().unwrap_or(failure),
            });
        }
        if now - self.alive >= self.timing.unreachable {
            let waited = self.timing.unreachable.as_secs();
            return Err(Failure::of_host(
                Reason::ServiceUnavailable,
                format!("ComfyUI has given no sign of life for {waited} s in mid-run; it hangs: restart it"),
            ));
        }
        Ok(())
    }
}

async fn next(socket: &mut Option<Socket>) -> Event {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

//! One request in the server's hands: it lives on its own until the server is done with it, whoever still waits for it.
//! In: a body and the place for pictures. Out: the answer with its pictures written and not yet sealed.
//!
//! ```text
//!   handed over ──▶ answered ──▶ pictures streamed ───────────────┐
//!        │ stop: a cancel, an interrupt, or nobody waits any more │
//!        ├──▶ chased (see `stop`) until it answers ───────────────┤
//!        │ the connection breaks                                  ▼
//!        └──▶ chased until the server has it no more ──▶ options put back ──▶ the bay is free
//! ```
//!
//! The bay has one place: a server takes one request at a time, and the next is not sent before this one is over.

use super::answer::{Piece, Scanner};
use super::api::Api;
use super::http::{Answer, Body, Trouble};
use super::overrides::Before;
use super::payload::Kind;
use super::stop::{Chase, Ended};
use super::verdict;
use crate::contract::{OutputStore, OutputWriter};
use crate::failure::{Failure, Reason};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// The bytes of a picture that tell its kind and size.
const HEAD: usize = 32;

/// The one place for a request; what is owed to the server's options stays in it.
#[derive(Default)]
pub(super) struct Bay {
    pub owed: Before,
}

/// What others may know and ask of the request that is under way.
#[derive(Clone)]
pub(super) struct Beacon {
    pub id: String,
    /// Asks for its end.
    pub stop: CancellationToken,
    /// It is over.
    pub over: CancellationToken,
}

/// A picture that has arrived whole, and is dropped without a trace unless it is sealed.
pub(super) struct Picture {
    pub writer: Box<dyn OutputWriter>,
    pub head: Vec<u8>,
}

/// How it came back.
pub(super) enum Landing {
    Answered {
        pictures: Vec<Picture>,
        fields: BTreeMap<String, Value>,
    },
    Refused(Answer),
    Lost(Trouble),
    /// The server has ended with it, as far as this tells.
    Ended(Ended),
    /// Ours to blame: the pictures cannot be stored, or are damaged.
    Failed(Failure),
}

pub(super) struct Flight {
    pub api: Arc<Api>,
    pub kind: Kind,
    pub body: Value,
    pub outputs: Arc<dyn OutputStore>,
    pub expects_grid: bool,
    pub before: Before,
    pub bay: OwnedMutexGuard<Bay>,
    pub beacon: Beacon,
    pub knows_ids: Arc<AtomicBool>,
    /// Whether the server was idle just before.
    pub alone: bool,
}

impl Flight {
    /// Sets off; the answer comes through the channel if somebody still waits there.
    pub fn launch(self) -> oneshot::Receiver<Landing> {
        let (landed, landing) = oneshot::channel();
        tokio::spawn(async move {
            // Nobody waits any more: the pictures go with what is dropped.
            let _ = landed.send(self.fly().await);
        });
        landing
    }

    async fn fly(mut self) -> Landing {
        let since = self.alone.then(Instant::now);
        let landing = {
            let mut chase = Chase::new(&self.api, &self.beacon.id, &self.knows_ids, since);
            let fetching = self.fetch();
            tokio::pin!(fetching);
            let landing = tokio::select! {
                biased;
                landing = &mut fetching => landing,
                trouble = self.stopped(&mut chase) => Landing::Lost(trouble),
            };
            match landing {
                Landing::Lost(Trouble::Broken | Trouble::Silent | Trouble::TooLarge | Trouble::Nonsense) => {
                    // The run goes on without its client, and its result is lost.
                    if let Err(trouble) = chase.until_gone().await {
                        tracing::warn!(
                            task = self.beacon.id,
                            ?trouble,
                            "AUTOMATIC1111 may still be at work on a lost run"
                        );
                    }
                    chase.ended.map_or(landing, Landing::Ended)
                }
                landing => landing,
            }
        };
        self.bay.owed = std::mem::take(&mut self.before).restore(&self.api).await;
        self.beacon.over.cancel();
        landing
    }

    /// Waits for the word to stop, then chases the request; its answer is what ends that. Returns when the server is
    /// gone or has been silent for too long.
    async fn stopped(&self, chase: &mut Chase<'_>) -> Trouble {
        self.beacon.stop.cancelled().await;
        let mut alive = Instant::now();
        loop {
            let seen = chase.step().await;
            match seen {
                Ok(_) => alive = Instant::now(),
                Err(Trouble::Refused) => return Trouble::Refused,
                Err(trouble) if alive.elapsed() >= self.api.timing.unreachable => return trouble,
                Err(_) => {}
            }
            chase.pause().await;
        }
    }

    async fn fetch(&self) -> Landing {
        let response = match self.api.http.hand_over(self.kind.path(), &self.body).await {
            Ok(response) => response,
            Err(trouble) => return Landing::Lost(trouble),
        };
        let stalled = self.api.timing.stalled_answer;
        if response.status() != 200 {
            return match timeout(stalled, self.api.http.whole(response)).await.unwrap_or(Err(Trouble::Silent)) {
                Ok(answer) => Landing::Refused(answer),
                Err(trouble) => Landing::Lost(trouble),
            };
        }
        let mut shelf = Shelf::new(self);
        let (mut scanner, mut body) = (Scanner::new(), Body::of(response, stalled));
        loop {
            let part = match body.next().await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(trouble) => return Landing::Lost(trouble),
            };
            let Ok(pieces) = scanner.feed(&part) else { return garbled() };
            for piece in pieces {
                if let Err(failure) = shelf.take(piece).await {
                    return Landing::Failed(failure);
                }
            }
        }
        match scanner.finish() {
            Ok(fields) => Landing::Answered { pictures: shelf.pictures, fields },
            Err(_) => garbled(),
        }
    }
}

fn garbled() -> Landing {
    let what = "the server's answer is cut off, or a picture in it is damaged";
    Landing::Failed(Failure::of_host(Reason::CorruptedData, what))
}

/// Where pictures go as they arrive.
struct Shelf<'a> {
    flight: &'a Flight,
    pictures: Vec<Picture>,
    open: Option<Picture>,
}

impl<'a> Shelf<'a> {
    fn new(flight: &'a Flight) -> Self {
        Self { flight, pictures: Vec::new(), open: None }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        match piece {
            Piece::Data(bytes) => {
                let mut picture = match self.open.take() {
                    Some(picture) => picture,
                    None => begin(self.flight, self.pictures.len(), &bytes).await?,
                };
                picture.writer.write(bytes).await?;
                self.open = Some(picture);
            }
            Piece::End => match self.open.take() {
                Some(picture) => self.pictures.push(picture),
                None => {
                    return Err(Failure::of_host(Reason::CorruptedData, "the server answered with an empty picture"));
                }
            },
        }
        Ok(())
    }
}

async fn begin(flight: &Flight, before: usize, first: &[u8]) -> Result<Picture, Failure> {
    let head: Vec<u8> = first.iter().copied().take(HEAD).collect();
    let (ending, media_type) = verdict::ending(&head).unzip();
    // The grid comes first and is thrown away: the pictures count from 1 all the same.
    let number = before + usize::from(!flight.expects_grid);
    let name = format!("{}-{number}.{}", flight.kind.name(), ending.unwrap_or("bin"));
    let writer = flight.outputs.create(&name, "images", media_type).await?;
    Ok(Picture { writer, head })
}

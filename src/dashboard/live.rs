//! One picture of the agent for all who look: made once, sent to each when it changes.
//! In: the source, looked at a few times a second while somebody looks. Out: snapshots, frames of an event stream.
//!
//! ```text
//!   nobody looks (nothing is made) ──a viewer, a poll──▶ a look each 250 ms ──changed──▶ one frame for all viewers
//!                                                                     └─too slow for the frames: a fresh snapshot
//! ```

use super::connections::Limits;
use super::frame::Frame;
use super::source::Source;
use super::view::{jobs, loops, now_ms, series, stats};
use crate::telemetry::{history, recent};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

/// The stream says that it lives, whatever else it says: a page that hears nothing for 2 s calls what it shows old.
const BEAT: Duration = Duration::from_millis(500);

/// The sections that are sent whole, and how many paces lie between two looks: what always changes a little is looked at less
/// often.
const SECTIONS: [(&str, u32); 8] = [
    ("worker", 1),
    ("slots", 1),
    ("gpus", 4),
    ("queue", 2),
    ("connectors", 4),
    ("loops", 8),
    ("stats", 4),
    ("system", 8),
];

/// The picture.
pub(super) struct Live {
    source: Arc<dyn Source>,
    state: Mutex<State>,
    frames: broadcast::Sender<Arc<Frame>>,
    room: Arc<Semaphore>,
    viewers: usize,
    pace: Duration,
    news: Notify,
    /// Tells the snapshots of this process from those of the one before.
    boot: String,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    sections: [Option<Section>; SECTIONS.len()],
    /// Counts changes.
    generation: u64,
    lines: Numbered,
    ends: Numbered,
    points: Numbered,
    whole: Option<Whole>,
}

/// All of it as one answer, for all who ask within one pace.
struct Whole {
    generation: u64,
    made: Instant,
    json: Bytes,
    packed: Option<Bytes>,
}

struct Section {
    json: Vec<u8>,
    looked: Instant,
}

/// A list that is told as it grows.
#[derive(Default)]
struct Numbered {
    told: u64,
    /// All of it, as of what was told.
    json: Option<Vec<u8>>,
}

/// A place among the viewers, and what it is sent.
pub(super) struct Seat {
    /// What comes first.
    pub snapshot: Arc<Frame>,
    /// What follows.
    pub frames: broadcast::Receiver<Arc<Frame>>,
}

fn bytes_of(value: &impl Serialize) -> Vec<u8> {
    // Only maps with keys that are no texts fail, and there are none.
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

impl Live {
    /// A picture that nobody looks at yet.
    pub fn new(source: Arc<dyn Source>, limits: Limits, stop: CancellationToken) -> Self {
        Self {
            source,
            state: Mutex::default(),
            frames: broadcast::channel(limits.lag).0,
            room: Arc::new(Semaphore::new(limits.viewers)),
            viewers: limits.viewers,
            pace: limits.pace,
            news: Notify::new(),
            boot: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            stop,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is from.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Fires when the streams are to end.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// How many look at the stream.
    pub fn viewers(&self) -> usize {
        self.viewers - self.room.available_permits()
    }

    /// A place among the viewers, if there is one left.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.room.clone().try_acquire_owned().ok()?;
        self.news.notify_one();
        Some(place)
    }

    /// The picture now, and what changes from here on.
    pub fn join(&self) -> Seat {
        self.source.looked_at();
        let mut state = self.lock();
        self.refresh(&mut state);
        let json = self.compose(&mut state);
        Seat { snapshot: Arc::new(self.frame(state.generation, "snapshot", &json)), frames: self.frames.subscribe() }
    }

    /// A tag that changes with the picture, and the picture now, packed or not, for whoever does not know the tag.
    pub fn snapshot(&self, packed: bool, is_known: impl FnOnce(&str) -> bool) -> (String, Option<Bytes>) {
        self.source.looked_at();
        let mut state = self.lock();
        self.refresh(&mut state);
        let generation = state.generation;
        let tag = format!("W/\"{}\"", self.id(generation));
        if is_known(&tag) {
            return (tag, None);
        }
        // However many ask: what leases are renewed by does it once a pace, unless something changed.
        let is_fresh = |whole: &Whole| whole.generation == generation && whole.made.elapsed() < self.pace;
        let mut whole = state.whole.take().filter(is_fresh).unwrap_or_else(|| Whole {
            generation,
            made: Instant::now(),
            json: self.compose(&mut state).into(),
            packed: None,
        });
        let bytes =
            if packed { whole.packed.get_or_insert_with(|| pack(&whole.json)).clone() } else { whole.json.clone() };
        state.whole = Some(whole);
        (tag, Some(bytes))
    }

    /// Looks and sends while there are viewers, until told to stop.
    pub async fn run(&self) {
        let (mut pulse, mut beaten) = (tokio::time::interval(self.pace), Instant::now());
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.news.notified(), if self.viewers() == 0 => {}
                _ = pulse.tick(), if self.viewers() > 0 => {
                    self.source.looked_at();
                    let mut state = self.lock();
                    self.refresh(&mut state);
                    // A pulse that comes a little early must not put the beat off to the next one.
                    if beaten.elapsed() + self.pace / 2 >= BEAT {
                        beaten = Instant::now();
                        self.send(self.frame(state.generation, "beat", &bytes_of(&json!({"now": now_ms()}))));
                    }
                }
            }
        }
    }

    /// Names a moment of the picture, in snapshots' tags and on the stream alike: who gets it by both ways knows which is newer.
    fn id(&self, generation: u64) -> String {
        format!("{}-{generation}", self.boot)
    }

    fn frame(&self, generation: u64, event: &str, json: &[u8]) -> Frame {
        Frame::new(&self.id(generation), event, json)
    }

    fn send(&self, frame: Frame) {
        // Nobody listens: nothing to send.
        let _ = self.frames.send(Arc::new(frame));
    }

    /// Looks at what is due; what has changed goes to all viewers.
    fn refresh(&self, state: &mut State) {
        // Before the sections: what leaves its slot is in the history by then.
        let ends = history::of_process();
        let (told, newest) = (state.ends.told, ends.newest());
        if newest > told {
            for end in ends.between(told, newest) {
                state.generation += 1;
                self.send(self.frame(state.generation, "job", &bytes_of(&jobs::job(end))));
            }
            state.ends = Numbered { told: newest, json: None };
        }
        for (at, (name, paces)) in SECTIONS.iter().enumerate() {
            if state.sections[at].as_ref().is_some_and(|section| section.looked.elapsed() < self.pace * *paces * 9 / 10)
            {
                continue;
            }
            let (json, looked) = (self.look(name), Instant::now());
            let is_new = state.sections[at].as_ref().is_none_or(|before| before.json != json);
            if is_new {
                state.generation += 1;
                self.send(self.frame(state.generation, name, &json));
            }
            state.sections[at] = Some(Section { json, looked });
        }
        let log = recent::of_process();
        let (told, newest) = (state.lines.told, log.newest());
        if newest > told {
            state.generation += 1;
            self.send(self.frame(state.generation, "log", &bytes_of(&log.between(told, newest))));
            state.lines = Numbered { told: newest, json: None };
        }
        if let Some(ring) = self.source.series().filter(|ring| ring.newest() > state.points.told) {
            state.generation += 1;
            self.send(self.frame(state.generation, "point", &bytes_of(&ring.point())));
            state.points = Numbered { told: ring.newest(), json: None };
        }
    }

    fn look(&self, section: &str) -> Vec<u8> {
        let source = &self.source;
        match section {
            "worker" => bytes_of(&source.worker()),
            "slots" => bytes_of(&source.slots()),
            "gpus" => bytes_of(&source.gpus()),
            "queue" => bytes_of(&source.queue()),
            "connectors" => bytes_of(&source.connectors()),
            "loops" => bytes_of(&loops::section(&source.loops(), |name| source.loop_at(name))),
            "stats" => bytes_of(&stats::section(&history::of_process().tally())),
            _ => bytes_of(&source.system()),
        }
    }

    /// All of it in one object.
    fn compose(&self, state: &mut State) -> Vec<u8> {
        let State { ends, lines, points, .. } = state;
        let ends =
            ends.json.get_or_insert_with(|| bytes_of(&jobs::section(history::of_process().between(0, ends.told))));
        let lines = lines.json.get_or_insert_with(|| bytes_of(&recent::of_process().between(0, lines.told)));
        let points =
            points.json.get_or_insert_with(|| bytes_of(&self.source.series().map(|ring| ring.last(series::POINTS))));
        let head = json!({
            "now": now_ms(), "version": env!("CARGO_PKG_VERSION"), "read_only": self.source.read_only(),
        });
        let mut json = bytes_of(&head);
        json.pop();
        let mut add = |name: &str, part: &[u8]| {
            json.extend_from_slice(format!(",\"{name}\":").as_bytes());
            json.extend_from_slice(part);
        };
        for ((name, _), section) in SECTIONS.iter().zip(&state.sections) {
            add(name, section.as_ref().map_or(b"null", |section| &section.json));
        }
        add("series", points);
        add("jobs", ends);
        add("log", lines);
        json.push(b'}');
        json
    }
}

fn pack(json: &[u8]) -> Bytes {
    let mut packing = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    packing.write_all(json).and_then(|()| packing.finish()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Observed;

    struct Nobody;

    impl Source for Nobody {
        fn observe(&self) -> Observed {
            Observed::default()
        }
    }

    #[test]
    fn many_who_ask_cost_one_picture_until_it_changes() {
        let limits = Limits { pace: Duration::from_secs(3600), ..Limits::default() };
        let live = Live::new(Arc::new(Nobody), limits, CancellationToken::new());
        let ask = |packed| live.snapshot(packed, |_| false).1.unwrap();
        let same = |one: &Bytes, other: &Bytes| one.as_ptr() == other.as_ptr();
        let (plain, packed) = (ask(false), ask(true));
        assert!(same(&plain, &ask(false)) && same(&packed, &ask(true)) && !same(&plain, &packed));
        let (tag, _) = live.snapshot(true, |_| false);
        assert_eq!(live.snapshot(true, |known| known == tag), (tag, None));
        live.lock().generation += 1;
        assert!(!same(&plain, &ask(false)) && !same(&packed, &ask(true)));
    }
}

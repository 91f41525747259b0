//! The questions that are asked of the server about one prompt, and their answers as types.
//! In: a prompt id. Out: where the prompt is, and its history entry once it has ended.
//!
//! Queue first, history second, always: the other order misses a prompt that ends between the two.

use super::features::{Features, Known};
use super::http::{Http, Trouble};
use super::settings::Timing;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a prompt is.
#[derive(Debug)]
pub(super) enum Place {
    Running,
    /// Waiting, behind this many others.
    Pending(usize),
    Ended(Box<Entry>),
    /// In neither queue nor history.
    Nowhere,
}

/// A history entry, without the graph in it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(default, rename = "prompt")]
    submission: Submission,
    /// Node id → kind → items.
    #[serde(default)]
    pub outputs: BTreeMap<String, Value>,
    #[serde(default)]
    pub status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub status_str: String,
    #[serde(default)]
    pub messages: Vec<(String, Value)>,
}

impl Entry {
    /// When it came in, in ms of the server's clock; servers before 0.3.69 do not tell.
    pub fn submitted_at(&self) -> Option<u64> {
        self.submission.create_time
    }

    /// The messages of this name, in their order.
    pub fn messages(&self, name: &'static str) -> impl DoubleEndedIterator<Item = &Value> {
        let all = self.status.iter().flat_map(|status| &status.messages);
        all.filter(move |(event, _)| event == name).map(|(_, data)| data)
    }

    /// The last message of this name.
    pub fn message(&self, name: &'static str) -> Option<&Value> {
        self.messages(name).next_back()
    }
}

/// The server, asked about prompts.
pub(super) struct Api {
    pub http: Http,
    pub known: Known,
    limit: Duration,
    probe: Duration,
}

impl Api {
    pub fn new(http: Http, timing: &Timing) -> Self {
        Self { http, known: Known::default(), limit: timing.request, probe: timing.probe }
    }

    /// What the server can do; `None` if it does not say.
    pub async fn features(&self) -> Option<Arc<Features>> {
        self.known.of(&self.http, self.probe).await.ok()
    }

    pub async fn history(&self, id: &str) -> Result<Option<Entry>, Trouble> {
        let answer = self.http.get(&["history", id], self.limit).await?.success()?;
        Ok(answer.json::<BTreeMap<String, Entry>>()?.remove(id))
    }

    pub async fn locate(&self, id: &str) -> Result<Place, Trouble> {
        let queue: Queue = self.http.get(&["queue"], self.limit).await?.success()?.json()?;
        if queue.queue_running.iter().any(|item| item.id == id) {
            return Ok(Place::Running);
        }
        if let Some(mine) = queue.queue_pending.iter().find(|item| item.id == id) {
            // The answer is a heap's array: its order says nothing, the numbers do.
            let ahead = queue.queue_pending.iter().filter(|item| item.number < mine.number).count();
            return Ok(Place::Pending(ahead + queue.queue_running.len()));
        }
        Ok(match self.history(id).await? {
            Some(entry) => Place::Ended(Box::new(entry)),
            None => Place::Nowhere,
        })
    }

    pub async fn queue_remaining(&self, limit: Duration) -> Result<u64, Trouble> {
        let answer: Value = self.http.get(&["prompt"], limit).await?.success()?.json()?;
        answer.pointer("/exec_info/queue_remaining").and_then(Value::as_u64).ok_or(Trouble::Nonsense)
    }

    /// Cancels by the route that handles waiting and running alike. `false`: this server has no such route.
    pub async fn cancel_job(&self, id: &str) -> Result<bool, Trouble> {
        let answer = self.http.post(&["api", "jobs", id, "cancel"], &json!({}), self.limit).await?;
        if matches!(answer.status, 404 | 405) {
            // Another release than the one that was asked.
            self.known.forget();
            return Ok(false);
        }
        answer.success().map(|_| true)
    }

    /// Takes a waiting prompt out of the queue. The answer never says whether it was there.
    pub async fn delete_pending(&self, id: &str) -> Result<(), Trouble> {
        self.http.post(&["queue"], &json!({ "delete": [id] }), self.limit).await?.success().map(drop)
    }

    /// Interrupts by id. Servers before 0.3.57 ignore the id and stop whatever runs: ask [`Api::locate`] just before.
    pub async fn interrupt(&self, id: &str) -> Result<(), Trouble> {
        self.http.post(&["interrupt"], &json!({ "prompt_id": id }), self.limit).await?.success().map(drop)
    }

    pub async fn free(&self) -> Result<(), Trouble> {
        let body = json!({ "unload_models": true, "free_memory": true });
        self.http.post(&["free"], &body, self.limit).await?.success().map(drop)
    }
}

/// `[number, id, graph, extra_data, output ids …]`, of which the time is kept.
#[derive(Debug, Default)]
struct Submission {
    create_time: Option<u64>,
}

impl<'de> Deserialize<'de> for Submission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Submission;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a submission: a list of number, id, graph and extra data")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Submission, A::Error> {
                list.next_element::<IgnoredAny>()?;
                list.next_element::<IgnoredAny>()?;
                list.next_element::<IgnoredAny>()?;
                let extra: Option<Value> = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Submission { create_time: extra.and_then(|extra| extra.get("create_time")?.as_u64()) })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

#[derive(Deserialize)]
struct Queue {
    queue_running: Vec<Item>,
    queue_pending: Vec<Item>,
}

/// `[number, id, graph, extra_data, output ids …]`, of which the first two are kept: graphs can be megabytes.
struct Item {
    number: f64,
    id: String,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a queue item: a list of number, id and more")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
                let short = |len| serde::de::Error::invalid_length(len, &"number and id");
                let number = list.next_element()?.ok_or_else(|| short(0))?;
                let id = list.next_element()?.ok_or_else(|| short(1))?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Item { number, id })
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

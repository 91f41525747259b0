//! Queue and history of the server, the part that a restart loses.
//! In: accepted prompts and their ends. Out: what `/queue`, `/history` and the job routes show.
//!
//! ```text
//!   POST /prompt --> pending --take--> running --finish--> history (success | error | interrupted)
//!                      |  \              |  \
//!                      |   delete/clear  |   restart
//!                      |    '-> gone     '-----'-> gone
//!                      '-- restart -> gone
//! ```

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::submit::SECRETS;

/// The order number: a counter gives integers, a caller may give fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Counted(i64),
    Given(f64),
}

impl Number {
    fn order(self) -> f64 {
        match self {
            Number::Counted(number) => number as f64,
            Number::Given(number) => number,
        }
    }

    pub(crate) fn json(self) -> Value {
        match self {
            Number::Counted(number) => json!(number),
            Number::Given(number) => json!(number),
        }
    }
}

/// One accepted prompt.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub number: Number,
    pub id: String,
    pub graph: Value,
    /// As shown to everybody; secrets of the newer release are not in it.
    pub extra_data: Value,
    pub outputs: Vec<String>,
    pub client_id: Option<String>,
    pub create_time: u64,
}

impl Item {
    pub(crate) fn json(&self) -> Value {
        json!([
            self.number.json(),
            self.id,
            self.graph,
            self.extra_data,
            self.outputs
        ])
    }
}

/// One ended prompt.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub item: Item,
    pub outputs: Value,
    pub meta: Value,
    pub success: bool,
    pub messages: Vec<(String, Value)>,
}

impl Ended {
    pub(crate) fn status(&self) -> Value {
        json!({"status_str": if self.success { "success" } else { "error" }, "completed": self.success, "messages": self.messages})
    }

    fn json(&self) -> Value {
        json!({"prompt": self.item.json(), "outputs": self.outputs, "status": self.status(), "meta": self.meta})
    }
}

/// History entries in their order; a JSON object of `serde_json` would sort them by id.
pub(crate) struct Entries(Vec<(String, Value)>);

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (id, entry) in &self.0 {
            map.serialize_entry(id, entry)?;
        }
        map.end()
    }
}

const HISTORY_LIMIT: usize = 10_000;

#[derive(Default)]
pub(crate) struct Ledger {
    counter: i64,
    pending: Vec<Item>,
    running: Option<Item>,
    history: Vec<Ended>,
    /// Cancelled when the process this one stands in for would have ended, and this ledger with it.
    life: CancellationToken,
}

impl Ledger {
    /// Refused submissions use up a number too, so this is asked before validation.
    pub(crate) fn next_number(&mut self, front: bool) -> Number {
        let number = self.counter;
        self.counter += 1;
        Number::Counted(if front { -number } else { number })
    }

    pub(crate) fn add(&mut self, item: Item) {
        let at = self
            .pending
            .iter()
            .take_while(|other| other.number.order() <= item.number.order())
            .count();
        self.pending.insert(at, item);
    }

    /// A pending prompt of the same number and id, which makes the real server's queue compare what cannot be compared.
    pub(crate) fn twin_of(&self, item: &Item) -> Option<&Item> {
        self.pending
            .iter()
            .find(|other| other.number.order() == item.number.order() && other.id == item.id)
    }

    pub(crate) fn take(&mut self) -> Option<(Item, CancellationToken)> {
        if self.running.is_some() || self.pending.is_empty() {
            return None;
        }
        let item = self.pending.remove(0);
        self.running = Some(item.clone());
        Some((item, self.life.clone()))
    }

    pub(crate) fn end_life(&self) {
        self.life.cancel();
    }

    /// False if the run belonged to a life that is over: its end goes nowhere.
    pub(crate) fn finish(&mut self, mut ended: Ended, life: &CancellationToken) -> bool {
        if life.is_cancelled() {
            return false;
        }
        self.running = None;
        if let Some(extra_data) = ended.item.extra_data.as_object_mut() {
            extra_data.retain(|key, _| !SECRETS.contains(&key.as_str()));
        }
        if let Some(entry) = self
            .history
            .iter_mut()
            .find(|entry| entry.item.id == ended.item.id)
        {
            *entry = ended;
            return true;
        }
        if self.history.len() == HISTORY_LIMIT {
            self.history.remove(0);
        }
        self.history.push(ended);
        true
    }

    /// Tells whether anything was removed.
    pub(crate) fn delete_pending(&mut self, id: &str) -> bool {
        let found = self.pending.iter().position(|item| item.id == id);
        found.map(|at| self.pending.remove(at)).is_some()
    }

    pub(crate) fn clear_pending(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn remaining(&self) -> usize {
        self.pending.len() + usize::from(self.running.is_some())
    }

    pub(crate) fn running(&self) -> Option<&Item> {
        self.running.as_ref()
    }

    pub(crate) fn pending(&self) -> &[Item] {
        &self.pending
    }

    pub(crate) fn history(&self) -> &[Ended] {
        &self.history
    }

    pub(crate) fn queue_json(&self) -> Value {
        let list =
            |items: &mut dyn Iterator<Item = &Item>| items.map(Item::json).collect::<Vec<_>>();
        json!({"queue_running": list(&mut self.running.iter()), "queue_pending": list(&mut self.pending.iter())})
    }

    pub(crate) fn entry(&self, id: &str) -> Entries {
        Entries(
            self.history
                .iter()
                .filter(|entry| entry.item.id == id)
                .map(|entry| (id.to_owned(), entry.json()))
                .collect(),
        )
    }

    /// Without an offset the newest `max_items`, oldest first; an offset counts from the oldest.
    pub(crate) fn entries(&self, max_items: Option<usize>, offset: Option<usize>) -> Entries {
        let take = max_items.unwrap_or(usize::MAX);
        let skip = offset.unwrap_or_else(|| self.history.len().saturating_sub(take));
        Entries(
            self.history
                .iter()
                .skip(skip)
                .take(take)
                .map(|entry| (entry.item.id.clone(), entry.json()))
                .collect(),
        )
    }

    pub(crate) fn forget(&mut self, id: &str) {
        self.history.retain(|entry| entry.item.id != id);
    }

    pub(crate) fn forget_all(&mut self) {
        self.history.clear();
    }
}

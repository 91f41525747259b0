//! Events of a job: entries of its durable log.
//! In: stream entries as Redis has them. Out: typed kinds and JSON for programs.

use serde_json::{Map, Value};

/// One entry of `job:events:{id}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The stream's id of the entry, `ms-n`.
    pub id: String,
    /// The entry's fields, in order of writing.
    pub fields: Vec<(String, String)>,
}

/// Fields that hold numbers.
const NUMBERS: [&str; 10] =
    ["attempt", "timestamp", "progress", "step", "steps", "retry_count", "due", "stalled", "takeovers", "priority"];

impl Event {
    /// A field's text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// What happened: `job_submitted`, `assigned`, `started`, `progress` …
    pub fn kind(&self) -> &str {
        self.get("type").unwrap_or_default()
    }

    /// The job's final state, if this is its last event.
    pub fn terminal(&self) -> Option<&'static str> {
        match self.kind() {
            "completion" => Some("completed"),
            "failure" => Some("failed"),
            "cancellation" => Some("cancelled"),
            _ => None,
        }
    }

    /// The event as consumers of the channel see it: numbers and truth values as such, the result as JSON.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (name, text) in &self.fields {
            let value = match name.as_str() {
                "result" | "will_retry" | "charged" => serde_json::from_str(text).ok(),
                name if NUMBERS.contains(&name) => {
                    serde_json::from_str::<serde_json::Number>(text).ok().map(Value::Number)
                }
                _ => None,
            };
            object.insert(name.clone(), value.unwrap_or_else(|| Value::String(text.clone())));
        }
        object.insert("id".to_owned(), Value::String(self.id.clone()));
        Value::Object(object)
    }
}

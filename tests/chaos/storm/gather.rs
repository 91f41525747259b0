//! Collects what became of the jobs.
//! In: Redis at the end of a storm. Out: histories, counts of events, and what the indexes still hold.

use super::history::{History, Leftover};
use crate::support::{Queue, RedisServer};
use gpu_worker::protocol::event::Event;
use serde_json::Value;
use std::collections::BTreeMap;

/// One job, and how many of its outputs are where its result says.
pub async fn history(queue: &Queue, id: &str, cancel_asked: bool) -> History {
    let mut job = queue.job(id).await;
    let mut take = |name: &str| job.remove(name).unwrap_or_default();
    let result: Value = serde_json::from_str(&take("result")).unwrap_or_default();
    let urls: Vec<String> = result["outputs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|output| output["url"].as_str().unwrap_or_default().to_owned())
        .collect();
    let (status, end, failure_type) = (take("status"), take("final"), take("failure_type"));
    let outputs = urls.len();
    let missing = urls.into_iter().filter(|url| !is_there(url)).collect();
    let events = queue.events(id).await;
    let kinds = events.iter().map(|event| event.kind().to_owned()).collect();
    let started = events.iter().filter(|event| event.kind() == "started").map(Event::to_json);
    let prompts = started.filter_map(|event| event["service_job_id"].as_str().map(str::to_owned)).collect();
    History { id: id.to_owned(), status, end, failure_type, kinds, prompts, outputs, missing, cancel_asked }
}

fn is_there(url: &str) -> bool {
    let path = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
    path.and_then(|path| std::fs::metadata(path).ok()).is_some_and(|file| file.len() > 0)
}

/// How often each kind of event stands in the histories.
pub fn counts(histories: &[History]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for kind in histories.iter().flat_map(|history| &history.kinds) {
        *counts.entry(kind.clone()).or_default() += 1;
    }
    counts
}

/// Ids that wait, are delayed, leased or held.
pub async fn leftovers(server: &RedisServer) -> Vec<Leftover> {
    let mut found = Vec::new();
    let mut add = |key: &str, ids: Vec<String>| {
        found.extend(ids.into_iter().map(|id| Leftover { key: key.to_owned(), id }));
    };
    for key in ["jobs:pending", "jobs:delayed", "jobs:leases"] {
        add(key, server.run(&["ZRANGE", key, "0", "-1"]).await);
    }
    let keys: Vec<String> = server.run(&["KEYS", "jobs:active:*"]).await;
    for key in keys {
        add(&key, server.run(&["HKEYS", &key]).await);
    }
    let classes: Vec<String> = server.run(&["KEYS", "jobs:class:????????????????"]).await;
    for key in classes {
        add(&key, server.run(&["ZRANGE", &key, "0", "-1"]).await);
    }
    found
}

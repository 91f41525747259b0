//! Whether anybody is there who could take a waiting job.
//! In: the workers' records, now and then. Out: a line when no live worker offers the job's service, and when that changes.

use super::render::{Screen, plain};
use super::session::Session;
use crate::queue::client::{self, WorkerLine};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two looks at first, and later: each reads the records of all workers.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
const AT_FIRST: Duration = Duration::from_secs(60);

/// What was told of a job's service.
pub(super) struct Offer<'a> {
    job: &'a str,
    since: Instant,
    next: Instant,
    told: Option<String>,
}

impl<'a> Offer<'a> {
    pub fn new(job: &'a str) -> Self {
        let now = Instant::now();
        Self { job, since: now, next: now, told: None }
    }

    /// Looks if it is time to, and says what has changed. Not to know is no fault: whoever watches goes on waiting.
    pub async fn look(&mut self, session: &Session, screen: &mut Screen) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + if self.since.elapsed() < AT_FIRST { PAUSES.0 } else { PAUSES.1 };
        let (link, space) = (&session.link, &session.space);
        let Ok(Some(job)) = client::job(link, space, self.job).await else { return };
        let field = |name: &str| job.get(name).map(String::as_str).unwrap_or_default();
        let service = field("service_required");
        if field("status") != "pending" || service.is_empty() {
            return;
        }
        let Ok(workers) = client::workers(link, space).await else { return };
        let line = missing(service, &workers);
        if line == self.told {
            return;
        }
        match &line {
            Some(line) => screen.note(line),
            None => screen.note(&format!("`{}` is offered now", plain(service))),
        }
        self.told = line;
    }
}

/// What to say if no live worker offers the service.
fn missing(service: &str, workers: &[WorkerLine]) -> Option<String> {
    let alive: Vec<_> = workers.iter().filter(|worker| worker.alive).collect();
    let mut offered = BTreeSet::new();
    for worker in &alive {
        let capabilities = worker.record.get("capabilities").map(String::as_str).unwrap_or_default();
        let capabilities: Value = serde_json::from_str(capabilities).unwrap_or_default();
        let services = capabilities["services"].as_array().into_iter().flatten().filter_map(Value::as_str);
        offered.extend(services.map(plain));
    }
    let service = plain(service);
    if offered.contains(&service) {
        return None;
    }
    let there = match offered.into_iter().collect::<Vec<_>>().join(", ") {
        _ if alive.is_empty() => "no worker is there".to_owned(),
        none if none.is_empty() => "no worker that is there offers anything now".to_owned(),
        names => format!("offered are: {names}"),
    };
    Some(format!("no worker offers `{service}`, so the job waits; {there}"))
}

//! A queue on a server of its own, and the hands that work on it: agents, clients, and programs that know nothing of us.

use crate::support::RedisServer;
use gpu_worker::protocol::Space;
use gpu_worker::protocol::claim::{ClaimReply, ClaimRequest, ClaimedJob};
use gpu_worker::protocol::class::Class;
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::operate::Ticked;
use gpu_worker::protocol::outcome::{Completion, FailedAttempt, Settled, Verdict};
use gpu_worker::protocol::submit::{NewJob, QueueLimits, Submitted};
use gpu_worker::queue::claim::{Asked, Claimer, Judgement};
use gpu_worker::queue::client;
use gpu_worker::queue::control::Control;
use gpu_worker::queue::index::index;
use gpu_worker::queue::link::Link;
use gpu_worker::queue::sweep;
use redis::aio::MultiplexedConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longer than any test.
pub const LEASE: u64 = 600_000;

pub struct Scene {
    pub server: RedisServer,
    pub space: Space,
    pub link: Link,
}

impl Scene {
    pub async fn start() -> Self {
        let server = RedisServer::start().await;
        let (space, link) = (server.space(), server.link());
        Self { server, space, link }
    }

    pub fn con(&self) -> MultiplexedConnection {
        self.server.con.clone()
    }

    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.server.run(words).await
    }

    pub async fn hash(&self, id: &str) -> BTreeMap<String, String> {
        self.run(&["HGETALL", &self.space.key(&format!("job:{id}"))]).await
    }

    pub async fn field(&self, id: &str, name: &str) -> Option<String> {
        self.server.hget(&self.space.key(&format!("job:{id}")), name).await
    }

    pub async fn score(&self, key: &str, member: &str) -> Option<f64> {
        self.run(&["ZSCORE", &self.space.key(key), member]).await
    }

    pub async fn members(&self, key: &str) -> Vec<String> {
        self.run(&["ZRANGE", &self.space.key(key), "0", "-1"]).await
    }

    /// The types of a job's events, oldest first.
    pub async fn events(&self, id: &str) -> Vec<String> {
        let events = client::events(&self.link, &self.space, id).await.unwrap();
        events.iter().map(|event| event.kind().to_owned()).collect()
    }

    pub async fn last_event(&self, id: &str) -> serde_json::Value {
        let events = client::events(&self.link, &self.space, id).await.unwrap();
        events.last().expect("it has events").to_json()
    }

    pub async fn now_ms(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.run(&["TIME"]).await;
        seconds * 1000 + micros / 1000
    }

    // What a client does.

    pub async fn submit(&self, id: &str) -> String {
        self.submit_as(job(id, "simulation")).await
    }

    pub async fn submit_as(&self, job: NewJob) -> String {
        match self.space.submit(&mut self.con(), &job, QueueLimits::default()).await.unwrap() {
            Submitted::Accepted { created_at } => created_at,
            other => panic!("{} is not accepted: {other:?}", job.id),
        }
    }

    // What an agent does.

    /// A claim by a worker that serves everything.
    pub async fn claim(&self, worker: &str) -> Option<Claim> {
        self.claim_job(worker, &[]).await.map(|(claim, _)| claim)
    }

    /// A claim by a worker that serves these (none: all).
    pub async fn claim_job(&self, worker: &str, services: &[&str]) -> Option<(Claim, ClaimedJob)> {
        let judge = |definition: &str| {
            let class = Class::parse(definition).expect("a definition");
            let fits = services.is_empty() || class.service().is_none_or(|service| services.contains(&service));
            if fits { Judgement::Fits { service: None } } else { Judgement::Misfit }
        };
        let mut claimer = Claimer::new(worker, Duration::from_millis(LEASE));
        match claimer.ask(&self.link, &self.space, ("", &Control::new("w")), &judge).await.unwrap() {
            Asked::Job(job, token) => Some((claim_of(&job, &token), job)),
            Asked::Nothing { .. } | Asked::Superseded | Asked::Paused => None,
        }
    }

    /// The script alone, with this token, for all classes that exist.
    pub async fn claim_with(&self, token: &str, lease_ms: u64) -> ClaimReply {
        let classes: BTreeMap<String, String> = self.run(&["HGETALL", &self.space.key("jobs:classes")]).await;
        let fitting: String = classes.keys().filter(|class| *class != "_v").map(String::as_str).collect();
        let worker = token.split('|').next().unwrap();
        let request =
            ClaimRequest { token, worker, lease_ms, version: "", force: true, fitting: &fitting, instance: "" };
        self.space.claim(&mut self.con(), &request).await.unwrap()
    }

    /// Submits a job and claims it.
    pub async fn held(&self, id: &str, worker: &str) -> Claim {
        self.submit(id).await;
        self.claim(worker).await.expect("a job")
    }

    pub async fn complete(&self, claim: &Claim) -> Settled {
        self.space.complete(&mut self.con(), claim, &completion()).await.unwrap()
    }

    pub async fn fail(&self, claim: &Claim, verdict: Verdict) -> Settled {
        self.space.fail(&mut self.con(), claim, &failure(verdict)).await.unwrap()
    }

    pub async fn release(&self, claim: &Claim) -> Settled {
        self.space.release(&mut self.con(), claim, false, "the worker is stopping").await.unwrap()
    }

    pub async fn renew(&self, claim: &Claim) -> gpu_worker::protocol::hold::Hold {
        self.space.renew(&mut self.con(), LEASE, std::slice::from_ref(claim)).await.unwrap()[0]
    }

    // What time does.

    pub async fn tick(&self) -> Ticked {
        self.space.tick(&mut self.con(), LEASE, 3, &[]).await.unwrap()
    }

    /// The holder of this job gives no sign of life until its lease has run out, and somebody notices.
    pub async fn stall(&self, id: &str) -> Ticked {
        let _: u64 = self.run(&["ZADD", &self.space.key("jobs:leases"), "XX", "CH", "1", id]).await;
        self.tick().await
    }

    /// The pause of a delayed job is over.
    pub async fn due(&self, id: &str) {
        let _: u64 = self.run(&["ZADD", &self.space.key("jobs:delayed"), "XX", "CH", "1", id]).await;
        self.tick().await;
    }

    // What the reference's programs do, without asking.

    /// Its hub accepts a job: the hash, then the queue.
    pub async fn foreign(&self, id: &str, fields: &[(&str, &str)]) {
        let mut all = BTreeMap::from([
            ("id", id),
            ("service_required", "simulation"),
            ("priority", "50"),
            ("payload", "{}"),
            ("requirements", ""),
            ("customer_id", ""),
            ("created_at", "2026-01-02T03:04:05.678Z"),
            ("status", "pending"),
            ("retry_count", "0"),
            ("max_retries", "3"),
            ("workflow_id", ""),
            ("ctx", ""),
        ]);
        all.extend(fields.iter().copied());
        let key = self.space.key(&format!("job:{id}"));
        let mut words = vec!["HSET", &key];
        words.extend(all.iter().flat_map(|(name, value)| [*name, *value]));
        let _: u64 = self.run(&words).await;
        let priority: f64 = all["priority"].parse().unwrap_or(50.0);
        let score = (priority * 1e15 - 1_767_323_045.0).to_string();
        let _: u64 = self.run(&["ZADD", &self.space.key("jobs:pending"), &score, id]).await;
    }

    pub async fn set(&self, id: &str, fields: &[(&str, &str)]) {
        let key = self.space.key(&format!("job:{id}"));
        let mut words = vec!["HSET", &key];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        let _: u64 = self.run(&words).await;
    }

    /// One of its workers takes a job.
    pub async fn foreign_claim(&self, id: &str, worker: &str) {
        let _: u64 = self.run(&["ZREM", &self.space.key("jobs:pending"), id]).await;
        self.set(id, &[("status", "assigned"), ("worker_id", worker), ("assigned_at", "1767323045.000001")]).await;
    }

    /// Its hub cancels a job.
    pub async fn foreign_cancel(&self, id: &str) {
        self.set(
            id,
            &[("status", "failed"), ("failed_at", "2026-01-02T03:05:00.000Z"), ("error", "Job cancelled by user")],
        )
        .await;
        let _: u64 = self.run(&["ZREM", &self.space.key("jobs:pending"), id]).await;
    }

    // What keeps the queue in order.

    pub async fn index(&self, ids: &[&str]) -> usize {
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        index(&self.link, &self.space, &ids).await.unwrap().settled
    }

    /// One whole round of the sweeper.
    pub async fn sweep(&self) {
        let mut cursor = Some(String::new());
        while let Some(at) = cursor {
            cursor = sweep::page(&self.link, &self.space, &at).await.unwrap().0;
        }
    }
}

pub fn claim_of(job: &ClaimedJob, token: &str) -> Claim {
    Claim { id: job.id.clone(), token: token.to_owned(), attempt: job.attempt, life: job.life.clone() }
}

/// The class of jobs for a service that ask for nothing else.
pub fn class_of(service: &str) -> Class {
    Class::of(|name| (name == "service_required").then_some(service), &BTreeSet::new()).unwrap()
}

/// A job for a service that asks for nothing else, at priority 50.
pub fn job(id: &str, service: &str) -> NewJob {
    let class = class_of(service);
    let fields = [("service_required", service), ("payload", "{}"), ("priority", "50"), ("max_retries", "3")];
    NewJob {
        id: id.to_owned(),
        class: (class.id().to_string(), class.definition().to_owned()),
        class_fields: Vec::new(),
        priority: 50,
        order_time_ms: None,
        due_ms: None,
        hint: ("{}".to_owned(), "null".to_owned()),
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// The same with other or further fields of the hash.
pub fn with(mut job: NewJob, fields: &[(&str, &str)]) -> NewJob {
    for (name, value) in fields {
        job.fields.retain(|(present, _)| present != name);
        job.fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    job
}

pub fn completion() -> Completion {
    Completion {
        result: r#"{"outputs":[],"data":{"n":1}}"#.to_owned(),
        reference_result: r#"{"success":true,"data":{"n":1}}"#.to_owned(),
        attestation: ("worker:completion:step-id:x:attempt:1".to_owned(), "{}".to_owned()),
    }
}

pub fn failure(verdict: Verdict) -> FailedAttempt {
    FailedAttempt {
        verdict,
        kind: "service_error".to_owned(),
        reason: "service_down".to_owned(),
        message: "the engine is down".to_owned(),
        backoff_ms: 1000,
        jitter: 0.5,
        asked_pause_ms: 0,
        attestations: Default::default(),
        final_copy: String::new(),
        keep_off: Vec::new(),
        is_elsewhere: false,
    }
}

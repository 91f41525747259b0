//! Claiming beside a queue full of what the worker cannot run: time on the server, and the round trip.
//! In: queues of several shapes, a claimer in this process. Out: microseconds of each claim that brings a job.

use crate::indexing::{index_all, put_foreign};
use crate::stage::Stage;
use crate::table::{Table, Yardstick, us};
use crate::yardstick;
use gpu_worker::protocol::class::Class;
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::outcome::Completion;
use gpu_worker::queue::claim::{Asked, Claimer, Judgement};
use gpu_worker::queue::control::Control;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const CLAIMS: usize = 500;

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    table.yardstick("PING, round trip", "us", &yardstick::ping(&stage, 1000).await);
    let (server, round_trip) = yardstick::pop(&stage, 1000).await;
    let bare = table.yardstick("bare pop: ZPOPMIN, HSET, XADD in one script, server time", "us", &server);
    let bare_trip = table.yardstick("bare pop, round trip", "us", &round_trip);

    let mut alone = Bench::new(stage).await;
    let nothing = alone.claims_of_nothing().await;
    row(table, "the queue is empty", &nothing, [&bare, &bare_trip]);
    let small = alone.claims(&job(1, 1024), CLAIMS).await;
    row(table, "the only job fits, payload 1 KB", &small, [&bare, &bare_trip]);
    let large = alone.claims(&job(1, 2 << 20), 50).await;
    row(table, "the only job fits, payload 2 MB", &large, [&bare, &bare_trip]);
    alone.reading(table, 1024, CLAIMS).await;
    alone.reading(table, 2 << 20, 50).await;

    for (misfits, classes) in [(1000, 1), (1000, 1000), (100_000, 1), (100_000, 1000)] {
        let mut behind = Bench::new(Stage::set().await).await;
        put_foreign(&behind.stage, misfits, classes).await;
        index_all(&behind.stage).await;
        behind.first(table, misfits, classes).await;
        behind.report(table, &format!("{misfits} misfits in {classes} classes ahead"), CLAIMS, &mut alone).await;
        if misfits > 1000 && classes > 1 {
            // More classes fit than are looked up one by one: the claim walks the heads.
            for fitting in [40, 1000] {
                behind.know_classes(fitting).await;
                behind.report(table, &format!("the same, {fitting} fitting classes known"), 200, &mut alone).await;
            }
        }
    }
}

fn job(shelf: usize, payload: usize) -> Value {
    json!({
        "service_required": "here", "requirements": {"positive": {"shelf": shelf.to_string()}},
        "payload": {"text": "x".repeat(payload)},
        // Behind everything that waits.
        "priority": 10,
    })
}

fn judge(definition: &str) -> Judgement {
    match Class::parse(definition) {
        Ok(class) if class.service() == Some("here") => Judgement::Fits { service: None },
        _ => Judgement::Misfit,
    }
}

/// Of each claim: microseconds on the server, and of the round trip.
type Times = [Vec<f64>; 2];

fn row(table: &mut Table, what: &str, times: &Times, beside: [&Yardstick; 2]) {
    table.spread(&format!("claim, {what}: server time"), "us", &times[0], Some(beside[0]));
    table.spread("  round trip", "us", &times[1], Some(beside[1]));
}

struct Bench {
    stage: Stage,
    claimer: Claimer,
}

impl Bench {
    async fn new(stage: Stage) -> Self {
        Self { stage, claimer: Claimer::new("bench", Duration::from_secs(600)) }
    }

    /// One claim: what came, microseconds on the server, of the round trip.
    async fn claim(&mut self) -> (Option<Claim>, f64, f64) {
        let before = self.stage.script_time().await;
        let began = Instant::now();
        let asked = self
            .claimer
            .ask(&self.stage.link, &self.stage.space, ("", &Control::new("bench")), &judge)
            .await
            .expect("an answer");
        let trip = us(began.elapsed());
        let after = self.stage.script_time().await;
        let claim = match asked {
            Asked::Job(job, token) => Some(Claim { id: job.id, token, attempt: job.attempt, life: job.life }),
            Asked::Nothing { .. } | Asked::Superseded | Asked::Paused => None,
        };
        (claim, after - before, trip)
    }

    async fn end(&self, claim: &Claim) {
        let completion =
            Completion { result: "{}".to_owned(), reference_result: "{}".to_owned(), attestation: Default::default() };
        self.stage.space.complete(&mut self.stage.con.clone(), claim, &completion).await.expect("completed");
        let () = self
            .stage
            .ask(redis::cmd("DEL").arg(&[format!("job:{}", claim.id), format!("job:events:{}", claim.id)]))
            .await;
    }

    async fn claims_of_nothing(&mut self) -> Times {
        self.claims(&job(1, 10), 1).await;
        let mut times = Times::default();
        for _ in 0..CLAIMS {
            let (claim, server, trip) = self.claim().await;
            assert_eq!(claim, None);
            times[0].push(server);
            times[1].push(trip);
        }
        times
    }

    /// Claims of one job after the other, each submitted just before.
    async fn claims(&mut self, job: &Value, count: usize) -> Times {
        let mut times = Times::default();
        for _ in 0..count {
            self.stage.submit(job.clone()).await;
            let (claim, server, trip) = self.claim().await;
            self.end(&claim.expect("a job")).await;
            times[0].push(server);
            times[1].push(trip);
        }
        times
    }

    /// The first claim of a worker that has just started: it reads every class and judges it.
    async fn first(&mut self, table: &mut Table, misfits: usize, classes: usize) {
        self.stage.submit(job(1, 1024)).await;
        let (claim, server, trip) = self.claim().await;
        let claim = claim.expect("a job");
        self.end(&claim).await;
        let what = format!("claim, first of a new worker, {misfits} misfits in {classes} classes");
        table.single(&format!("{what}: server time"), "us", 1, server, None);
        table.single("  until it has the job, with judging", "us", 1, trip, None);
    }

    /// Claims here in turns with claims of the only job of another queue: what disturbs one disturbs both.
    async fn report(&mut self, table: &mut Table, what: &str, count: usize, alone: &mut Self) {
        let (mut here, mut there) = (Times::default(), Times::default());
        for _ in 0..count {
            for (bench, times) in [(&mut *alone, &mut there), (&mut *self, &mut here)] {
                let one = bench.claims(&job(1, 1024), 1).await;
                times.iter_mut().zip(one).for_each(|(times, one)| times.extend(one));
            }
        }
        let [server, trip] = there;
        let server = table.yardstick("an only job, in turns: server time", "us", &server);
        let trip = table.yardstick("an only job, in turns: round trip", "us", &trip);
        row(table, what, &here, [&server, &trip]);
    }

    /// Makes so many fitting classes known, none of them with a waiting job.
    async fn know_classes(&mut self, count: usize) {
        for shelf in 1..=count {
            self.stage.submit(job(shelf, 10)).await;
        }
        for _ in 0..count {
            let (claim, ..) = self.claim().await;
            self.end(&claim.expect("a job")).await;
        }
    }

    /// Reading the whole hash of a claimed job, as the runner does.
    async fn reading(&mut self, table: &mut Table, payload: usize, count: usize) {
        let id = self.stage.submit(job(1, payload)).await;
        let mut samples = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            let _: redis::Value = self.stage.ask(redis::cmd("HGETALL").arg(format!("job:{id}"))).await;
            samples.push(us(began.elapsed()));
        }
        table.spread(
            &format!("reading a job with a payload of {} KB, round trip", payload / 1024),
            "us",
            &samples,
            None,
        );
        let (claim, ..) = self.claim().await;
        self.end(&claim.expect("a job")).await;
    }
}

//! A soak: jobs at a steady rate, agents that run them, and samples of what the processes hold.
//! In: a plan. Out: lines as it goes on, and a report. Everything that it started is gone when it returns.
//!
//! Ended jobs are kept for 36 s, so that Redis comes to rest early; one job in ten goes through a stand-in for ComfyUI,
//! with its HTTP requests and its socket, the others through the built-in simulation.

mod accounts;
mod report;
mod sample;
pub mod slope;

use crate::support::{Agent, Queue, RedisServer, until};
use accounts::Accounts;
use gpu_worker::queue::client::{self, JobRequest};
pub use report::Report;
use sample::Sample;
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::time::{Duration, Instant};

pub struct Plan {
    pub time: Duration,
    /// Jobs a second.
    pub rate: u64,
    pub agents: u64,
    /// Between two samples.
    pub pause: Duration,
}

impl Plan {
    #[allow(dead_code, reason = "the tests need no command")]
    pub fn command(&self) -> String {
        let minutes = self.time.as_secs_f64() / 60.0;
        format!("make soak MINUTES={minutes} RATE={} AGENTS={}", self.rate, self.agents)
    }
}

/// 36 s.
const RETENTION_HOURS: &str = "0.01";
/// Jobs at once in each agent and service.
const SLOTS: u64 = 4;
/// How long ended jobs may take to be accounted for; less than they are kept.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A queue in which no job ends for so long has lost what is left.
const PATIENCE: Duration = Duration::from_secs(60);

/// Soaks. `tell` gets the table line by line.
pub async fn run(plan: &Plan, tell: impl Fn(String)) -> Report {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options { step_time: Duration::from_millis(1), ..Options::default() }).await;
    let engine = engine.expect("an engine");
    let (mut agents, slots) = (Vec::new(), SLOTS.to_string());
    for number in 0..plan.agents {
        let url = engine.url();
        let env = [
            ("SERVICES", "simulation,comfyui"),
            ("COMFYUI_URL", url.as_str()),
            ("CONCURRENT_JOBS", slots.as_str()),
            ("GPU_COUNT", "0"),
            ("JOB_RETENTION_HOURS", RETENTION_HOURS),
            ("FAILED_JOB_RETENTION_HOURS", "1"),
        ];
        agents.push(Agent::spawn(&server, &format!("soak-{number}"), &env));
    }
    until("the agents are registered", || async {
        let workers: u64 = server.run(&["SCARD", "workers:active"]).await;
        (workers >= SLOTS * plan.agents).then_some(())
    })
    .await;
    let mut accounts = Accounts::default();
    let mut samples: Vec<Sample> = Vec::new();
    let began = Instant::now();
    let (mut pulse, mut looked) = (tokio::time::interval(Duration::from_millis(10)), began);
    tell(Sample::head(&agents));
    let mut number = 0;
    while began.elapsed() < plan.time {
        pulse.tick().await;
        let due = (began.elapsed().as_secs_f64() * plan.rate as f64) as u64;
        while number < due {
            number += 1;
            submit(&queue, &mut accounts, number).await;
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            accounts.look(&server).await;
        }
        if samples.len() as u128 <= began.elapsed().as_millis() / plan.pause.as_millis() {
            let sample = Sample::take(&server, &agents, began.elapsed(), &accounts).await;
            tell(sample.line());
            samples.push(sample);
        }
    }
    let (mut done, mut last) = (accounts.done(), Instant::now());
    while accounts.open() > 0 && last.elapsed() < PATIENCE {
        accounts.look(&server).await;
        pulse.tick().await;
        if accounts.done() != done {
            (done, last) = (accounts.done(), Instant::now());
        }
    }
    Report::of(&samples, accounts)
}

async fn submit(queue: &Queue, accounts: &mut Accounts, number: u64) {
    let body = if number.is_multiple_of(10) { picture(number) } else { quick() };
    let request = JobRequest::from_json(&body).expect("a job");
    let id = client::submit(&queue.link, &queue.space, &request, 1 << 20).await.expect("an accepted job");
    accounts.submitted(id);
}

fn quick() -> Value {
    json!({"service_required": "simulation", "payload": {"steps": 2, "step_ms": 5, "outputs": 0}})
}

fn picture(number: u64) -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a soak", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0],
              "latent_image": ["3", 0], "seed": number, "steps": 2, "cfg": 7.0, "sampler_name": "euler",
              "scheduler": "normal", "denoise": 1.0}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "soak"}},
    })
}

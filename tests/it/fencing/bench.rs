//! Two stand-in GPUs with a stand-in ComfyUI each, an agent over them, and the levers that break a card.

use super::super::hardware::compile;
use super::super::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::path::Path;
use tempfile::TempDir;

/// The driver's side of the machine.
pub struct Driver {
    folder: TempDir,
}

impl Driver {
    pub fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        compile(folder.path(), "nvml.c", "libnvidia-ml.so.1", &[]);
        compile(folder.path(), "cuda.c", "libcuda.so.1", &[]);
        let driver = Self { folder };
        driver.becomes(scenario);
        driver
    }

    /// What the driver says of the cards from now on.
    pub fn becomes(&self, scenario: &str) {
        self.write("scenario", scenario);
    }

    /// The driver tells this, on its own.
    pub fn reports(&self, event: &str) {
        self.write("event", event);
    }

    /// The card has counted so many memory errors.
    pub fn counts(&self, card: u32, errors: u32) {
        self.write("ecc", &format!("{card} {errors}"));
    }

    /// The process that has memory on each card.
    pub fn runs(&self, pid: u32) {
        self.write("pid", &pid.to_string());
    }

    /// How CUDA answers.
    pub fn cuda(&self, word: &str) {
        self.write("cuda", word);
    }

    /// The package is upgraded: other files of the same name.
    pub fn is_replaced(&self) {
        let library = self.folder.path().join("libnvidia-ml.so.1");
        std::fs::copy(&library, self.folder.path().join("new")).unwrap();
        std::fs::rename(self.folder.path().join("new"), library).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        // Nobody reads half a word.
        std::fs::write(self.folder.path().join("half"), text).unwrap();
        std::fs::rename(self.folder.path().join("half"), self.folder.path().join(name)).unwrap();
    }
}

/// The whole machine.
pub struct Bench {
    pub server: RedisServer,
    pub queue: Queue,
    pub driver: Driver,
    pub engines: [StandIn; 2],
    pub agent: Agent,
}

impl Bench {
    /// An agent `m` with the workers `m-0` and `m-1`, whose engines work step by step.
    pub async fn new(scenario: &str, env: &[(&str, &str)]) -> Self {
        Self::over(Driver::new(scenario), env).await
    }

    /// The same over a driver that was prepared.
    pub async fn over(driver: Driver, env: &[(&str, &str)]) -> Self {
        let server = RedisServer::start().await;
        let engines = [engine().await, engine().await];
        let agent = agent(&server, &driver, &engines, env);
        let queue = Queue::of(&server);
        let bench = Self { server, queue, driver, engines, agent };
        for worker in ["m-0", "m-1"] {
            bench.agent.registered(&bench.server, worker).await;
        }
        bench
    }

    /// The same with both workers offering their engine.
    pub async fn ready(env: &[(&str, &str)]) -> Self {
        let bench = Self::new("two", env).await;
        bench.both_offer().await;
        bench
    }

    /// Waits until both workers offer their engine.
    pub async fn both_offer(&self) {
        for worker in ["m-0", "m-1"] {
            self.offers(worker, json!(["comfyui"])).await;
        }
    }

    /// Hands in a picture for each worker; answers the jobs of `m-0` and `m-1`, both at work.
    pub async fn both_at_work(&self) -> [String; 2] {
        let ids = [
            self.queue.submit(super::super::agent::picture()).await,
            self.queue.submit(super::super::agent::picture()).await,
        ];
        for engine in &self.engines {
            engine.starving().await;
        }
        let first = self.queue.reaches(&ids[0], "in_progress").await;
        self.queue.reaches(&ids[1], "in_progress").await;
        let [one, other] = ids;
        if first["worker_id"] == "m-0" { [one, other] } else { [other, one] }
    }

    /// Two jobs that end only when they are stopped, on engines that stop when they are told to; answers that of `m-1`.
    pub async fn endless_on_both(&self) -> String {
        self.go_on();
        let job = super::super::agent::endless_picture;
        let ids = [self.queue.submit(job()).await, self.queue.submit(job()).await];
        for id in &ids {
            self.queue.reaches(id, "in_progress").await;
        }
        let [one, other] = ids;
        if self.queue.field(&one, "worker_id").await == "m-1" { one } else { other }
    }

    /// What the worker's record says.
    pub async fn field(&self, worker: &str, name: &str) -> String {
        self.server.hget(&format!("worker:{worker}"), name).await.unwrap_or_default()
    }

    pub async fn json(&self, worker: &str, name: &str) -> Value {
        serde_json::from_str(&self.field(worker, name).await).unwrap_or_default()
    }

    /// Waits until the worker offers exactly this.
    pub async fn offers(&self, worker: &str, services: Value) {
        until(&format!("{worker} offers {services}; log:\n{}", self.agent.log()), || async {
            (self.json(worker, "capabilities").await["services"] == services).then_some(())
        })
        .await;
    }

    /// Waits until the worker shows this state; answers why.
    pub async fn fenced(&self, worker: &str) -> Value {
        let fence = until(&format!("{worker} is fenced; log:\n{}", self.agent.log()), || async {
            let fence = self.json(worker, "gpu").await["fence"].take();
            (fence.is_object() && self.field(worker, "status").await == "fenced").then_some(fence)
        })
        .await;
        self.offers(worker, json!([])).await;
        let hardware = self.json(worker, "capabilities").await["hardware"].take();
        assert_eq!((&hardware["gpu_count"], &hardware["gpu_memory_gb"]), (&json!(0), &json!(0)), "{hardware}");
        fence
    }

    /// What `gpu-worker workers` prints.
    pub async fn workers(&self) -> String {
        String::from_utf8(cli(&self.server, &["workers"]).await.stdout).unwrap()
    }

    /// Lets the engines work by themselves.
    pub fn go_on(&self) {
        self.engines.iter().for_each(|engine| engine.step_by_hand(false));
    }

    /// The worker takes jobs again, and nobody else does: the other one's engine is held.
    pub async fn works_again(&self, worker: &str) {
        self.offers(worker, json!(["comfyui"])).await;
        self.go_on();
        // With several jobs at once both workers get some.
        for _ in 0..20 {
            let mut ids = Vec::new();
            for _ in 0..4 {
                ids.push(self.queue.submit(super::super::agent::picture()).await);
            }
            for id in ids {
                if self.queue.reaches(&id, "completed").await["worker_id"] == worker {
                    return;
                }
            }
        }
        panic!("{worker} takes no job: {}", self.agent.log());
    }
}

async fn engine() -> StandIn {
    let engine = StandIn::start(Options::default()).await.unwrap();
    engine.step_by_hand(true);
    engine
}

/// Starts an agent without waiting.
pub fn agent(server: &RedisServer, driver: &Driver, engines: &[StandIn; 2], env: &[(&str, &str)]) -> Agent {
    let path = |name: &str| driver.path().join(name).to_str().unwrap().to_owned();
    let (scenario, gate, urls) = (path("scenario"), path("gate"), format!("{},{}", engines[0].url(), engines[1].url()));
    let mut all = vec![
        ("SERVICES", "comfyui"),
        ("COMFYUI_URL", &urls),
        ("LD_LIBRARY_PATH", driver.path().to_str().unwrap()),
        ("GPU_WORKER_FAKE_NVML", &scenario),
        ("GPU_WORKER_FAKE_NVML_GATE", &gate),
        // The hardware is looked at as often.
        ("HEARTBEAT_INTERVAL_SECONDS", "0.2"),
    ];
    all.extend_from_slice(env);
    Agent::spawn(server, "m", &all)
}

//! An agent that reaches its Redis through the fault proxy, and a test that reaches it directly.
//! In: faults, jobs. Out: verdicts on what became of them.

use super::super::agent::{engine_by_hand, picture};
use super::super::support::proxy::FaultProxy;
use super::super::support::{Agent, PATIENCE, Queue, RedisServer, until};
use serde_json::Value;
use stand_ins::comfyui::StandIn;

const LOST: &str = "Redis cannot be reached";
const BACK: &str = "Redis is back";

pub struct Scene {
    pub server: RedisServer,
    pub queue: Queue,
    pub proxy: FaultProxy,
    pub engine: StandIn,
    pub agent: Agent,
}

impl Scene {
    /// An idle agent that has run one job: scripts are loaded, and the kind of job is known.
    pub async fn set(name: &str, more: &[(&str, &str)]) -> Self {
        let server = RedisServer::start().await;
        let queue = Queue::of(&server);
        let proxy = FaultProxy::before(server.address()).await;
        let engine = engine_by_hand().await;
        engine.step_by_hand(false);
        let url = engine.url();
        let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("GPU_COUNT", "0")];
        let agent = Agent::spawn_at(&format!("redis://{}/", proxy.address()), name, &[&env, more].concat());
        agent.registered(&server, name).await;
        let scene = Self { server, queue, proxy, engine, agent };
        scene.queue.reaches(&scene.submit().await, "completed").await;
        scene.is_idle().await;
        scene
    }

    /// A picture that the engine has not drawn yet: it would not draw it again.
    pub fn picture(&self) -> Value {
        let mut job = picture();
        job["payload"]["workflow"]["3"]["inputs"]["seed"] = self.engine.executions().len().into();
        job
    }

    pub async fn submit(&self) -> String {
        self.queue.submit(self.picture()).await
    }

    /// A job that the engine has begun and does not end before it may.
    pub async fn at_work(&self) -> String {
        self.engine.step_by_hand(true);
        let id = self.submit().await;
        tokio::time::timeout(PATIENCE, self.engine.starving()).await.expect("the engine works");
        id
    }

    /// Waits until the agent is blocked on its tokens.
    pub async fn is_idle(&self) {
        until(&format!("{} is idle", self.agent.worker), || async {
            let clients: String = self.server.run(&["CLIENT", "LIST"]).await;
            clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=blpop ")).then_some(())
        })
        .await;
    }

    fn count(&self, text: &str) -> usize {
        self.agent.log().matches(text).count()
    }

    /// Waits until the agent has noticed that Redis is away.
    pub async fn is_noticed(&self) {
        self.agent.logged(LOST).await;
    }

    /// The fault is over and has cost nothing: the job ended once, on the first attempt and one run of the engine, and
    /// the next one is taken. The outage, if it was one, was told once when it began and once when it ended.
    pub async fn has_cost_nothing(&self, id: &str, outages: usize) {
        let what = &self.agent.worker;
        let job = self.queue.reaches(id, "completed").await;
        assert_eq!(job["attempt"], "1", "{what}: {:?}\n{}", self.queue.kinds(id).await, self.agent.log());
        self.queue.ended_once(id).await;
        let runs = self.engine.executions().len();
        assert_eq!(runs, 2, "{what}: the first job and this one: {:?}", self.engine.executions());
        let next = self.submit().await;
        assert_eq!(self.queue.reaches(&next, "completed").await["attempt"], "1", "{what}");
        self.queue.ended_once(&next).await;
        self.is_idle().await;
        let told = (self.count(LOST), self.count(BACK));
        assert_eq!(told, (outages, outages), "{what}: {}", self.agent.log());
    }
}

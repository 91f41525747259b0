//! What becomes of the agent when Redis moves, fails over, forgets or refuses: Sentinels, a Cluster, lost writes, errors.

mod cluster;
mod lost_writes;
mod refusals;
mod sentinels;

use super::support::{Agent, Queue, RedisServer, Sentinels};
use stand_ins::comfyui::StandIn;

/// Long enough that nobody fails over by himself.
const NEVER: u64 = 600_000;

/// A master, its replica, and a Sentinel that watches them.
struct Pair {
    master: RedisServer,
    replica: RedisServer,
    sentinels: Sentinels,
}

impl Pair {
    async fn start(down_after_ms: u64) -> Self {
        let master = RedisServer::start().await;
        let replica = RedisServer::start_replica_of(&master).await;
        let sentinels = Sentinels::watch(&master, 1, 1, down_after_ms).await;
        Self { master, replica, sentinels }
    }

    /// The replica has all that was written so far, and gets nothing that is written from now on.
    async fn cut_off_replica(&self) {
        self.master.replicated("mark").await;
        self.master.stop_replicating().await;
    }

    /// The master dies, and the replica takes its place.
    async fn fail_over(&mut self) {
        self.master.kill();
        self.sentinels.fail_over().await;
    }

    /// The queue by way of the Sentinels.
    fn queue(&self) -> Queue {
        Queue::at(&self.sentinels.url(), "")
    }
}

/// An agent with this ComfyUI, registered at this address of Redis.
async fn agent_of(redis_url: &str, worker: &str, engine: &StandIn, env: &[(&str, &str)]) -> Agent {
    let url = engine.url();
    let env = [&[("SERVICES", "comfyui"), ("COMFYUI_URL", &url)], env].concat();
    let agent = Agent::spawn_at(redis_url, worker, &env);
    agent.logged("\"registered\"").await;
    agent
}

//! A master, its replica and the Sentinels over them, and the ways in which the two change places.
//! In: the order to replace the master. Out: another one is the master; the former comes back as its replica.
//!
//! ```text
//!   in step ──FAILOVER──▶ replaced alive ──a Sentinel tells it, 10 s later──▶ in step
//!   in step ──SIGKILL──▶ dead ──replica promoted──▶ replaced ──started again, empty──▶ in step
//! ```

use crate::support::{PATIENCE, RedisServer, Sentinels};
use redis::aio::MultiplexedConnection;
use std::time::{Duration, Instant};

/// A master that is silent for so long is replaced. A loaded machine is slow to answer now and then: that is one more.
const DOWN_AFTER_MS: u64 = 1000;
/// Until both are in step again; a Sentinel lets a former master be for ten seconds before it tells it.
const SETTLED: Duration = Duration::from_secs(120);

pub struct Masters {
    servers: [RedisServer; 2],
    sentinels: Sentinels,
    /// Who is the master by what was done here.
    expected: u16,
    pub replaced_alive: u64,
    pub replaced_dead: u64,
    /// Of the dead, those that came back as a master, until a Sentinel told them.
    pub came_back_as_master: u64,
    /// Nobody asked for these.
    pub unasked: u64,
}

impl Masters {
    pub async fn start(sentinels: usize) -> Self {
        let master = RedisServer::start().await;
        let replica = RedisServer::start_replica_of(&master).await;
        let sentinels = Sentinels::watch(&master, 1, sentinels, DOWN_AFTER_MS).await;
        let expected = master.port;
        Self {
            servers: [master, replica],
            sentinels,
            expected,
            replaced_alive: 0,
            replaced_dead: 0,
            came_back_as_master: 0,
            unasked: 0,
        }
    }

    /// The address that leads by way of the Sentinels.
    pub fn url(&self) -> String {
        self.sentinels.url()
    }

    /// Where the master is among the two.
    async fn lead(&self) -> usize {
        let port = self.sentinels.master().await;
        self.servers.iter().position(|server| server.port == port).expect("one of the two is the master")
    }

    /// Waits until the replica has what the master has, and would be promoted: a failover of before that loses everything.
    pub async fn in_step(&mut self) {
        let began = Instant::now();
        let mut pulse = tokio::time::interval(Duration::from_millis(50));
        loop {
            pulse.tick().await;
            let lead = self.lead().await;
            let (master, replica) = (&self.servers[lead], &self.servers[1 - lead]);
            let follows = format!("master_port:{}\r", master.port);
            let told = match fresh(replica).await {
                Ok(mut con) => redis::cmd("INFO").arg("replication").query_async(&mut con).await.unwrap_or_default(),
                Err(_) => String::new(),
            };
            let in_step = told.contains(&follows) && told.contains("master_link_status:up");
            if in_step && self.sentinels.would_promote().await {
                self.unasked += u64::from(master.port != self.expected);
                self.expected = master.port;
                return;
            }
            assert!(began.elapsed() < SETTLED, "the replica is not in step:\n{told}");
        }
    }

    /// The master lives on, and takes itself for the master until a Sentinel tells it.
    pub async fn replace_alive(&mut self) {
        self.sentinels.fail_over().await;
        self.replaced_alive += 1;
        self.expected = self.sentinels.master().await;
    }

    /// The master dies and its replica is promoted. It comes back empty: as a replica, or as it was before.
    pub async fn replace_dead(&mut self, comes_back_as_master: bool) {
        let lead = self.lead().await;
        self.servers[lead].kill();
        self.sentinels.until_master_is_not(self.servers[lead].port).await;
        self.replaced_dead += 1;
        self.expected = self.servers[1 - lead].port;
        let mut settings: Vec<String> = ["--appendonly", "no"].map(str::to_owned).to_vec();
        if comes_back_as_master {
            self.came_back_as_master += 1;
        } else {
            settings.extend(["--replicaof", "127.0.0.1", &self.expected.to_string()].map(str::to_owned));
        }
        self.servers[lead].settings = settings;
        self.servers[lead].revive().await;
    }

    /// The master, with a connection that works: changes of roles close those that are open.
    pub async fn master(&mut self) -> &RedisServer {
        let lead = self.lead().await;
        self.servers[lead].con = fresh(&self.servers[lead]).await.expect("the master answers");
        &self.servers[lead]
    }
}

async fn fresh(server: &RedisServer) -> redis::RedisResult<MultiplexedConnection> {
    // The client's own limit of half a second is too short for a loaded machine.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    redis::Client::open(server.url.as_str())?.get_multiplexed_async_connection_with_config(&config).await
}

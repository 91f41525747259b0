//! Sentinels of the test's own: they watch a master and its replicas and fail over when told to, or by themselves.

use super::redis_server::{free_port, program};
use super::{RedisServer, until};
use std::process::Child;

/// The name under which they know the master.
pub const MASTER: &str = "mymaster";

/// Sentinels that watch one master.
pub struct Sentinels {
    ports: Vec<u16>,
    children: Vec<Child>,
    _folder: tempfile::TempDir,
}

impl Sentinels {
    /// Starts so many and waits until they know the replicas and each other. A master that is silent for `down_after_ms`
    /// is failed over by more than half of them.
    pub async fn watch(master: &RedisServer, replicas: usize, count: usize, down_after_ms: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut sentinels = Self { ports: Vec::new(), children: Vec::new(), _folder: folder };
        for number in 0..count {
            let file = sentinels._folder.path().join(format!("sentinel-{number}.conf"));
            let (port, quorum) = (free_port(), count / 2 + 1);
            let dir = sentinels._folder.path().display();
            let text = format!(
                "bind 127.0.0.1\nport {port}\ndir {dir}\nsentinel monitor {MASTER} 127.0.0.1 {} {quorum}\n\
                 sentinel down-after-milliseconds {MASTER} {down_after_ms}\nsentinel failover-timeout {MASTER} 5000\n",
                master.port
            );
            std::fs::write(&file, text).expect("a configuration file");
            let child = program().arg(&file).arg("--sentinel").spawn().expect("a Sentinel starts");
            sentinels.ports.push(port);
            sentinels.children.push(child);
        }
        for at in 0..count {
            until("the Sentinels know everybody", || async {
                let known: Vec<Vec<String>> = sentinels.ask(at, &["replicas", MASTER]).await.ok()?;
                let others: Vec<Vec<String>> = sentinels.ask(at, &["sentinels", MASTER]).await.ok()?;
                (known.len() == replicas && others.len() == count - 1).then_some(())
            })
            .await;
        }
        sentinels
    }

    /// The address that leads by way of them. The first of them is dead: a guide that does not answer is no obstacle.
    pub fn url(&self) -> String {
        let live: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://127.0.0.1:1,{}/{MASTER}", live.join(","))
    }

    /// Has them promote a replica now, whatever the master does, and waits until they name it.
    pub async fn fail_over(&self) {
        let before = self.master().await;
        // Refused while they still look for a replica that is good enough.
        until("a failover begins", || async { self.ask::<()>(0, &["failover", MASTER]).await.ok() }).await;
        self.until_master_is_not(before).await;
    }

    /// Waits until all of them name another master than this one.
    pub async fn until_master_is_not(&self, before: u16) {
        until("there is another master", || async { (self.master().await != before).then_some(()) }).await;
    }

    /// The port of the master that the first of them names.
    pub async fn master(&self) -> u16 {
        let place: RedisPlace = self.ask(0, &["get-master-addr-by-name", MASTER]).await.expect("a Sentinel answers");
        place.1
    }

    /// Any command, to each of them.
    pub async fn run(&self, words: &[&str]) {
        for at in 0..self.ports.len() {
            let mut con = self.connect(at).await.expect("a Sentinel");
            redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut con).await.expect("the command is known");
        }
    }

    async fn connect(&self, at: usize) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.ports[at]))?;
        client.get_multiplexed_async_connection().await
    }

    async fn ask<T: redis::FromRedisValue>(&self, at: usize, words: &[&str]) -> redis::RedisResult<T> {
        let mut con = self.connect(at).await?;
        redis::cmd("SENTINEL").arg(words).query_async(&mut con).await
    }
}

type RedisPlace = (String, u16);

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

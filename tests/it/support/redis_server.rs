//! A redis-server of the test's own, on a free port, gone with the test.

use super::until;
use gpu_worker::protocol::Space;
use gpu_worker::queue::link::Link;
use redis::aio::MultiplexedConnection;
use std::process::{Child, Command, Stdio};

/// The server, and one connection to it.
pub struct RedisServer {
    pub url: String,
    pub con: MultiplexedConnection,
    child: Child,
    pub port: u16,
    pub settings: Vec<String>,
    pub folder: tempfile::TempDir,
}

const PASSING: [&str; 4] = ["--appendonly", "no", "--appendfsync", "always"];
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

impl RedisServer {
    /// Starts one. `REDIS_SERVER` names another program than `redis-server`, such as an older release.
    pub async fn start() -> Self {
        Self::start_with(&PASSING).await
    }

    /// Starts one that keeps what it acknowledged over [`RedisServer::kill`] and [`RedisServer::revive`].
    pub async fn start_durable() -> Self {
        Self::start_with(&DURABLE).await
    }

    /// Starts a replica that has received what its master holds.
    pub async fn start_replica_of(master: &RedisServer) -> Self {
        let port = master.port.to_string();
        let replica = Self::start_with(&[&PASSING[..], &["--replicaof", "127.0.0.1", &port]].concat()).await;
        until("the replica is in step", || async {
            let info: String = replica.run(&["INFO", "replication"]).await;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        replica
    }

    /// Starts one with these settings.
    pub async fn start_with(settings: &[&str]) -> Self {
        for _ in 0..20 {
            // Another program may take the port before the server binds it: then the next one is tried.
            if let Some(server) = Self::start_on(free_port(), settings).await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts one on this port; `None` if somebody else has it.
    pub async fn start_at(port: u16, durable: bool) -> Option<Self> {
        Self::start_on(port, if durable { &DURABLE } else { &PASSING }).await
    }

    /// Starts one on this port with these settings; `None` if somebody else has it.
    pub async fn start_on(port: u16, settings: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("redis://127.0.0.1:{port}/");
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        let mut child = spawn(port, &settings, folder.path());
        match connect(&url, &mut child).await {
            Some(con) => Some(Self { url, con, child, port, settings, folder }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                None
            }
        }
    }

    /// Ends it as a power failure does.
    pub fn kill(&mut self) {
        self.child.kill().expect("redis-server can be killed");
        self.child.wait().expect("redis-server ends");
    }

    /// Stops it where it stands, connections and all, until `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Starts it again where it was, with what it had kept.
    pub async fn revive(&mut self) {
        self.child = spawn(self.port, &self.settings, self.folder.path());
        self.con = connect(&self.url, &mut self.child).await.expect("redis-server comes back");
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The queue at the root of this server, as the reference has it.
    pub fn space(&self) -> Space {
        Space {
            prefix: String::new(),
            reference_events: true,
            stream_max: 5000,
            retention_ms: 86_400_000,
            failed_retention_ms: 604_800_000,
        }
    }

    /// Waits until a replica has all that was written so far; `key` is written for it.
    pub async fn replicated(&self, key: &str) {
        // Redis waits for what this very connection has written, and for all before that.
        let _: () = self.run(&["SET", key, "1"]).await;
        let reached: i64 = self.run(&["WAIT", "1", "0"]).await;
        assert_eq!(reached, 1);
    }

    /// No replica receives anything any more, although both run: what is written from now on is lost by a failover.
    pub async fn stop_replicating(&self) {
        let _: () = self.run(&["ACL", "SETUSER", "default", "-psync", "-sync"]).await;
        let _: i64 = self.run(&["CLIENT", "KILL", "TYPE", "replica"]).await;
        until("nobody receives anything", || async {
            let info: String = self.run(&["INFO", "replication"]).await;
            info.contains("connected_slaves:0").then_some(())
        })
        .await;
    }

    /// A link to it.
    pub fn link(&self) -> Link {
        Link::new(&self.url, "").expect("the URL is good")
    }

    /// A field of a hash.
    pub async fn hget(&self, key: &str, field: &str) -> Option<String> {
        redis::cmd("HGET").arg(key).arg(field).query_async(&mut self.con.clone()).await.expect("HGET")
    }

    /// Any command.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        run(&mut self.con.clone(), words).await
    }

    /// Any command, on a connection of its own: a change of roles closes those that are open.
    pub async fn run_anew<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url.as_str()).expect("the URL is good");
        run(&mut client.get_multiplexed_async_connection().await.expect("the server answers"), words).await
    }
}

async fn run<T: redis::FromRedisValue>(con: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(con).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn spawn(port: u16, settings: &[String], folder: &std::path::Path) -> Child {
    let mut command = program();
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--repl-diskless-sync-delay", "0"])
        .args(settings);
    command.arg("--dir").arg(folder).spawn().expect("redis-server is installed by `make deps`")
}

/// `redis-server`, silent, gone with this process.
pub fn program() -> Command {
    let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", &program]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

async fn connect(url: &str, child: &mut Child) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(url).expect("the URL is good");
    // The client's own limit of half a second is too short for a loaded machine.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(super::PATIENCE));
    let mut pulse = tokio::time::interval(std::time::Duration::from_millis(5));
    loop {
        pulse.tick().await;
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        if let Ok(mut con) = client.get_multiplexed_async_connection_with_config(&config).await
            && is_its_own(&mut con, child.id()).await
        {
            return Some(con);
        }
    }
}

/// Whether it is this process that answers: another test's server may have taken the port a moment earlier.
async fn is_its_own(con: &mut MultiplexedConnection, process: u32) -> bool {
    let info: Result<String, _> = redis::cmd("INFO").arg("server").query_async(con).await;
    let told = format!("process_id:{process}");
    info.is_ok_and(|info| info.lines().any(|line| line.trim() == told))
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

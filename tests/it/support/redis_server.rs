//! A redis-server of the test's own, on a free port, gone with the test.

use gpu_worker::protocol::Space;
use gpu_worker::queue::link::Link;
use redis::aio::MultiplexedConnection;
use std::process::{Child, Command, Stdio};

/// The server, and one connection to it.
pub struct RedisServer {
    pub url: String,
    pub con: MultiplexedConnection,
    child: Child,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one. `REDIS_SERVER` names another program than `redis-server`, such as an older release.
    pub async fn start() -> Self {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            // Another program may take the port before the server binds it: then the next one is tried.
            let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
            let mut child = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", &program, "--bind", "127.0.0.1", "--port", &port.to_string()])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server is installed by `make deps`");
            let url = format!("redis://127.0.0.1:{port}/");
            if let Some(con) = connect(&url, &mut child).await {
                return Self { url, con, child, _folder: folder };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start");
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

    /// A link to it.
    pub fn link(&self) -> Link {
        Link::new(&self.url).expect("the URL is good")
    }

    /// A field of a hash.
    pub async fn hget(&self, key: &str, field: &str) -> Option<String> {
        redis::cmd("HGET").arg(key).arg(field).query_async(&mut self.con.clone()).await.expect("HGET")
    }

    /// Any command.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut self.con.clone()).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
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
        if let Ok(con) = client.get_multiplexed_async_connection_with_config(&config).await {
            return Some(con);
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

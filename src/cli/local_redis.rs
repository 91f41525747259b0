//! A redis-server of our own, on a free port, in a temporary folder, gone with us.
//! In: the program `redis-server`. Out: its URL, until it is dropped.

use super::{Exit, Failed};
use crate::queue::link::{Link, ping};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ports tried: another program may take one between our look and the server's start.
const TRIES: usize = 5;

/// The server.
pub(super) struct LocalRedis {
    pub url: String,
    child: Child,
}

impl LocalRedis {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failed> {
        let mut last = String::new();
        for _ in 0..TRIES {
            let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let mut child = command(port, folder).spawn().map_err(|error| {
                let hint =
                    "Install it (Debian: apt-get install redis-server), or name a running Redis with HUB_REDIS_URL.";
                Failed::new(Exit::Failed, format!("redis-server cannot be started: {error}\n{hint}"))
            })?;
            let url = format!("redis://127.0.0.1:{port}/");
            match wait(&url, &mut child).await {
                Ok(()) => return Ok(Self { url, child }),
                Err(why) => last = why,
            }
            let _ = child.kill().await;
        }
        Err(Failed::new(Exit::Failed, format!("redis-server does not come up: {last}")))
    }

    pub(super) async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

fn command(port: u16, folder: &Path) -> Command {
    // The kernel ends it with us even if we are killed; without setpriv only an orderly end does.
    let has_setpriv = Path::new("/usr/bin/setpriv").exists();
    let mut command = if has_setpriv {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]);
        command
    } else {
        Command::new("redis-server")
    };
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    command.args(["--maxmemory-policy", "noeviction", "--dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // Ctrl-C on a terminal goes to the whole group: the agent must drain before its Redis goes.
    command.process_group(0);
    command
}

async fn wait(url: &str, child: &mut Child) -> Result<(), String> {
    let link = Link::new(url, "").map_err(|error| error.to_string())?;
    let began = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(status.to_string());
        }
        let Err(error) = link.call(async |con| ping(con).await).await else { return Ok(()) };
        if began.elapsed() > PATIENCE {
            return Err(error.to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

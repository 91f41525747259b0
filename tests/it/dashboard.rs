//! The agent's HTTP port: who is answered, what the numbers say, which port it is, and that nothing waits for it.

mod asked;
mod browser;
mod commands;
mod controls;
mod engines;
mod given;
mod grafana;
mod hostile;
mod launch;
mod left;
mod live;
mod numbers;
mod older;
mod orders;
mod pictures;
mod ports;
mod shown;
mod stores;
mod stream;
mod stuck;
mod viewers;
mod waiting;

use super::support::{Agent, RedisServer, until};
use browser::{Answer, ask};
use std::net::SocketAddr;

/// An agent that answers on a free port.
pub async fn agent(server: &RedisServer, worker: &str, env: &[(&str, &str)]) -> (Agent, SocketAddr) {
    let answering = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let agent = Agent::start(server, worker, &[&answering[..], env].concat()).await;
    let address = address(&agent).await;
    (agent, address)
}

/// Where it says that it answers.
pub async fn address(agent: &Agent) -> SocketAddr {
    until(&format!("the log has a URL:\n{}", agent.log()), || async {
        let log = agent.log();
        let (_, rest) = log.split_once("\"url\":\"http://")?;
        rest.split_once('/')?.0.parse().ok()
    })
    .await
}

/// What it answers to a plain request for this path.
pub async fn get(at: SocketAddr, path: &str) -> Answer {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).await
}

//! Which port: the first free one, any, the given one, none; and to whom it is open.

use super::{address, agent, get};
use crate::support::{Agent, RedisServer, cli_at, until};
use gpu_worker::dashboard::{DEFAULT_PORTS, bind};
use std::net::{IpAddr, Ipv4Addr};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn a_taken_port_leads_to_the_next_one_and_a_range_that_is_taken_to_an_error() {
    let first = bind(LOOPBACK, [0]).await.unwrap();
    let second = bind(LOOPBACK, [0]).await.unwrap();
    let [taken, also_taken] = [&first, &second].map(|listener| listener.local_addr().unwrap().port());
    let found = bind(LOOPBACK, [taken, also_taken, 0]).await.unwrap().local_addr().unwrap().port();
    assert!(found != taken && found != also_taken);
    let refused = bind(LOOPBACK, [taken, also_taken]).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    drop(second);
    assert_eq!(bind(LOOPBACK, [taken, also_taken]).await.unwrap().local_addr().unwrap().port(), also_taken);
    assert_eq!(DEFAULT_PORTS, 1511..=1599);
}

#[tokio::test]
async fn two_agents_that_are_told_no_port_find_one_each() {
    let server = RedisServer::start().await;
    let env = [("WORKER_DASHBOARD_ENABLED", "true")];
    let (one, other) = (Agent::start(&server, "w1", &env).await, Agent::start(&server, "w2", &env).await);
    let (one_at, other_at) = (address(&one).await, address(&other).await);
    assert_ne!(one_at, other_at);
    for at in [one_at, other_at] {
        assert!(at.ip().is_loopback() && DEFAULT_PORTS.contains(&at.port()), "{at}");
        assert_eq!(get(at, "/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_given_port_that_is_taken_costs_no_job_and_is_opened_when_it_is_free() {
    let server = RedisServer::start().await;
    let taken = bind(LOOPBACK, [0]).await.unwrap();
    let at = taken.local_addr().unwrap();
    let port = at.port().to_string();
    let env = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", port.as_str())];
    let agent = Agent::start(&server, "w", &env).await;
    agent.logged("its port cannot be opened").await;
    assert!(agent.log().contains(&format!("\"address\":\"{at}\"")), "{}", agent.log());
    let queue = crate::support::Queue::of(&server);
    let id = queue.submit(crate::agent::quick()).await;
    queue.reaches(&id, "completed").await;
    drop(taken);
    assert_eq!(address(&agent).await, at);
    assert_eq!(agent.log().matches("its port cannot be opened").count(), 1, "told once");
}

#[tokio::test]
async fn a_disabled_dashboard_opens_nothing() {
    let server = RedisServer::start().await;
    let agent = Agent::start(&server, "w", &[("WORKER_DASHBOARD_PORT", "0")]).await;
    let listens = |pid: u32| {
        // Column 4 of the table is the state, 0A is listening; the inodes are those of the process's sockets.
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        let listening: Vec<String> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.get(3) == Some(&"0A"))
            .map(|fields| format!("socket:[{}]", fields[9]))
            .collect();
        let own = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let own = own.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        own.filter(|link| listening.iter().any(|socket| link.as_os_str() == socket.as_str())).count()
    };
    assert_eq!(listens(agent.child.id()), 0, "{}", agent.log());
    let (answering, _) = super::agent(&server, "w2", &[]).await;
    assert_eq!(listens(answering.child.id()), 1, "the same look finds one that is open");
}

#[tokio::test]
async fn other_machines_are_let_in_by_a_token_alone() {
    for (env, says) in [
        (&[("WORKER_DASHBOARD_HOST", "0.0.0.0")][..], "set WORKER_DASHBOARD_TOKEN too"),
        (&[("WORKER_DASHBOARD_HOST", "::")], "set WORKER_DASHBOARD_TOKEN too"),
        (&[("WORKER_DASHBOARD_HOST", "192.0.2.7")], "set WORKER_DASHBOARD_TOKEN too"),
        (&[("WORKER_DASHBOARD_HOST", "gpu1.example.org")], "must be an IP address"),
        (&[("WORKER_DASHBOARD_TOKEN", "secret")], "at least 16 characters"),
        (&[("WORKER_DASHBOARD_TOKEN", "a token with blanks")], "without blanks"),
        (&[("WORKER_DASHBOARD_ALLOWED_HOSTS", "*")], "is no host name"),
        (&[("WORKER_DASHBOARD_ALLOWED_HOSTS", "http://gpu1")], "is no host name"),
    ] {
        let env = [env, &[("WORKER_DASHBOARD_ENABLED", "true")]].concat();
        let refused = cli_at("redis://127.0.0.1:1/", &env, &["run"]).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(64), "{env:?}: {said}");
        assert!(said.contains(says), "{env:?}: {said}");
        assert!(!said.contains("a token with blanks"), "{said}");
    }
    let server = RedisServer::start().await;
    let token = "0123456789abcdef0123";
    let (open, at) =
        agent(&server, "w", &[("WORKER_DASHBOARD_HOST", "0.0.0.0"), ("WORKER_DASHBOARD_TOKEN", token)]).await;
    let near = std::net::SocketAddr::new(LOOPBACK, at.port());
    assert_eq!(get(near, "/metrics").await.status, 401);
    let saying =
        format!("GET /metrics HTTP/1.1\r\nHost: {near}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    assert_eq!(super::ask(near, saying).await.status, 200);
    assert!(!open.log().contains(token));
    // Another address of this machine, as another machine would ask: by the address that it asks.
    let other = std::net::SocketAddr::new([127, 0, 0, 2].into(), at.port());
    until("it answers on every address", || async { (get(other, "/healthz").await.status == 401).then_some(()) }).await;
}

#[tokio::test]
async fn the_address_in_the_log_works_also_where_all_networks_are_listened_to() {
    let server = RedisServer::start().await;
    let env = [
        ("WORKER_DASHBOARD_HOST", "0.0.0.0"),
        ("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123"),
        ("WORKER_DASHBOARD_ALLOWED_HOSTS", "gpu1.example.org"),
    ];
    let (agent, at) = agent(&server, "w", &env).await;
    assert_eq!(at.ip(), LOOPBACK, "{}", agent.log());
    assert_eq!(get(at, "/healthz").await.status, 401, "known there, and locked");
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("\"url\":\"http://")).unwrap();
    let told: serde_json::Value = serde_json::from_str(line).unwrap();
    let fields = told.get("fields").unwrap_or(&told);
    let elsewhere = fields["elsewhere"].as_str().unwrap();
    assert!(elsewhere.contains(&format!("http://gpu1.example.org:{}/", at.port())), "{line}");
    assert!(fields["other_names"].as_str().unwrap().contains("WORKER_DASHBOARD_ALLOWED_HOSTS"), "{line}");
    // Where this machine has no network there is no other address.
    for url in elsewhere.split(", ") {
        let place = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
        let host = format!("GET /healthz HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
        assert_eq!(super::ask(at, host).await.status, 401, "{url}");
    }
}

#[tokio::test]
async fn the_address_is_told_whether_redis_answers_or_not() {
    let env = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let agent = Agent::spawn_at("redis://127.0.0.1:1/", "early", &env);
    let at = address(&agent).await;
    let told = until("the page says where Redis should be", || async {
        let snapshot: serde_json::Value = serde_json::from_str(&get(at, "/api/snapshot").await.body).unwrap();
        (snapshot["worker"]["state"] == "redis_away").then_some(snapshot)
    })
    .await;
    assert_eq!(told["worker"]["redis"]["address"], "127.0.0.1:1", "{}", told["worker"]);
}

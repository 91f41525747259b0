//! What open dashboards cost the agent, and how long the page takes to be there.
//! In: an agent with one job at full progress rate; nobody looking, then fifty that follow the stream. Out: share of a
//! core, memory, what a viewer is sent; milliseconds for the page and all that it names, beside one file of that size.

use crate::idle::{cpu, status};
use crate::stage::{NO_GPU, Stage, settle};
use crate::support::{Agent, until};
use crate::table::{Table, us};
use futures_util::StreamExt;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const VIEWERS: usize = 50;
const WATCHED: Duration = Duration::from_secs(30);
const LOADS: usize = 50;

pub async fn run(table: &mut Table) {
    let alone = measure(0).await;
    let cpu = table.yardstick("nobody looks, share of a core", "%", &[alone.cpu]);
    let memory = table.yardstick("nobody looks, resident", "MB", &[alone.memory]);
    let crowd = measure(VIEWERS).await;
    let seconds = WATCHED.as_secs() as usize;
    table.single("50 dashboards open, share of a core", "%", seconds, crowd.cpu, Some(&cpu));
    table.single("50 dashboards open, resident", "MB", 1, crowd.memory, Some(&memory));
    table.single("  sent to each of them", "kB/s", seconds, crowd.sent / VIEWERS as f64 / 1e3, None);

    let stage = Stage::set().await;
    let (_agent, address) = agent(&stage).await;
    let (names, length) = page(address).await;
    let file = file(length).await;
    let bare = load(file, &BTreeSet::from(["/".to_owned()])).await;
    let bare = table.yardstick("one static file of the page's size", "ms", &bare);
    table.spread("the page and all that it names", "ms", &load(address, &names).await, Some(&bare));
    table.single("  size", "kB", names.len(), length as f64 / 1e3, None);
}

struct Cost {
    cpu: f64,
    memory: f64,
    /// Bytes a second, to all viewers.
    sent: f64,
}

/// The dashboard's port is in the log.
async fn agent(stage: &Stage) -> (Agent, SocketAddr) {
    let env = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let agent = Agent::start(&stage.server, "seen", &[NO_GPU.as_slice(), &env].concat()).await;
    let address = until("the log has a URL", || async {
        let log = agent.log();
        let (_, rest) = log.split_once("\"url\":\"http://")?;
        rest.split_once('/')?.0.parse().ok()
    });
    let address = address.await;
    (agent, address)
}

/// A job that reports a step each millisecond, for longer than anybody looks.
async fn measure(viewers: usize) -> Cost {
    let stage = Stage::set().await;
    let (agent, address) = agent(&stage).await;
    let job = json!({"service_required": "simulation", "payload": {"steps": 100_000, "step_ms": 1, "outputs": 0}});
    let id = stage.submit(job).await;
    let state_of_job = async || stage.ask::<String>(redis::cmd("HGET").arg(format!("job:{id}")).arg("status")).await;
    until("the job is at work", || async { (state_of_job().await == "in_progress").then_some(()) }).await;
    let received = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for _ in 0..viewers {
        let answer = reqwest::get(format!("http://{address}/api/stream")).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
        let received = received.clone();
        open.push(tokio::spawn(async move {
            let mut stream = answer.bytes_stream();
            while let Some(Ok(bytes)) = stream.next().await {
                received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }));
    }
    settle(Duration::from_secs(3)).await;
    let pid = agent.child.id();
    let (before, sent, began) = (cpu(pid), received.load(Ordering::Relaxed), Instant::now());
    settle(WATCHED).await;
    let seconds = began.elapsed().as_secs_f64();
    let share = 100.0 * (cpu(pid) - before) / seconds;
    assert_eq!(state_of_job().await, "in_progress", "the job has ended too soon");
    let gone = open.iter().filter(|viewer| viewer.is_finished()).count();
    assert_eq!(gone, 0, "viewers were dropped");
    let sent = (received.load(Ordering::Relaxed) - sent) as f64 / seconds;
    open.iter().for_each(tokio::task::JoinHandle::abort);
    Cost { cpu: share, memory: status(pid, "VmRSS") / 1000.0, sent }
}

/// What the page names, what that names, and so on; and the size of it all.
async fn page(address: SocketAddr) -> (BTreeSet<String>, usize) {
    let (mut names, mut open, mut length) = (BTreeSet::new(), vec!["/".to_owned()], 0);
    while let Some(name) = open.pop() {
        if !names.insert(name.clone()) {
            continue;
        }
        let answer = reqwest::get(format!("http://{address}{name}")).await.expect("an answer");
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
        let text = answer.text().await.expect("text");
        length += text.len();
        let quoted = text.split(['"', '\'']).skip(1).step_by(2);
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        open.extend(quoted.filter_map(|word| match word.strip_prefix("./") {
            Some(beside) if beside.ends_with(".js") => Some(format!("{folder}/{beside}")),
            _ if word.starts_with("/assets/") => Some(word.to_owned()),
            _ => None,
        }));
    }
    (names, length)
}

/// A server of one file.
async fn file(length: usize) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = axum::Router::new().route("/", axum::routing::get(async move || vec![b'x'; length]));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Milliseconds from nothing to the last byte of the last of these, on connections of their own as a browser would.
async fn load(address: SocketAddr, names: &BTreeSet<String>) -> Vec<f64> {
    let mut samples = Vec::new();
    for _ in 0..LOADS {
        let client = reqwest::Client::new();
        let began = Instant::now();
        let fetch = |name: &String| client.get(format!("http://{address}{name}")).send();
        let answers = futures_util::future::join_all(names.iter().map(fetch)).await;
        for answer in answers {
            answer.expect("an answer").bytes().await.expect("its bytes");
        }
        samples.push(us(began.elapsed()) / 1000.0);
    }
    samples
}

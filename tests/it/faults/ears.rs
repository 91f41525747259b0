//! Connections on which only Redis speaks: a dead one would stay silent for ever, and nobody would miss a word.

use super::super::support::{Agent, RedisServer, until};
use super::scene::Scene;
use std::collections::BTreeSet;

async fn listeners(server: &RedisServer, channel: &str) -> u64 {
    let (_, count): (String, u64) = server.run(&["PUBSUB", "NUMSUB", channel]).await;
    count
}

#[tokio::test]
async fn whoever_listens_does_so_anew_once_the_wire_is_known_to_be_dead() {
    let scene = Scene::set("all-ears", &[]).await;
    // The sweeper's, and the one for hints.
    for channel in ["job_submitted", "cancel_job"] {
        until("it listens", || async { (listeners(&scene.server, channel).await == 1).then_some(()) }).await;
    }
    scene.proxy.strand();
    // Redis does not know that the earlier ones are dead.
    for channel in ["job_submitted", "cancel_job"] {
        until("it listens anew", || async { (listeners(&scene.server, channel).await == 2).then_some(()) }).await;
    }
    let id = scene.submit().await;
    scene.has_cost_nothing(&id, 1).await;
}

/// Of the agent's connections to this port, how many are watched by the kernel's keepalive timer, and how many are not.
fn kept_alive(agent: &Agent, port: u16) -> (usize, usize) {
    let own: BTreeSet<String> = std::fs::read_dir(format!("/proc/{}/fd", agent.child.id()))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let remote = format!(":{port:04X}");
    let mine = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|line| {
        line.get(2).is_some_and(|address| address.ends_with(&remote))
            && line.get(3) == Some(&"01")
            && line.get(9).is_some_and(|inode| own.contains(*inode))
    });
    let (kept, bare): (Vec<_>, Vec<_>) = mine.partition(|line| line[5].starts_with("02:"));
    (kept.len(), bare.len())
}

#[tokio::test]
async fn the_kernel_looks_after_every_connection_to_redis() {
    let server = RedisServer::start().await;
    let agent = Agent::start(&server, "looked-after", &[("GPU_COUNT", "0")]).await;
    // Calls, the wait for tokens, hints, the sweeper's ear. Data under way has a timer of its own for a moment.
    let what = "four connections, each with a keepalive timer";
    until(what, || async { (kept_alive(&agent, server.address().port()) == (4, 0)).then_some(()) }).await;
}

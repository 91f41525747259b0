//! Orders that engines carry out: a GPU's memory is freed, though not under a job; all are asked how they are, now.

use super::controls::{done, order, record_says};
use super::{address, agent};
use crate::agent::picture;
use crate::fencing::bench::Bench;
use crate::support::{Queue, RedisServer, until};
use stand_ins::comfyui::{Options, StandIn};

#[tokio::test]
async fn a_gpus_memory_is_freed_while_nothing_runs_on_it() {
    let bench = Bench::ready(&[("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")]).await;
    let at = address(&bench.agent).await;
    let [_, _] = bench.both_at_work().await;
    let (status, told) = order(&bench.agent, at, "free-vram/0").await;
    assert_eq!((status, told["error"].as_str()), (409, Some("a job runs on GPU 0")), "{told}");
    assert!(told["remedy"].as_str().is_some_and(|remedy| remedy.contains("pause first")), "{told}");
    bench.go_on();
    bench.works_again("m-0").await;
    bench.works_again("m-1").await;
    // As the remedy says: nothing begins between the look and the call.
    done(&bench.agent, at, "pause").await;
    record_says(&bench.server, "m-0", "paused", "paused").await;
    record_says(&bench.server, "m-1", "paused", "paused").await;
    assert!(bench.engines.iter().all(StandIn::holds_a_model), "the jobs have left their models there");
    let said = done(&bench.agent, at, "free-vram/1").await;
    assert_eq!(said, "comfyui[1] gave back the memory of GPU 1");
    until("the engine has let it go", || async { (!bench.engines[1].holds_a_model()).then_some(()) }).await;
    assert!(bench.engines[0].holds_a_model(), "the other one was not asked");
    done(&bench.agent, at, "resume").await;
    let again = bench.queue.submit(picture()).await;
    bench.queue.reaches(&again, "completed").await;
}

#[tokio::test]
async fn an_engine_that_went_and_came_back_is_seen_at_once_when_asked_for() {
    let server = RedisServer::start().await;
    let engine = StandIn::start(Options::default()).await.unwrap();
    let url = engine.url();
    // By itself the agent would look in an hour.
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("HEALTH_CHECK_INTERVAL_SECONDS", "3600")];
    let (agent, at) = agent(&server, "w", &env).await;
    assert_eq!(done(&agent, at, "probe").await, "asked: all engines are well (1)");
    engine.kill().await;
    let told = done(&agent, at, "probe").await;
    assert!(told.starts_with("asked: 0 of 1 engines are well; comfyui: nothing answers at"), "{told}");
    assert!(super::get(at, "/readyz").await.body.contains(r#""code":"engines""#));
    engine.revive().await;
    assert_eq!(done(&agent, at, "probe").await, "asked: all engines are well (1)");
    let queue = Queue::of(&server);
    queue.reaches(&queue.submit(picture()).await, "completed").await;
    agent.logged("order carried out").await;
}

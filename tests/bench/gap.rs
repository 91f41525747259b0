//! How long an engine stands idle between two jobs while more of them wait.
//! In: a ComfyUI stand-in with runs of 100 ms. Out: microseconds from the end of one run to the start of the next, by the
//! engine's own clock: with the next prompt queued already, with a client that knows of each end at once and has the
//! next prompt at hand, and with agents, which fetch the picture, store it, hand it in and claim the next job.

use crate::stage::{NO_GPU, Stage};
use crate::support::Agent;
use crate::table::{Table, us};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::time::{Duration, Instant};

const RUNS: usize = 100;
/// Connections are opened and plans made in the first ones.
const WARM_UP: usize = 10;
/// Five of them make a run: longer than all that comes between two, as runs of real engines are.
const STEP: Duration = Duration::from_millis(20);

pub async fn run(table: &mut Table) {
    let engine = engine().await;
    let client = reqwest::Client::new();
    for at in 0..RUNS + WARM_UP {
        post(&client, &engine, at).await;
    }
    table.spread("the engine's own: the next prompt is queued already", "us", &gaps(&engine).await, None);

    let engine = self::engine().await;
    for at in 0..RUNS + WARM_UP {
        post(&client, &engine, at).await;
        engine.spans(at + 1).await;
    }
    let bare = table.yardstick("bare client: submits the next as soon as one has ended", "us", &gaps(&engine).await);

    for (name, concurrent) in [("an agent", "1"), ("an agent with CONCURRENT_JOBS=2", "2")] {
        let (stage, engine) = (Stage::set().await, self::engine().await);
        for at in 0..RUNS + WARM_UP {
            stage.submit(json!({"service_required": "comfyui", "payload": {"workflow": picture(at)}})).await;
        }
        let url = engine.url();
        let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", &url), ("CONCURRENT_JOBS", concurrent)];
        let agent = Agent::spawn(&stage.server, "painter", &[NO_GPU.as_slice(), &env].concat());
        let gaps = gaps(&engine).await;
        stage.finished((RUNS + WARM_UP) as u64).await;
        table.spread(name, "us", &gaps, Some(&bare));
        drop(agent);
    }
}

async fn engine() -> StandIn {
    StandIn::start(Options { step_time: STEP, ..Options::default() }).await.expect("an engine")
}

/// Each with a seed of its own: none is served from the cache.
fn picture(seed: usize) -> Value {
    let mut graph: Value = serde_json::from_str(include_str!("../../examples/comfyui-workflow.json")).expect("JSON");
    graph["3"]["inputs"]["seed"] = json!(seed + 1);
    graph["3"]["inputs"]["steps"] = json!(5);
    graph
}

async fn post(client: &reqwest::Client, engine: &StandIn, seed: usize) {
    let body = json!({"prompt": picture(seed), "client_id": "bare"});
    let answer = client.post(format!("{}/prompt", engine.url())).json(&body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Microseconds between runs, once all have ended.
async fn gaps(engine: &StandIn) -> Vec<f64> {
    let spans: Vec<(Instant, Instant)> = engine.spans(RUNS + WARM_UP).await;
    let gaps = spans.windows(2).map(|two| us(two[1].0.saturating_duration_since(two[0].1)));
    gaps.skip(WARM_UP).collect()
}

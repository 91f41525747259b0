//! What each report says the server is at, for those who watch that it goes on.
//! In: runs of several kinds. Out: stages, in the order in which they were told.

use super::{PNG, fox_with, run, stand_in};
use connectors::conformance::Bench;
use connectors::contract::Stage;
use serde_json::json;

/// Each once for as long as it lasts.
fn stages(bench: &Bench) -> Vec<Stage> {
    let mut stages: Vec<_> = bench.progress.reports().into_iter().map(|report| report.stage).collect();
    stages.dedup();
    stages
}

fn kind(words: &str) -> Stage {
    Stage::Kind(words.to_owned())
}

#[tokio::test]
async fn loading_and_sampling_have_kinds_and_what_tells_nothing_is_unseen() {
    let server = stand_in().await;
    let payload = fox_with(json!({ "steps": 200, "batch_size": 2, "sd_model_checkpoint": "sd_xl_base_1.0" }));
    let (ended, bench) = run(&server, payload).await;
    ended.unwrap();
    let expected = [
        Stage::Waiting,
        kind("loading the checkpoint sd_xl_base_1.0.safetensors"),
        Stage::Unseen,
        kind("txt2img sd_xl_base_1.0 64x64x2"),
        Stage::Fetching,
    ];
    assert_eq!(stages(&bench), expected);
}

#[tokio::test]
async fn where_a_model_may_be_loaded_between_two_steps_no_usual_time_is_learnt() {
    let server = stand_in().await;
    let (ended, bench) = run(&server, fox_with(json!({ "steps": 200, "refiner_checkpoint": "sd_xl_base_1.0" }))).await;
    ended.unwrap();
    assert_eq!(stages(&bench), [Stage::Waiting, Stage::Unseen, Stage::Working, Stage::Fetching]);
}

#[tokio::test]
async fn upscaling_tells_nothing_until_it_is_done() {
    let (ended, bench) = run(&stand_in().await, json!({ "image": PNG, "upscaler_1": "Lanczos" })).await;
    ended.unwrap();
    assert_eq!(stages(&bench), [Stage::Waiting, Stage::Unseen, Stage::Fetching]);
}

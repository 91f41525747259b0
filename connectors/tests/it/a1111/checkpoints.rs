//! Checkpoints in folders, whose names the server writes in three ways: by path, with underscores, and bare in results.
//! In: stand-ins with such files. Out: which one was used, and whether the result was recognised.

use super::{connector, failure, fox_with, run, run_on, stand_in_with};
use connectors::contract::Connector;
use connectors::failure::Reason;
use serde_json::json;
use stand_ins::a1111::{Checkpoint, Options, StandIn};

async fn with_files(names: &[&str]) -> StandIn {
    let checkpoints = names.iter().map(|name| Checkpoint::named(name)).collect();
    stand_in_with(Options { checkpoints, ..Options::default() }).await
}

#[tokio::test]
async fn a_checkpoint_in_a_folder_is_recognised_in_the_result_by_each_of_its_names() {
    let server = with_files(&["base", "anime/pastel"]).await;
    let a1111 = connector(&server.url());
    let hash = &Checkpoint::named("anime/pastel").sha256[..10];
    let title = format!("anime/pastel.safetensors [{hash}]");
    for name in ["anime/pastel.safetensors", "anime_pastel", "pastel.safetensors", "pastel", &title, hash] {
        let (ended, _) = run_on(&a1111, fox_with(json!({ "sd_model_checkpoint": name }))).await;
        assert_eq!(ended.unwrap().data["model"], "pastel", "{name}");
        assert_eq!(server.executions().last().unwrap().checkpoint, "anime/pastel", "{name}");
    }
}

#[tokio::test]
async fn of_two_files_of_one_name_the_one_in_the_named_folder_is_used() {
    let server = with_files(&["base", "anime/pastel", "pastel", "photo/pastel"]).await;
    let a1111 = connector(&server.url());
    for (name, used) in [
        ("photo/pastel.safetensors", "photo/pastel"),
        ("pastel.safetensors", "pastel"),
        ("anime_pastel", "anime/pastel"),
        ("pastel", "pastel"),
    ] {
        run_on(&a1111, fox_with(json!({ "sd_model_checkpoint": name }))).await.0.unwrap();
        assert_eq!(server.executions().last().unwrap().checkpoint, used, "{name}");
    }
    a1111.probe().await;
    let titles = a1111.models(&super::fox_job(json!({ "sd_model_checkpoint": "pastel.safetensors" })));
    assert_eq!(titles, ["pastel.safetensors"], "what is advertised is what is used");
}

#[tokio::test]
async fn a_file_of_the_same_name_in_another_folder_is_told_apart_by_its_hash() {
    let server = with_files(&["pastel", "anime/pastel"]).await;
    server.quirks(|quirks| quirks.wrong_checkpoint = true);
    let (ended, bench) = run(&server, fox_with(json!({ "sd_model_checkpoint": "anime/pastel.safetensors" }))).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
    assert!(bench.outputs.files().is_empty());
}

//! Every recording of both releases of ComfyUI, by name: each run in it must come out of the connector as it ended then.
//! In: `stand-ins/tests/recordings`. Out: one test a recording; and one that none is left out and none is named for nothing.
//!
//! A run that went well is an outcome with all its files, one that failed or was interrupted a failure; a submission that
//! was refused is one too. What a recording shows beside its runs has tests of its own (`replayed`, `comfyui_refusals`,
//! `hazards`). Recordings without a run are listed with the reason and the test that has their facts.

use crate::comfyui::run;
use crate::replay::{Cut, Replay, http_steps, recording};
use connectors::contract::RunError;
use connectors::failure::Reason;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

const RELEASES: [&str; 2] = ["0.27.0", "0.3.64"];

fn folder(release: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../stand-ins/tests/recordings").join(release)
}

fn names(release: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder(release)).unwrap().flatten();
    files.map(|file| file.file_name().to_string_lossy().replace(".json", "")).collect()
}

/// Plays each run of a recording to the connector, on each release that it was made with. Gives the number of runs.
async fn as_recorded(name: &str) -> usize {
    let mut runs = 0;
    for release in RELEASES.into_iter().filter(|release| names(release).contains(name)) {
        let path = format!("{release}/{name}");
        let recorded = recording(&path);
        for (nth, step) in http_steps(&recorded, "POST", "/prompt").into_iter().enumerate() {
            if step["request"]["body"]["prompt"].is_object() {
                runs += usize::from(plays_as_recorded(&path, nth, &step["response"]).await);
            }
        }
    }
    assert!(runs > 0, "{name}: nothing in it was played");
    runs
}

/// `false`: nobody saw how that run ended (it was deleted while it waited), or its answer shows no run.
async fn plays_as_recorded(path: &str, nth: usize, answer: &Value) -> bool {
    let replay = Replay::start(path, nth, Cut::default()).await;
    let mut graph = replay.graph();
    // The connector does not take such a graph, with good reason (`hazards`).
    graph.as_object_mut().unwrap().retain(|_, node| node["class_type"] != "SaveImageWebsocket");
    let partly = answer["body"]["node_errors"].as_object().is_some_and(|errors| !errors.is_empty());
    let end = match answer["status"].as_u64().unwrap() {
        200 if partly => Some("refused in part".to_owned()),
        200 => replay.recorded_end(),
        _ => Some("refused".to_owned()),
    };
    let Some(end) = end else { return false };
    let what = format!("{path}, submission {nth}, which was or ended as {end}");
    let (ended, bench) = run(replay.url(), graph).await;
    match (end.as_str(), ended) {
        ("success", Ok(outcome)) => {
            assert_eq!(outcome.outputs.len(), bench.outputs.files().len(), "{what}");
            let fractions: Vec<f64> = bench.progress.reports().iter().map(|report| report.fraction).collect();
            assert!(fractions.is_sorted() && fractions.last() == Some(&1.0), "{what}: {fractions:?}");
        }
        // A cached run named a file that was deleted before, or named none since its prompt had no client id.
        ("success", Err(RunError::Failed(failure))) => {
            assert_eq!(failure.reason, Reason::MissingExpectedData, "{what}: {failure}");
            assert!(was_gone(path) || replay.names_no_output(), "{what}: {failure}");
        }
        ("interrupted", Err(RunError::Failed(failure))) => {
            assert_eq!(failure.reason, Reason::ServiceUnavailable, "{what}: {failure}");
        }
        ("error", Err(RunError::Failed(failure))) => {
            assert!(failure.message.contains("node "), "{what}: {failure}");
            assert!(!failure.message.contains("/opt") && !failure.message.contains("Traceback"), "{what}: {failure}");
        }
        ("refused" | "refused in part", Err(RunError::Failed(failure))) => {
            assert!(bench.outputs.files().is_empty(), "{what}: {failure}");
        }
        (_, ended) => panic!("{what}, but now as {ended:?}"),
    }
    true
}

/// Whether the server had to answer 404 to a question for a file.
fn was_gone(path: &str) -> bool {
    let recorded = recording(path);
    let steps = recorded["steps"].as_array().unwrap().iter();
    let views = steps.filter(|step| step["request"]["path"].as_str().is_some_and(|path| path.starts_with("/view")));
    views.into_iter().any(|step| step["response"]["status"] == 404)
}

macro_rules! replayed {
    ($($test:ident $name:literal $runs:literal),* $(,)?) => {
        /// Name and number of runs in both releases, so that none drops out unseen.
        const REPLAYED: &[&str] = &[$($name),*];
        $(
            #[tokio::test]
            async fn $test() {
                assert_eq!(as_recorded($name).await, $runs, "runs that were played");
            }
        )*
    };
}

replayed! {
    cached_name_reused_after_cleanup "cached-name-reused-after-cleanup" 3,
    checkpoint_broken_file "checkpoint-broken-file" 1,
    client_chosen_prompt_id "client-chosen-prompt-id" 14,
    extra_data_round_trip "extra-data-round-trip" 1,
    feature_flags_not_first "feature-flags-not-first" 2,
    free_clears_node_cache "free-clears-node-cache" 10,
    interrupt_by_prompt_id "interrupt-by-prompt-id" 2,
    interrupt_global "interrupt-global" 2,
    interrupt_misses "interrupt-misses" 4,
    interrupt_node_that_never_polls "interrupt-node-that-never-polls" 2,
    jobs_cancel "jobs-cancel" 3,
    ksampler_run "ksampler-run" 3,
    no_client_id "no-client-id" 6,
    output_kinds "output-kinds" 2,
    preview_frames_legacy "preview-frames-legacy" 4,
    preview_frames_with_metadata "preview-frames-with-metadata" 4,
    prompt_validation_errors "prompt-validation-errors" 44,
    queue_several_clients "queue-several-clients" 12,
    runtime_error_exception "runtime-error-exception" 2,
    runtime_error_out_of_memory "runtime-error-out-of-memory" 2,
    runtime_error_two_branches "runtime-error-two-branches" 2,
    success_first_run "success-first-run" 2,
    success_identical_resubmission_cached "success-identical-resubmission-cached" 4,
    success_partly_cached "success-partly-cached" 2,
    upload_image_and_load "upload-image-and-load" 4,
    view_variants "view-variants" 1,
    ws_late_subscriber "ws-late-subscriber" 2,
    ws_reconnect_mid_run "ws-reconnect-mid-run" 2,
    ws_without_client_id "ws-without-client-id" 2,
}

/// What cannot be played as a run of ours: the name, why, and the test that has its facts.
const OTHERS: &[(&str, &str, &str)] = &[
    ("body-size-limit", "the body of 101 MiB was cut out", "hazards::a_workflow_that_is_too_large_is_not_sent"),
    (
        "info-endpoints",
        "no run: what a server says of itself",
        "hazards::both_releases_and_what_lies_between_are_told_apart",
    ),
    (
        "lost-answer-to-submission",
        "submitted by hand on a bare connection, so no submission was recorded",
        "comfyui_wire::a_submission_whose_answer_is_lost_was_queued_and_runs_once",
    ),
    (
        "node-exits-process",
        "its submission was never answered",
        "comfyui_trouble::a_node_that_ends_the_process_ends_the_run",
    ),
    ("queue-to-history-gap", "a summary without steps", "points::point_07_queue_is_asked_before_history"),
    ("race-history-after-success", "a summary without steps", "replayed::race_history_after_success"),
    (
        "server-frozen-mid-run",
        "no run in it ended",
        "replayed::server_frozen_mid_run_ends_in_a_failure_and_not_in_a_hang",
    ),
    (
        "server-killed-mid-run",
        "no run in it ended",
        "replayed::server_ended_mid_run_is_told_by_a_server_that_knows_nothing",
    ),
    (
        "server-sigint-mid-run",
        "no run in it ended",
        "replayed::server_ended_mid_run_is_told_by_a_server_that_knows_nothing",
    ),
    (
        "server-sigterm-mid-run",
        "no run in it ended",
        "replayed::server_ended_mid_run_is_told_by_a_server_that_knows_nothing",
    ),
    (
        "slow-reader-blocks-everybody",
        "the socket that does not read was not recorded",
        "points::point_05_socket_is_read_fast_while_other_questions_hang",
    ),
    (
        "ws-ping-pong",
        "control frames were only summed up",
        "comfyui_wire::a_websocket_that_is_cut_off_or_falls_silent_costs_no_job",
    ),
    ("ws-second-socket-same-client-id", "nobody saw its runs end", "points::point_04_one_fresh_client_id_per_socket"),
];

/// The tests that tables may name.
fn exists(test: &str) -> bool {
    let (module, function) = test.split_once("::").unwrap();
    let path = format!("{}/tests/it/{module}.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    source.contains(&format!("fn {function}("))
}

#[test]
fn no_recording_is_left_out_and_none_is_listed_for_nothing() {
    let files: BTreeSet<String> = RELEASES.iter().flat_map(|release| names(release)).collect();
    let others = OTHERS.iter().map(|(name, ..)| *name);
    let listed: Vec<&str> = REPLAYED.iter().copied().chain(others).collect();
    let once: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!((once.len(), &once), (listed.len(), &files), "each file once");
    for (name, why, test) in OTHERS {
        assert!(!why.is_empty() && exists(test), "{name}: {test} does not exist");
    }
}

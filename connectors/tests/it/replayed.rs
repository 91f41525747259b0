//! Recorded runs of both releases, played back to the connector.
//! In: recordings by name. Out: the outcome, progress or failure that they must lead to.

use crate::comfyui::{connector, connector_with, failure, graph_job, run, soon, timing};
use crate::replay::{Cut, Replay};
use connectors::comfyui::Timing;
use connectors::conformance::Bench;
use connectors::contract::{Connector, Outcome, RunError};
use connectors::failure::Reason;
use std::time::Duration;

const RELEASES: [&str; 2] = ["0.27.0", "0.3.64"];

async fn play(name: &str, nth: usize, cut: Cut) -> (Result<Outcome, RunError>, Bench, Replay) {
    let replay = Replay::start(name, nth, cut).await;
    let (ended, bench) = run(replay.url(), replay.graph()).await;
    (ended, bench, replay)
}

fn fractions(bench: &Bench) -> Vec<f64> {
    bench.progress.reports().iter().map(|report| report.fraction).collect()
}

#[tokio::test]
async fn success_first_run() {
    for release in RELEASES {
        let (ended, bench, _replay) = play(&format!("{release}/success-first-run"), 0, Cut::default()).await;
        let outcome = ended.unwrap();
        assert_eq!(outcome.outputs.len(), 1);
        let picture = &outcome.outputs[0];
        assert_eq!((&*picture.kind, &*picture.media_type), ("images", "image/png"));
        assert_eq!(&bench.outputs.files()[0].bytes[..4], b"\x89PNG");
        assert_eq!(outcome.data["cached_nodes"], 0);
        let fractions = fractions(&bench);
        assert!(fractions.is_sorted() && fractions.last() == Some(&1.0), "{fractions:?}");
        // Five nodes, one after the other: each ends a fifth.
        for fifth in 1..5 {
            assert!(fractions.contains(&(fifth as f64 / 5.0)), "{fractions:?}");
        }
        let nodes: Vec<_> = bench.progress.reports().into_iter().filter_map(|report| report.node).collect();
        assert!(["1", "2", "3", "4", "9"].iter().all(|node| nodes.iter().any(|seen| seen == node)));
        assert!(outcome.timings.contains_key("run_ms") && outcome.timings.contains_key("fetch_ms"));
    }
}

#[tokio::test]
async fn success_identical_resubmission_cached() {
    for release in RELEASES {
        let name = format!("{release}/success-identical-resubmission-cached");
        let (ended, bench, _replay) = play(&name, 0, Cut::default()).await;
        assert_eq!(ended.unwrap().data["cached_nodes"], 5);
        assert!(fractions(&bench).is_sorted());
    }
}

#[tokio::test]
async fn success_partly_cached_counts_only_what_is_left() {
    for release in RELEASES {
        let (ended, bench, _replay) = play(&format!("{release}/success-partly-cached"), 0, Cut::default()).await;
        let outcome = ended.unwrap();
        assert_eq!(outcome.data["cached_nodes"], 4);
        let nodes: Vec<_> = bench.progress.reports().into_iter().filter_map(|report| report.node).collect();
        assert!(nodes.iter().all(|node| node == "9") && !nodes.is_empty(), "{nodes:?}");
    }
}

#[tokio::test]
async fn a_deleted_cached_file_is_missing_expected_data() {
    let name = "0.27.0/success-identical-resubmission-cached";
    let (ended, bench, _replay) = play(name, 1, Cut::default()).await;
    assert_eq!(failure(ended).reason, Reason::MissingExpectedData);
    assert!(bench.outputs.files().is_empty());
}

#[tokio::test]
async fn ksampler_run_reports_steps_of_a_node() {
    let (_, bench, _replay) = play("0.27.0/ksampler-run", 0, Cut::default()).await;
    let steps: Vec<_> = bench.progress.reports().into_iter().filter_map(|report| report.step).collect();
    assert!(!steps.is_empty() && steps.is_sorted(), "{steps:?}");
    let messages: Vec<_> = bench.progress.reports().into_iter().filter_map(|report| report.message).collect();
    assert!(messages.iter().any(|said| said.contains("KSampler: step ")), "{messages:?}");
}

#[tokio::test]
async fn preview_frames_of_both_layouts_are_shown_with_their_node() {
    for release in RELEASES {
        for layout in ["legacy", "with-metadata"] {
            for (nth, media_type) in [(0, "image/jpeg"), (1, "image/png")] {
                let name = format!("{release}/preview-frames-{layout}");
                let (ended, bench, _replay) = play(&name, nth, Cut::default()).await;
                assert_eq!(ended.unwrap().outputs.len(), 1);
                // Frames come faster here than they were made: whoever is slow sees the newest alone.
                let previews = bench.progress.previews();
                assert!((1..=3).contains(&previews.len()), "{name}: {}", previews.len());
                for preview in previews {
                    assert_eq!((preview.media_type, preview.node.as_deref()), (media_type, Some("2")), "{name}");
                    assert!(preview.bytes.len() > 1_000, "{name}: whole");
                }
            }
        }
    }
}

#[tokio::test]
async fn runtime_error_exception_names_node_and_exception_alone() {
    for release in RELEASES {
        let (ended, _, _replay) = play(&format!("{release}/runtime-error-exception"), 0, Cut::default()).await;
        let failure = failure(ended);
        assert_eq!(failure.message, "node 3 (LabFail) failed with ValueError: synthetic value failure");
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InternalError, false));
    }
}

#[tokio::test]
async fn runtime_error_out_of_memory_is_the_hosts() {
    for release in RELEASES {
        let (ended, _, _replay) = play(&format!("{release}/runtime-error-out-of-memory"), 0, Cut::default()).await;
        let failure = failure(ended);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::GpuMemoryFull, true));
        assert!(failure.message.starts_with("node 3 (LabFail) ran out of GPU memory"), "{failure}");
    }
}

#[tokio::test]
async fn runtime_error_two_branches_fails_although_one_branch_saved() {
    for release in RELEASES {
        let (ended, bench, _replay) = play(&format!("{release}/runtime-error-two-branches"), 0, Cut::default()).await;
        let message = failure(ended).message;
        let said = "node 4 (LabFail) failed with RuntimeError: synthetic runtime failure; other branches have finished";
        assert!(message.starts_with(said) && message.contains("partial"), "{message}");
        assert_eq!(bench.outputs.begun(), 0);
    }
}

#[tokio::test]
async fn checkpoint_broken_file_is_the_hosts() {
    let (ended, _, _replay) = play("0.27.0/checkpoint-broken-file", 0, Cut::default()).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
    assert!(!failure.message.contains("fox"), "{failure}");
}

#[tokio::test]
async fn interrupt_by_somebody_else_is_a_failure_that_can_be_tried_again() {
    for release in RELEASES {
        for name in ["interrupt-by-prompt-id", "interrupt-node-that-never-polls"] {
            let (ended, _, _replay) = play(&format!("{release}/{name}"), 0, Cut::default()).await;
            assert_eq!(failure(ended).reason, Reason::ServiceUnavailable);
        }
    }
}

#[tokio::test]
async fn server_ended_mid_run_is_told_by_a_server_that_knows_nothing() {
    for name in ["server-killed-mid-run", "server-sigint-mid-run", "server-sigterm-mid-run"] {
        let (ended, _, replay) = play(&format!("0.27.0/{name}"), 0, Cut::default()).await;
        let failure = failure(ended);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceUnavailable, true), "{name}");
        let sockets = replay.sockets();
        assert_eq!(sockets.len(), 2, "{name}: connected again exactly once");
        assert_eq!(sockets[0], sockets[1], "{name}: under the same client id");
    }
}

#[tokio::test]
async fn server_frozen_mid_run_ends_in_a_failure_and_not_in_a_hang() {
    let replay = Replay::start("0.27.0/server-frozen-mid-run", 0, Cut::default()).await;
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let timing = Timing { request: short, ping: short, unreachable: short * 4, ..timing() };
    let bench = Bench::new();
    let (comfy, job) = (connector_with(replay.url(), timing), graph_job(replay.graph()));
    let ended = soon(comfy.run(&job, &bench.ctx)).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceUnavailable, true));
    assert!(failure.message.contains("restart"), "{failure}");
}

#[tokio::test]
async fn ws_reconnect_mid_run_costs_nothing() {
    for release in RELEASES {
        // History stays silent: what counts is that the second socket was heard.
        let cut = Cut { history_after: usize::MAX, ..Cut::default() };
        let replay = Replay::start(&format!("{release}/ws-reconnect-mid-run"), 0, cut).await;
        let patient = Timing { second_look: Duration::from_secs(60), stop: Duration::from_millis(50), ..timing() };
        let (comfy, job, bench) = (connector_with(replay.url(), patient), graph_job(replay.graph()), Bench::new());
        let hear = async {
            bench.progress.wait_for(|report| report.step.is_some_and(|(value, _)| value >= 8)).await;
            bench.ctx.cancel.cancel();
        };
        let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), hear) }).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        let sockets = replay.sockets();
        assert_eq!((sockets.len(), &sockets[0]), (2, &sockets[1]));
        assert!(fractions(&bench).is_sorted());
    }
}

#[tokio::test]
async fn a_socket_that_drops_at_any_frame_costs_no_job() {
    for drop_after in 1..=22 {
        let cut = Cut { drop_after: Some(drop_after), ..Cut::default() };
        let (ended, bench, _replay) = play("0.27.0/success-first-run", 0, cut).await;
        assert_eq!(ended.unwrap().outputs.len(), 1, "dropped after {drop_after} frames");
        assert!(fractions(&bench).is_sorted());
    }
}

#[tokio::test]
async fn a_lost_completion_event_costs_one_silence() {
    let cut = Cut { without: vec!["execution_success", "executing null"], ..Cut::default() };
    let (ended, _, replay) = play("0.27.0/success-first-run", 0, cut).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
    assert_eq!(replay.sockets().len(), 1);
}

#[tokio::test]
async fn race_history_after_success() {
    let cut = Cut { without: vec!["executing null"], history_after: 3, ..Cut::default() };
    let (ended, _, _replay) = play("0.27.0/success-first-run", 0, cut).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn without_a_socket_a_job_still_runs() {
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut { no_socket: true, ..Cut::default() }).await;
    let bench = Bench::new();
    let (comfy, job) = (connector(replay.url()), graph_job(replay.graph()));
    let run = comfy.run(&job, &bench.ctx);
    let over = async {
        bench.ledger.first_id().await;
        replay.end().await;
    };
    let (ended, ()) = soon(async { tokio::join!(run, over) }).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn output_kinds_are_all_taken_and_previews_left() {
    for release in RELEASES {
        let replay = Replay::start(&format!("{release}/output-kinds"), 0, Cut::default()).await;
        let mut graph = replay.graph();
        let nodes = graph.as_object_mut().unwrap();
        nodes.retain(|_, node| node["class_type"] != "SaveImageWebsocket");
        let outcome = run(replay.url(), graph).await.0.unwrap();
        let names: Vec<_> = outcome.outputs.iter().map(|output| &*output.name).collect();
        for ending in [".png", ".webp", ".webm", ".latent", ".flac", ".mp4"] {
            assert!(names.iter().any(|name| name.ends_with(ending)), "{ending} in {names:?}");
        }
        assert!(names.iter().all(|name| !name.contains("temp")), "{names:?}");
        assert!(outcome.outputs.iter().any(|output| output.kind == "latents"));
        assert!(outcome.outputs.iter().any(|output| output.kind == "audio"));
        assert_eq!(outcome.data["texts"]["19"][0], "free text");
        let video = outcome.outputs.iter().find(|output| output.name.ends_with(".mp4")).unwrap();
        assert_eq!((&*video.kind, &*video.media_type), ("images", "video/mp4"));
    }
}

#[tokio::test]
async fn progress_is_real_without_state_messages_too() {
    let cut = Cut { without: vec!["progress_state"], ..Cut::default() };
    let (ended, bench, _replay) = play("0.27.0/success-first-run", 0, cut).await;
    ended.unwrap();
    let fractions = fractions(&bench);
    assert!(fractions.is_sorted() && fractions.contains(&0.6) && fractions.contains(&0.8), "{fractions:?}");
}

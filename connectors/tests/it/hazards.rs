//! What ComfyUI does that a connector must be ready for, hazard by hazard, beside the ten points of `points`.
//! In: the stand-in of both releases, of one in between and of a fork. Out: proof by name.
//!
//! | hazard | test |
//! |---|---|
//! | releases differ, forks have strange versions, a server is replaced by another | `both_releases_and_what_lies_between_are_told_apart`, `a_server_that_becomes_another_is_asked_anew` |
//! | the same id runs as often as it is submitted | `points::point_01_prompt_id_is_stored_before_post` |
//! | bodies over the limit; 500 and lost answers though it is queued | `a_workflow_that_is_too_large_is_not_sent`, `points::point_08_…` |
//! | API keys are shown to everybody | `api_keys_go_only_to_servers_that_keep_them_to_themselves` |
//! | prompts without client id broadcast to all | `other_peoples_broadcasts_are_not_taken_for_ours` |
//! | a second socket of the same id goes deaf | `points::point_04_one_fresh_client_id_per_socket` |
//! | no pings, frozen with an open socket, ended without close frame | `comfyui_wire`, `replayed::server_frozen_…`, `replayed::server_ended_…` |
//! | a slow reader stalls everybody | `points::point_05_socket_is_read_fast_while_other_questions_hang` |
//! | success before history, endings lost | `replayed::race_history_after_success`, `points::point_06_…` |
//! | a blocked branch is told on the socket alone | `a_blocked_branch_is_told_and_no_failure`, `a_workflow_that_blocks_all_…`, `a_block_that_nobody_heard_of_…` |
//! | pictures in two layouts, one of which names nobody; unknown and large frames | `pictures_of_both_layouts_are_shown_with_their_node`, `a_large_picture_comes_whole`, `frame` (unit) |
//! | results sent as pictures alone (SaveImageWebsocket) | `comfyui_refusals::payloads_of_the_wrong_shape_never_reach_the_server` |
//! | only a part of the graph runs, or one branch fails | `a_part_is_refused_unless_the_job_takes_it`, `finished_branches_are_taken_if_the_job_says_so` |
//! | error messages repeat inputs and paths | `comfyui_trouble::user_text_in_an_exception_is_not_passed_on` |
//! | videos among images, strange kinds, previews in `temp` | `replayed::output_kinds_…`, `comfyui_trouble::previews_are_taken_only_if_nothing_was_saved` |
//! | a cached run names deleted or foreign files | `points::point_03_file_prefix_is_unique_per_attempt`, `replayed::a_deleted_cached_file_is_missing_expected_data` |
//! | interrupts hit whatever runs (before 0.3.57), are late, or are never looked at | `an_interrupt_of_an_old_server_hits_nobody_else`, `comfyui_cancel` |
//! | memory is freed later than asked | `comfyui_trouble::memory_that_was_asked_back_is_waited_for` |
//! | uploads are renamed | with the inputs of a job |

use crate::comfyui::{connector, failure, graph_job, run, soon, steps_graph};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Interrupted, Job, RunError};
use connectors::failure::Reason;
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Quirks, Release, StandIn};

const RELEASES: [Release; 2] = [Release::V0_27_0, Release::V0_3_64];

async fn stand_in(release: Release, quirks: Quirks) -> StandIn {
    StandIn::start(Options { release, quirks, ..Options::default() }).await.unwrap()
}

fn told(version: &str) -> Quirks {
    Quirks { version: Some(version.to_owned()), ..Quirks::default() }
}

/// A server of the newer release that says so, and has no route to cancel jobs.
fn without_cancel_route(version: &str) -> Quirks {
    Quirks { missing_routes: ["POST /jobs/{id}/cancel".to_owned()].into(), ..told(version) }
}

fn shown(mut graph: Value, format: &str) -> Value {
    graph["2"]["inputs"]["preview"] = json!(format);
    graph
}

fn job_with(graph: Value, more: Value, ctx: Value) -> Job {
    let mut payload = json!({ "workflow": graph });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Job { ctx, ..job("job-1", "comfyui", payload) }
}

/// A sampler, whose pictures depend on what the prompt asks for.
fn sampled() -> Value {
    serde_json::from_str(include_str!("../../../examples/comfyui-workflow.json")).unwrap()
}

#[tokio::test]
async fn both_releases_and_what_lies_between_are_told_apart() {
    let servers = [
        (Release::V0_27_0, Quirks::default(), "0.27.0", true),
        (Release::V0_3_64, Quirks::default(), "0.3.64", false),
        (Release::V0_27_0, without_cancel_route("0.20.1"), "0.20.1", true),
        (Release::V0_27_0, without_cancel_route("swarm-7"), "swarm-7", true),
        (Release::V0_3_64, told("v0.3.45-9-gabc"), "v0.3.45-9-gabc", false),
    ];
    for (release, quirks, version, shows) in servers {
        let server = stand_in(release, quirks).await;
        let comfy = connector(&server.url());
        let probe = comfy.probe().await;
        assert!(probe.is_healthy(), "{version}: {:?}", probe.health);
        assert_eq!(probe.version.as_deref(), Some(version));
        // Pictures of a sampler come only if the prompt asks for them, and the server understands.
        let bench = Bench::new();
        let asks = job_with(sampled(), json!({}), json!({ "previews": true }));
        assert_eq!(soon(comfy.run(&asks, &bench.ctx)).await.unwrap().outputs.len(), 1, "{version}");
        assert_eq!(!bench.progress.previews().is_empty(), shows, "{version}");
        let quiet = Bench::new();
        soon(comfy.run(&job_with(sampled(), json!({}), Value::Null), &quiet.ctx)).await.unwrap();
        assert_eq!(quiet.progress.previews(), [], "{version}: nobody asked");
        // Cancelled by whatever route there is.
        let bench = Bench::new();
        let endless = graph_job(steps_graph(3, 9_000, 0.01));
        let stop = async {
            bench.progress.wait_for(|report| report.step.is_some()).await;
            bench.ctx.cancel.cancel();
        };
        let (ended, ()) = soon(async { tokio::join!(comfy.run(&endless, &bench.ctx), stop) }).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{version}: {ended:?}");
        assert_eq!(server.executions().last().unwrap().outcome, "interrupted", "{version}");
    }
}

#[tokio::test]
async fn a_server_that_becomes_another_is_asked_anew() {
    let server = stand_in(Release::V0_27_0, Quirks::default()).await;
    let comfy = connector(&server.url());
    comfy.probe().await;
    // Replaced by an older one, and nobody has asked how it is since.
    server.quirks(|quirks| *quirks = without_cancel_route("0.3.57"));
    let bench = Bench::new();
    let endless = graph_job(steps_graph(4, 9_000, 0.01));
    let stop = async {
        bench.progress.wait_for(|report| report.step.is_some()).await;
        assert_eq!(comfy.interrupt(&bench.ledger.ids()[0]).await.unwrap(), Interrupted::Stopped);
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&endless, &bench.ctx), stop) }).await;
    assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
    // The next probe sees it: keys are not given to it any more.
    assert_eq!(comfy.probe().await.version.as_deref(), Some("0.3.57"));
    let with_key = job_with(steps_graph(5, 1, 0.0), json!({ "extra_data": { "api_key_comfy_org": "k" } }), Value::Null);
    let bench = Bench::new();
    assert_eq!(failure(soon(comfy.run(&with_key, &bench.ctx)).await).reason, Reason::ComponentError);
    server.quirks(|quirks| *quirks = Quirks::default());
    comfy.probe().await;
    soon(comfy.run(&with_key, &bench.ctx)).await.unwrap();
}

#[tokio::test]
async fn an_interrupt_of_an_old_server_hits_nobody_else() {
    let quirks = Quirks { interrupts_ignore_ids: true, ..told("0.3.50") };
    let server = stand_in(Release::V0_3_64, quirks).await;
    server.step_by_hand(true);
    let comfy = connector(&server.url());
    let (theirs, ours) = (Bench::new(), Bench::new());
    let (running, waiting) = (graph_job(steps_graph(6, 3, 0.0)), graph_job(steps_graph(7, 3, 0.0)));
    let meddle = async {
        server.starving().await;
        let queued = async {
            ours.progress
                .wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("1 other")))
                .await;
            ours.ctx.cancel.cancel();
        };
        let (ended, ()) = tokio::join!(comfy.run(&waiting, &ours.ctx), queued);
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        // Unknown and finished ids hit nobody either.
        let nobodys = uuid::Uuid::new_v4().to_string();
        assert_eq!(comfy.interrupt(&nobodys).await.unwrap(), Interrupted::NothingToStop);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&running, &theirs.ctx), meddle) }).await;
    assert_eq!(ended.unwrap().outputs.len(), 1, "the running one went on");
}

#[tokio::test]
async fn a_workflow_that_is_too_large_is_not_sent() {
    for release in RELEASES {
        let options = Options { release, max_upload_size: 4_000, ..Options::default() };
        let server = StandIn::start(options).await.unwrap();
        let mut graph = steps_graph(8, 1, 0.0);
        graph["3"] = json!({ "class_type": "LabText", "inputs": { "text": "long ".repeat(1_000) } });
        let (ended, bench) = run(&server.url(), graph).await;
        let failure = failure(ended);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidPayload, false));
        assert!(failure.message.contains("4000 at most (--max-upload-size)"), "{failure}");
        assert!(bench.ledger.ids().is_empty(), "nothing was begun");
    }
}

#[tokio::test]
async fn api_keys_go_only_to_servers_that_keep_them_to_themselves() {
    let extra = json!({ "extra_data": { "api_key_comfy_org": "secret-key", "extra_pnginfo": { "workflow": {} } } });
    let keyed = job_with(steps_graph(9, 1, 0.0), extra, Value::Null);
    let old = stand_in(Release::V0_3_64, Quirks::default()).await;
    let bench = Bench::new();
    let failure = failure(soon(connector(&old.url()).run(&keyed, &bench.ctx)).await);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ComponentError, true));
    assert!(failure.message.contains("0.3.68") && !failure.message.contains("secret-key"), "{failure}");
    assert!(bench.ledger.ids().is_empty() && old.executions().is_empty());
    let new = stand_in(Release::V0_27_0, Quirks::default()).await;
    let bench = Bench::new();
    let outcome = soon(connector(&new.url()).run(&keyed, &bench.ctx)).await.unwrap();
    assert!(outcome.timings.contains_key("queued_ms"), "by the server's own clock: {:?}", outcome.timings);
    let id = &bench.ledger.ids()[0];
    let history = reqwest::get(format!("{}/history/{id}", new.url())).await.unwrap().text().await.unwrap();
    assert!(history.contains("extra_pnginfo") && history.contains("\"job_id\":\"job-1\""), "{history}");
    assert!(!history.contains("secret-key"));
}

#[tokio::test]
async fn pictures_of_both_layouts_are_shown_with_their_node() {
    for release in RELEASES {
        for ignores_feature_flags in [false, true] {
            let server = stand_in(release, Quirks { ignores_feature_flags, ..Quirks::default() }).await;
            for (format, media_type) in [("JPEG", "image/jpeg"), ("PNG", "image/png")] {
                let (ended, bench) = run(&server.url(), shown(steps_graph(10, 3, 0.0), format)).await;
                assert_eq!(ended.unwrap().outputs.len(), 1);
                let previews = bench.progress.previews();
                assert!((1..=3).contains(&previews.len()), "{}", previews.len());
                let right = |preview: &connectors::contract::Preview| {
                    preview.media_type == media_type && preview.node.as_deref() == Some("2")
                };
                assert!(previews.iter().all(right), "{release:?} {ignores_feature_flags}: {previews:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_large_picture_comes_whole() {
    let server = stand_in(Release::V0_27_0, Quirks::default()).await;
    let mut graph = shown(steps_graph(11, 2, 0.0), "PNG");
    graph["2"]["class_type"] = json!("LabNoisyPreview");
    let (ended, bench) = run(&server.url(), graph).await;
    ended.unwrap();
    let picture = bench.progress.previews().pop().unwrap();
    assert!(
        picture.bytes.len() > 100_000 && picture.bytes.ends_with(b"IEND\xAE\x42\x60\x82"),
        "{}",
        picture.bytes.len()
    );
}

#[tokio::test]
async fn other_peoples_broadcasts_are_not_taken_for_ours() {
    for release in RELEASES {
        for ignores_feature_flags in [false, true] {
            let server = stand_in(release, Quirks { ignores_feature_flags, ..Quirks::default() }).await;
            server.step_by_hand(true);
            // Without a client id: its pictures and steps go to every socket.
            let theirs = json!({ "prompt": shown(steps_graph(12, 3, 0.0), "JPEG") });
            let posted =
                crate::a1111::client().post(format!("{}/prompt", server.url())).body(theirs.to_string()).send();
            assert_eq!(posted.await.unwrap().status(), 200);
            server.starving().await;
            let (comfy, bench) = (connector(&server.url()), Bench::new());
            let ours = graph_job(steps_graph(13, 2, 0.0));
            let go_on = async {
                bench
                    .progress
                    .wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("1 other")))
                    .await;
                server.step_by_hand(false);
            };
            let (ended, ()) = soon(async { tokio::join!(comfy.run(&ours, &bench.ctx), go_on) }).await;
            ended.unwrap();
            assert_eq!(bench.progress.previews(), [], "{release:?}, flags ignored: {ignores_feature_flags}");
            let steps: Vec<_> = bench.progress.reports().iter().filter_map(|report| report.step).collect();
            assert!(steps.iter().all(|(_, steps)| *steps == 2), "{steps:?}");
        }
    }
}

/// Two branches, each with a file of its own.
fn two_branches(second: Value) -> Value {
    let mut graph = steps_graph(14, 1, 0.0);
    graph["5"] = second;
    graph["8"] = json!({ "class_type": "SaveImage", "inputs": { "images": ["5", 0], "filename_prefix": "fx/second" } });
    graph
}

#[tokio::test]
async fn a_part_is_refused_unless_the_job_takes_it() {
    let scale = |method: &str| {
        let inputs =
            json!({ "image": ["1", 0], "upscale_method": method, "width": 8, "height": 8, "crop": "disabled" });
        two_branches(json!({ "class_type": "ImageScale", "inputs": inputs }))
    };
    for release in RELEASES {
        let server = stand_in(release, Quirks::default()).await;
        let failure = failure(run(&server.url(), scale("magic")).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidPayload, false), "{failure}");
        assert!(failure.message.starts_with("node 5 (ImageScale), input `upscale_method`"), "{failure}");
        assert!(failure.message.contains("`\"partial\": \"accept\"`"), "{failure}");
        let takes = job_with(scale("magic"), json!({ "partial": "accept" }), Value::Null);
        let bench = Bench::new();
        let outcome = soon(connector(&server.url()).run(&takes, &bench.ctx)).await.unwrap();
        assert_eq!(outcome.outputs.iter().map(|output| &*output.name).collect::<Vec<_>>(), ["picture_00001_.png"]);
        assert!(outcome.data["partial"]["why"].as_str().unwrap().contains("node 5 (ImageScale)"), "{}", outcome.data);
        // A whole result is not called a part.
        let whole = job_with(scale("area"), json!({ "partial": "accept" }), Value::Null);
        let outcome = soon(connector(&server.url()).run(&whole, &bench.ctx)).await.unwrap();
        assert_eq!((outcome.outputs.len(), outcome.data.get("partial")), (2, None));
    }
}

#[tokio::test]
async fn finished_branches_are_taken_if_the_job_says_so() {
    let fails = |kind: &str, salt: u32| {
        // After the other branch: it waits for its steps.
        json!({ "class_type": "LabFail", "inputs": { "image": ["6", 0], "kind": kind, "salt": salt } })
    };
    let graph = |kind: &str, salt| {
        let mut graph = two_branches(fails(kind, salt));
        graph["6"] = json!({
            "class_type": "LabSteps",
            "inputs": { "image": ["7", 0], "steps": 2, "seconds": 0.0, "preview": "none", "salt": salt },
        });
        graph["7"] = json!({
            "class_type": "LabSteps",
            "inputs": { "image": ["1", 0], "steps": 2, "seconds": 0.0, "preview": "none", "salt": salt },
        });
        graph
    };
    for release in RELEASES {
        let server = stand_in(release, Quirks::default()).await;
        let comfy = connector(&server.url());
        let bench = Bench::new();
        let refuses = failure(soon(comfy.run(&graph_job(graph("ValueError", 1)), &bench.ctx)).await);
        assert!(refuses.message.contains("node 5 (LabFail) failed with ValueError"), "{refuses}");
        assert!(refuses.message.contains("other branches have finished"), "{refuses}");
        assert_eq!(bench.outputs.begun(), 0);
        let takes = job_with(graph("ValueError", 2), json!({ "partial": "accept" }), Value::Null);
        let outcome = soon(comfy.run(&takes, &bench.ctx)).await.unwrap();
        assert_eq!(outcome.outputs.len(), 1);
        assert!(outcome.data["partial"]["why"].as_str().unwrap().contains("node 5 (LabFail)"), "{}", outcome.data);
        // Memory that ran out is this box's: another one may do the whole.
        let takes = job_with(graph("OOM", 3), json!({ "partial": "accept" }), Value::Null);
        let out_of_memory = failure(soon(comfy.run(&takes, &bench.ctx)).await);
        assert_eq!((out_of_memory.reason, out_of_memory.hosts_fault), (Reason::GpuMemoryFull, true));
    }
}

/// A branch that ends before its file, and says so with a text of the job.
fn blocked() -> Value {
    let inputs = json!({ "image": ["2", 0], "message": "a naked fox on the moon" });
    json!({ "class_type": "LabBlocker", "inputs": inputs })
}

const BLOCKED: &str = "node 8 (SaveImage) was blocked: no picture was chosen for …";

#[tokio::test]
async fn a_blocked_branch_is_told_and_no_failure() {
    for release in RELEASES {
        let server = stand_in(release, Quirks::default()).await;
        let (ended, bench) = run(&server.url(), two_branches(blocked())).await;
        let outcome = ended.unwrap();
        assert_eq!((outcome.outputs.len(), &outcome.data["blocked"]), (1, &json!([BLOCKED])));
        // The server told it on the socket alone.
        let id = &bench.ledger.ids()[0];
        let history = reqwest::get(format!("{}/history/{id}", server.url())).await.unwrap().text().await.unwrap();
        assert!(history.contains("execution_success") && !history.contains("execution_error"), "{history}");
    }
}

#[tokio::test]
async fn a_workflow_that_blocks_all_it_would_save_fails_for_good() {
    for release in RELEASES {
        let server = stand_in(release, Quirks::default()).await;
        let mut graph = two_branches(blocked());
        graph.as_object_mut().unwrap().remove("9");
        let failure = failure(run(&server.url(), graph).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidPayload, false), "it would do so again");
        assert!(failure.message.contains(BLOCKED) && !failure.message.contains("naked"), "{failure}");
    }
}

#[tokio::test]
async fn a_block_that_nobody_heard_of_is_a_success_without_files() {
    let quirks = Quirks { missing_routes: ["GET /ws".to_owned()].into(), ..Quirks::default() };
    let server = stand_in(Release::V0_27_0, quirks).await;
    let mut graph = two_branches(blocked());
    graph.as_object_mut().unwrap().remove("9");
    assert_eq!(failure(run(&server.url(), graph).await.0).reason, Reason::MissingExpectedData);
}

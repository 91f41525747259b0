//! The hazards that a connector to AUTOMATIC1111 must get right, a test each, by name.
//! In: the stand-in. Out: proof by name.

use super::{
    PNG, ask, client, connector, failure, fox, fox_job, fox_with, other, outcomes, run, run_on, soon, stand_in,
    stand_in_with, timing,
};
use connectors::conformance::{Bench, MemoryLedger};
use connectors::contract::{Connector, RunError};
use connectors::failure::{FailureType, Reason};
use serde_json::{Value, json};
use stand_ins::a1111::{Options, StandIn};
use std::time::Duration;

fn task_of(server: &StandIn, at: usize) -> String {
    server.executions()[at].task.clone()
}

#[tokio::test]
async fn one_blocking_request_is_the_job_and_its_id_is_durable_before() {
    let server = stand_in().await;
    let bench = Bench::with(MemoryLedger::held());
    let (a1111, job) = (connector(&server.url()), fox_job(json!({})));
    let look = async {
        let id = bench.ledger.first_id().await;
        assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 0, "handed over before its id was durable");
        bench.ledger.release();
        id
    };
    let (ended, id) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), look) }).await;
    ended.unwrap();
    assert_eq!(task_of(&server, 0), id);
    let (_, again) = run_on(&a1111, fox()).await;
    assert_ne!(again.ledger.ids()[0], id, "a failed task of the same id would look active");
}

#[tokio::test]
async fn unknown_names_are_refused_though_the_server_would_replace_them() {
    let server = stand_in().await;
    for (more, reason, hosts) in [
        (json!({ "sampler_name": "No Such Sampler" }), Reason::InvalidPayload, false),
        (json!({ "scheduler": "nope" }), Reason::InvalidPayload, false),
        (json!({ "sd_model_checkpoint": "no-such" }), Reason::ModelNotFound, true),
        (json!({ "override_settings": { "sd_model_checkpoint": "no-such" } }), Reason::ModelNotFound, true),
        (json!({ "override_settings": { "no_such_option": 1 } }), Reason::InvalidPayload, false),
    ] {
        let failure = failure(run(&server, fox_with(more.clone())).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (reason, hosts), "{more}: {failure}");
    }
    assert!(server.executions().is_empty(), "nothing was handed over");
}

#[tokio::test]
async fn a_part_of_a_checkpoints_name_is_not_taken() {
    let server = stand_in().await;
    let failure = failure(run(&server, fox_with(json!({ "sd_model_checkpoint": "xl_base" }))).await.0);
    assert_eq!(failure.reason, Reason::ModelNotFound);
    assert!(failure.message.contains("sd_xl_base_1.0.safetensors"), "{failure}");
}

#[tokio::test]
async fn an_interrupted_run_is_thrown_away_though_it_answers_200() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 9 })));
    let meddle = async {
        server.allow_steps(4);
        server.starving().await;
        ask(&server, "/sdapi/v1/interrupt").await;
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::ServiceError, false));
    assert!(failure.message.contains("interrupted"), "{failure}");
    assert!(bench.outputs.files().is_empty(), "an unfinished picture was kept");
    assert_eq!(outcomes(&server), ["interrupted"]);
}

#[tokio::test]
async fn a_skipped_run_is_thrown_away_though_it_answers_200() {
    for batches in [1, 2] {
        let server = stand_in().await;
        server.step_by_hand(true);
        let bench = Bench::new();
        let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 5, "n_iter": batches })));
        let meddle = async {
            server.allow_steps(4);
            server.starving().await;
            ask(&server, "/sdapi/v1/skip").await;
            // Of a batch that is not the last one the flag tells only while it lasts: a look is waited for.
            let looks = server.asked("GET /sdapi/v1/progress");
            while server.asked("GET /sdapi/v1/progress") < looks + 2 {
                tokio::task::yield_now().await;
            }
            server.step_by_hand(false);
        };
        let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
        assert!(failure(ended).message.contains("skipped"), "{batches}");
        assert!(bench.outputs.files().is_empty());
    }
}

#[tokio::test]
async fn an_interrupt_never_hits_somebody_elses_run() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    run_on(&a1111, fox()).await.0.unwrap();
    server.step_by_hand(true);
    let theirs = other(&server, 4);
    server.starving().await;
    // Ours waits until the server is idle; cancelled there, nothing of it is sent.
    let bench = Bench::new();
    let job = fox_job(json!({}));
    let cancel = async {
        bench
            .progress
            .wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("somebody else")))
            .await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    server.step_by_hand(false);
    soon(theirs).await.unwrap();
    assert_eq!(outcomes(&server), ["success", "success"]);
    assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
}

#[tokio::test]
async fn a_waiting_request_is_not_interrupted_before_its_turn() {
    let server = stand_in().await;
    let patient = connectors::a1111::Timing { idle_patience: Duration::ZERO, ..timing() };
    let a1111 = super::connector_with(&server.url(), patient);
    server.step_by_hand(true);
    let theirs = other(&server, 4);
    server.starving().await;
    let bench = Bench::new();
    let job = fox_job(json!({ "steps": 9 }));
    let cancel = async {
        bench.progress.wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("In queue"))).await;
        bench.ctx.cancel.cancel();
        // Several looks at the waiting one, and no interrupt.
        let looks = server.asked("POST /internal/progress");
        while server.asked("POST /internal/progress") < looks + 5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
        server.allow_steps(6);
        // Theirs ends; ours begins, and is stopped at its next step.
        while server.asked("POST /sdapi/v1/interrupt") == 0 {
            server.starving().await;
            tokio::task::yield_now().await;
        }
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    soon(theirs).await.unwrap();
    let ended = outcomes(&server);
    // Interrupted before its first picture it ends in an error, for the lack of one.
    assert!(ended[0] == "success" && ["interrupted", "error"].contains(&ended[1]), "{ended:?}");
}

#[tokio::test]
async fn overridden_options_do_not_leak_into_later_jobs() {
    let server = stand_in().await;
    // The stored configuration does not hold this one: the server alone would keep it.
    let payload =
        fox_with(json!({ "override_settings": { "eta_noise_seed_delta": 7, "CLIP_stop_at_last_layers": 2 } }));
    run(&server, payload).await.0.unwrap();
    assert_eq!(server.executions()[0].request["override_settings"]["eta_noise_seed_delta"], 7);
    assert_eq!(server.option("eta_noise_seed_delta"), 0);
    assert_eq!(server.option("CLIP_stop_at_last_layers"), 1);
}

#[tokio::test]
async fn an_option_of_the_wrong_type_is_refused_though_the_server_would_take_it() {
    let server = stand_in().await;
    for (name, wrong) in
        [("eta_noise_seed_delta", json!("seven")), ("CLIP_stop_at_last_layers", json!([2])), ("sd_vae", json!(1))]
    {
        let failure = failure(run(&server, fox_with(json!({ "override_settings": { name: wrong } }))).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidFormat, false), "{name}: {failure}");
        assert!(failure.message.contains(name), "{failure}");
    }
    assert!(server.executions().is_empty());
    assert_eq!(server.asked("POST /sdapi/v1/options"), 0, "nothing was stored");
}

#[tokio::test]
async fn looking_for_new_checkpoints_waits_behind_the_run_at_work_and_the_server_is_not_at_fault() {
    let server = stand_in().await;
    let request = Duration::from_secs(2);
    let a1111 = super::connector_with(&server.url(), connectors::a1111::Timing { request, ..timing() });
    server.step_by_hand(true);
    let theirs = other(&server, 4);
    server.starving().await;
    let bench = Bench::new();
    let job = fox_job(json!({ "refiner_checkpoint": "no-such" }));
    let mut ours = Box::pin(a1111.run(&job, &bench.ctx));
    // Longer than a question may take.
    assert!(tokio::time::timeout(request * 5 / 4, &mut ours).await.is_err(), "it waits");
    server.step_by_hand(false);
    let failure = failure(soon(ours).await);
    assert_eq!(failure.reason, Reason::ModelNotFound, "{failure}");
    soon(theirs).await.unwrap();
}

#[tokio::test]
async fn options_that_decide_where_files_go_are_not_a_jobs_business() {
    let server = stand_in().await;
    for name in ["outdir_txt2img_samples", "samples_filename_pattern", "api_enable_requests"] {
        let failure = failure(run(&server, fox_with(json!({ "override_settings": { name: "x" } }))).await.0);
        assert_eq!(failure.reason, Reason::InvalidPayload, "{name}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn one_request_is_sent_at_a_time() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let a1111 = connector(&server.url());
    let benches: Vec<Bench> = (0..5).map(|_| Bench::new()).collect();
    let jobs: Vec<_> = (0..5).map(|seed| fox_job(json!({ "seed": seed }))).collect();
    let runs = futures_util::future::join_all(benches.iter().zip(&jobs).map(|(bench, job)| a1111.run(job, &bench.ctx)));
    let look = async {
        for bench in &benches {
            bench.ledger.first_id().await;
        }
        server.starving().await;
        assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 1);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(runs, look) }).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(server.executions().len(), 5);
}

#[tokio::test]
async fn a_failed_task_that_looks_active_is_not_taken_for_a_run() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    server.quirks(|quirks| quirks.fail_next = Some(("RuntimeError".into(), "synthetic".into())));
    let (ended, bench) = run_on(&a1111, fox()).await;
    failure(ended);
    let id = bench.ledger.ids()[0].clone();
    let said: Value = client()
        .post(format!("{}/internal/progress", server.url()))
        .json(&json!({ "id_task": id }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(said["active"], true, "the stand-in shows the leftover");
    let found = soon(connector(&server.url()).interrupt(&id)).await.unwrap();
    assert_eq!(found, connectors::contract::Interrupted::NothingToStop);
    assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
}

#[tokio::test]
async fn a_task_that_failed_before_it_started_stays_queued_and_is_not_waited_for() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let (ended, bench) = run_on(&a1111, fox_with(json!({ "init_images": ["AAAA"] }))).await;
    assert_eq!(failure(ended).reason, Reason::InvalidFormat);
    let id = bench.ledger.ids()[0].clone();
    let found = soon(connector(&server.url()).reattach(&fox_job(json!({})), &id, &Bench::new().ctx)).await.unwrap();
    assert_eq!(found, connectors::contract::Reattached::Unknown);
}

#[tokio::test]
async fn a_failed_upscaling_that_looks_at_work_holds_up_nothing() {
    let server = stand_in().await;
    let body = json!({ "upscaler_1": "None such", "image": PNG });
    let url = format!("{}/sdapi/v1/extra-single-image", server.url());
    assert_eq!(client().post(url).json(&body).send().await.unwrap().status(), 500);
    let (ended, bench) = run(&server, fox()).await;
    ended.unwrap();
    let waited = |report: &connectors::contract::Progress| {
        report.message.as_deref().is_some_and(|m| m.contains("somebody else"))
    };
    assert!(!bench.progress.reports().iter().any(waited));
}

#[tokio::test]
async fn a_grid_before_the_pictures_is_thrown_away() {
    let server = stand_in().await;
    let (ended, bench) = run(&server, fox_with(json!({ "batch_size": 2, "save_images": true }))).await;
    let outcome = ended.unwrap();
    let names: Vec<_> = outcome.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["txt2img-1.png", "txt2img-2.png"]);
    assert_eq!(outcome.data["seeds"], json!([42, 43]));
    assert_eq!(outcome.data["infotexts"].as_array().unwrap().len(), 2);
    assert_eq!(bench.outputs.begun(), 3, "the grid had come, and was dropped unsealed");
}

#[tokio::test]
async fn the_checkpoint_is_switched_once_and_verified() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let wanted = fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0.safetensors" }));
    for _ in 0..3 {
        let outcome = run_on(&a1111, wanted.clone()).await.0.unwrap();
        assert_eq!(outcome.data["model"], "sd_xl_base_1.0");
    }
    assert_eq!(server.asked("POST /sdapi/v1/options"), 1);
    assert_eq!(server.loaded().as_deref(), Some("sd_xl_base_1.0"));
    assert!(server.executions().iter().all(|run| run.request["override_settings"].is_null()));
    // Its title has changed with the hash; every full name still means it.
    let title = server.option("sd_model_checkpoint").as_str().unwrap().to_owned();
    let hash = title.split(['[', ']']).nth(1).unwrap().to_owned();
    for name in [title.as_str(), "sd_xl_base_1.0", hash.as_str()] {
        run_on(&a1111, fox_with(json!({ "sd_model_checkpoint": name }))).await.0.unwrap();
    }
    assert_eq!(server.asked("POST /sdapi/v1/options"), 1);
}

#[tokio::test]
async fn a_switch_that_the_server_takes_and_does_not_make_fails_before_the_run() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.ignore_switches = true);
    let failure = failure(run(&server, fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }))).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
    assert!(server.executions().is_empty());
}

#[tokio::test]
async fn another_checkpoint_in_info_than_asked_for_fails_the_run() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.wrong_checkpoint = true);
    let (ended, bench) = run(&server, fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }))).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
    assert!(failure.message.contains("v1-5-pruned-emaonly") && failure.message.contains("sd_xl_base_1.0"), "{failure}");
    assert!(bench.outputs.files().is_empty());
}

#[tokio::test]
async fn a_new_checkpoint_file_is_found_after_a_refresh() {
    let server = stand_in().await;
    server.add_checkpoint(stand_ins::a1111::Checkpoint::named("late"));
    let outcome = run(&server, fox_with(json!({ "sd_model_checkpoint": "late" }))).await.0.unwrap();
    assert_eq!(outcome.data["model"], "late");
}

#[tokio::test]
async fn a_size_that_the_server_would_round_is_refused() {
    let server = stand_in().await;
    let failure = failure(run(&server, fox_with(json!({ "width": 30 }))).await.0);
    assert_eq!(failure.reason, Reason::InvalidPayload);
    assert!(failure.message.contains("24"), "{failure}");
}

#[tokio::test]
async fn progress_is_read_by_our_task_id() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 4, "n_iter": 2 })));
    let at = |batch: &'static str| {
        move |report: &connectors::contract::Progress| {
            report.step == Some((2, 4)) && report.message.as_deref().is_some_and(|said| said.contains(batch))
        }
    };
    let step = async {
        server.starving().await;
        // Two before sampling, and one of it.
        server.allow_steps(3);
        bench.progress.wait_for(at("batch 1 of 2")).await;
        server.starving().await;
        server.allow_steps(4);
        bench.progress.wait_for(at("batch 2 of 2")).await;
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), step) }).await;
    ended.unwrap();
    let reports = bench.progress.reports();
    assert!(reports.iter().map(|report| report.fraction).is_sorted());
    // One step of eight, then five.
    assert!(
        reports.iter().any(|report| report.fraction == 0.125) && reports.iter().any(|report| report.fraction == 0.625)
    );
    assert_eq!(reports.last().map(|report| report.fraction), Some(1.0));
}

#[tokio::test]
async fn credentials_are_sent_and_wrong_ones_are_this_boxs_fault() {
    let login = Some(("user".to_owned(), "s3cret".to_owned()));
    let server = stand_in_with(Options { login, ..Options::default() }).await;
    let settings = |password: &str| {
        let at = connectors::a1111::Settings::at(&server.url()).unwrap();
        connectors::a1111::Settings {
            username: Some("user".into()),
            password: Some(password.into()),
            timing: timing(),
            ..at
        }
    };
    assert!(!format!("{:?}", settings("s3cret")).contains("s3cret"));
    let right = connectors::a1111::A1111::new(settings("s3cret")).unwrap();
    assert!(right.probe().await.is_healthy());
    run_on(&right, fox()).await.0.unwrap();
    let wrong = connectors::a1111::A1111::new(settings("guess")).unwrap();
    let probe = wrong.probe().await;
    assert!(format!("{:?}", probe.health).contains("A1111_PASSWORD"), "{probe:?}");
    let failure = failure(run_on(&wrong, fox()).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidApiKey, true));
}

#[tokio::test]
async fn addresses_as_pictures_never_reach_the_server() {
    let server = stand_in().await;
    for more in [
        json!({ "init_images": ["http://127.0.0.1:9/x.png"] }),
        json!({ "init_images": [PNG], "mask": "https://example.org/x.png" }),
        json!({ "mode": "upscale", "image": "http://127.0.0.1:9/x.png", "upscaler_1": "Lanczos" }),
    ] {
        let failure = failure(run(&server, fox_with(more)).await.0);
        assert_eq!(failure.reason, Reason::UnsupportedOperation);
    }
    assert!(server.executions().is_empty() && server.requests().iter().all(|request| request.starts_with("GET ")));
}

#[tokio::test]
async fn without_the_web_page_runs_are_followed_by_the_global_state_and_cancelled() {
    let server = stand_in_with(Options { nowebui: true, ..Options::default() }).await;
    let a1111 = connector(&server.url());
    assert!(a1111.probe().await.is_healthy());
    run_on(&a1111, fox()).await.0.unwrap();
    let bench = Bench::new();
    let job = fox_job(json!({ "steps": 100_000 }));
    let cancel = async {
        bench.progress.wait_for(|report| report.fraction > 0.0 && report.step.is_some()).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(outcomes(&server), ["success", "interrupted"]);
}

//! Engines that are TOML files, against a real HTTP server.
//! In: definitions and payloads. Out: what was asked of the server, and what became of the job.

use crate::process::within;
use crate::rest_engine::Server;
use async_trait::async_trait;
use connectors::conformance::{Bench, MemoryLedger, job};
use connectors::contract::{Connector, Freed, Interrupted, Outcome, Reattached, RunError, Stage};
use connectors::failure::Reason;
use connectors::rest::{Definition, Rest, Secrets};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub const ASYNC: &str = r#"
services = ["draw"]
url = "URL"
concurrency = 2
headers = { X-Key = "Bearer ${env:CONNECTOR_KEY}" }
health = { path = "/health" }

[submit]
path = "/jobs"
body = "${payload}"
id = "/id"

[poll]
path = "/jobs/${engine_id}"
interval_ms = 10
state = "/status"
done = ["done"]
failed = ["failed", "cancelled"]
progress = "/progress"
progress_max = 100
message = "/note"

[cancel]
method = "DELETE"
path = "/jobs/${engine_id}"

[result]
data = "/result/facts"

[[outputs]]
as = "url"
at = "/result/files"
kind = "images"

[failure]
message = "/error/message"
code = "/error/code"
reasons = { oom = "gpu_memory_full" }
"#;

pub const SYNC: &str = r#"
services = ["draw"]
url = "URL"

[submit]
path = "/sync"
timeout_seconds = 600
body = { image = "${payload.image|aGVsbG8=}", for = "${job.id}", slow = "${payload.slow?}", status = "${payload.status?}", answer = "${payload.answer?}" }

[result]
data = "/facts"

[[outputs]]
as = "text"
at = "/facts/for"

[[outputs]]
as = "base64"
at = "/image"
name = "picture.png"
"#;

pub fn secrets() -> Secrets {
    [("CONNECTOR_KEY".to_owned(), "key-of-the-operator".to_owned().into())].into()
}

pub struct Lab {
    pub server: Server,
    pub rest: Arc<Rest>,
    folder: tempfile::TempDir,
}

impl Lab {
    pub async fn new(definition: &str) -> Self {
        Self::stopping_within(Duration::from_secs(15), definition).await
    }

    pub async fn stopping_within(limit: Duration, definition: &str) -> Self {
        let server = Server::start().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("draw.toml");
        let text = definition.replace("URL", &server.url);
        std::fs::write(&path, &text).unwrap();
        let read = Definition::read(&text, &secrets()).unwrap_or_else(|faults| panic!("{faults:?}"));
        let services = read.services.clone();
        let rest = Arc::new(Rest::stopping_within(limit, "draw", read, 0).unwrap());
        rest.offer(services);
        Self { server, rest, folder }
    }

    pub async fn run(&self, payload: Value) -> (Result<Outcome, RunError>, Bench) {
        let bench = Bench::new();
        let ended = within("a run", self.rest.run(&job("j", "draw", payload), &bench.ctx)).await;
        (ended, bench)
    }

    /// Runs it until the engine has been heard to work on it, then cancels.
    async fn cancel(&self, payload: Value) -> (Result<Outcome, RunError>, Bench) {
        let bench = Bench::new();
        let wanted = job("j", "draw", payload);
        let stop = async {
            bench.progress.wait_for(|report| report.message.is_some()).await;
            bench.ctx.cancel.cancel();
        };
        let run = self.rest.run(&wanted, &bench.ctx);
        let (ended, ()) = within("cancelling", futures_util::future::join(run, stop)).await;
        (ended, bench)
    }
}

#[tokio::test]
async fn a_run_is_handed_over_followed_and_fetched() {
    let lab = Lab::new(ASYNC).await;
    let (ended, bench) = lab.run(json!({ "steps": 4, "deep": [1, { "a": null }] })).await;
    let outcome = ended.unwrap();
    assert_eq!(outcome.data, json!({ "steps": 4 }));
    let id = &lab.server.ids()[0];
    assert_eq!(bench.outputs.files()[0].bytes, format!("picture of {id}"));
    assert_eq!(outcome.outputs[0].media_type, "image/png");
    assert!(bench.progress.reports().iter().any(|report| report.fraction == 0.25), "{:?}", bench.progress.reports());
    let (_, headers, body) = lab.server.requests("/jobs")[0].clone();
    assert_eq!(body, json!({ "steps": 4, "deep": [1, { "a": null }] }), "values keep their types");
    assert_eq!(headers["x-key"], "Bearer key-of-the-operator");
    assert_eq!(headers["idempotency-key"], "j-1", "the same for each hand-over of this attempt");
    let ids = bench.ledger.ids();
    assert_eq!(ids.len(), 2, "ours before the start, the server's after it");
    assert_eq!(ids[1], format!("{}/{id}", ids[0]));
}

#[tokio::test]
async fn statuses_and_words_become_reasons() {
    let rows: &[(Value, Reason, bool, &str)] = &[
        (json!({ "status": 400 }), Reason::InvalidPayload, false, "as asked"),
        (json!({ "status": 401 }), Reason::InvalidApiKey, true, "credentials"),
        (json!({ "status": 403 }), Reason::InsufficientPermissions, true, "as asked"),
        (json!({ "status": 404 }), Reason::ConfigError, true, "path"),
        (json!({ "status": 302 }), Reason::ConfigError, true, "redirects"),
        (json!({ "status": 429 }), Reason::RequestsPerMinute, true, "429"),
        (json!({ "status": 429, "code": "requests_per_minute" }), Reason::RequestsPerMinute, true, "as asked"),
        (json!({ "status": 500 }), Reason::ServiceUnavailable, false, "500"),
        (json!({ "status": 503 }), Reason::ServiceUnavailable, true, "503"),
        (json!({ "status": 507 }), Reason::DiskSpaceFull, true, "507"),
        (json!({ "status": 500, "code": "oom" }), Reason::GpuMemoryFull, true, "as asked"),
        (json!({ "status": 400, "code": "nsfw_content" }), Reason::NsfwContent, false, "as asked"),
        (json!({ "fail": "oom" }), Reason::GpuMemoryFull, true, "it hurts"),
        (json!({ "fail": "gremlins" }), Reason::UnknownError, false, "it hurts"),
        (json!({ "mute": true }), Reason::InvalidResponseFormat, false, "/id"),
        (json!({ "forget": true }), Reason::MissingExpectedData, false, "forgotten"),
        (json!({ "files": "http://127.0.0.2:1/x" }), Reason::ConfigError, false, "[\"http://127.0.0.2:1\"]"),
        (json!({ "files": "//example.org/x" }), Reason::ConfigError, false, "from = [\"http://example.org\"]"),
        (json!({ "files": "file:///etc/hostname" }), Reason::ConfigError, false, "`file:`"),
        (json!({ "files": "http://u:p@127.0.0.1/x" }), Reason::InvalidResponseFormat, false, "credentials"),
        (json!({ "files": "files/none" }), Reason::MissingExpectedData, false, "404"),
    ];
    for (payload, reason, hosts, said) in rows {
        let lab = Lab::new(ASYNC).await;
        let (ended, _) = lab.run(payload.clone()).await;
        let Err(RunError::Failed(failure)) = ended else { panic!("{payload}: {ended:?}") };
        assert_eq!((failure.reason, failure.hosts_fault), (*reason, *hosts), "{payload}: {failure:?}");
        assert!(failure.message.contains(said), "{payload}: {failure:?}");
        if payload["status"].is_u64() {
            assert_eq!(failure.retry_after.map(|pause| pause.as_secs()), Some(7), "{payload}");
        }
    }
}

#[tokio::test]
async fn what_a_server_repeats_of_the_operators_secrets_reaches_nobody() {
    let lab = Lab::new(ASYNC).await;
    let (ended, _) = lab.run(json!({ "status": 422, "says": "you sent Bearer key-of-the-operator" })).await;
    let Err(RunError::Failed(failure)) = ended else { panic!("{ended:?}") };
    assert!(failure.message.contains("you sent Bearer …"), "{failure:?}");
    let (ended, bench) = lab.run(json!({ "note": "at it with key-of-the-operator" })).await;
    let told = format!("{ended:?} {:?}", bench.progress.reports());
    assert!(told.contains("at it with …") && !told.contains("key-of-the-operator"), "{told}");
}

#[tokio::test]
async fn polls_outlive_answers_that_are_none() {
    for trouble in [json!({ "poll_status": 500 }), json!({ "poll_status": 429 }), json!({ "nonsense": true })] {
        let lab = Lab::new(ASYNC).await;
        let (ended, _) = lab.run(trouble.clone()).await;
        assert!(ended.is_ok(), "{trouble}: {ended:?}");
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_engine_under_its_own_id() {
    let lab = Lab::new(ASYNC).await;
    let (ended, bench) = lab.cancel(json!({ "steps": 100_000 })).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert!(lab.server.cancelled(&lab.server.ids()[0]), "ids with a slash are sent whole");
    let known = bench.ledger.ids()[1].clone();
    assert_eq!(lab.rest.interrupt(&known).await.unwrap(), Interrupted::NothingToStop, "asking twice is harmless");
}

#[tokio::test]
async fn a_cancel_is_sent_though_polls_fail_and_the_end_of_the_work_is_waited_for() {
    for payload in [json!({ "polls": "500" }), json!({ "polls": "hang" }), json!({ "lingers": 3 })] {
        let lab = Lab::new(ASYNC).await;
        let (ended, _) =
            lab.cancel(json!({ "steps": 100_000, "polls": payload["polls"], "lingers": payload["lingers"] })).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{payload}: {ended:?}");
        assert!(!lab.server.is_at_work(&lab.server.ids()[0]), "{payload}: the engine goes on");
    }
}

#[tokio::test]
async fn a_cancel_is_heard_while_the_result_is_fetched() {
    let late = ASYNC.replace("[result]", "[result]\npath = \"/hang\"\ntimeout_seconds = 600");
    let (lab, bench) = (Lab::new(&late).await, Bench::new());
    let wanted = job("j", "draw", json!({}));
    let stop = async {
        bench.progress.wait_for(|report| report.stage == Stage::Fetching).await;
        bench.ctx.cancel.cancel();
    };
    let run = lab.rest.run(&wanted, &bench.ctx);
    let (ended, ()) = within("cancelling", futures_util::future::join(run, stop)).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
}

#[tokio::test]
async fn work_of_an_earlier_process_is_found_by_its_recorded_id() {
    let lab = Lab::new(ASYNC).await;
    let (_, bench) = lab.cancel(json!({ "steps": 5 })).await;
    // The server as it was: not cancelled.
    let known = bench.ledger.ids().last().unwrap().clone();
    let wanted = job("j", "draw", json!({}));
    let again = Bench::new();
    let found = within("reattaching", lab.rest.reattach(&wanted, &known, &again.ctx)).await;
    assert!(matches!(found, Err(RunError::Failed(_)) | Ok(Reattached::Done(_))), "{found:?}");
    for unknown in [format!("draw/{}/never", uuid::Uuid::new_v4()), bench.ledger.ids()[0].clone(), "else/x".to_owned()]
    {
        let found = within("reattaching", lab.rest.reattach(&wanted, &unknown, &again.ctx)).await.unwrap();
        assert_eq!(found, Reattached::Unknown, "{unknown}");
        assert_eq!(lab.rest.interrupt(&unknown).await.unwrap(), Interrupted::NothingToStop, "{unknown}");
    }
}

#[tokio::test]
async fn an_engine_that_takes_our_id_has_it_recorded_before_it_works() {
    let ours = ASYNC
        .replace("id = \"/id\"", "")
        .replace("body = \"${payload}\"", "body = { run_id = \"${run_id}\", steps = \"${payload.steps|3}\" }");
    let lab = Lab::new(&ours).await;
    let (ended, bench) = lab.run(json!({})).await;
    ended.unwrap();
    let id = lab.server.ids()[0].clone();
    assert_eq!(bench.ledger.ids(), [format!("draw/{id}")]);
    // A later process finds it by that id alone.
    let again = Bench::new();
    let found = lab.rest.reattach(&job("j", "draw", json!({})), &format!("draw/{id}"), &again.ctx).await.unwrap();
    assert!(matches!(found, Reattached::Done(outcome) if outcome.outputs.len() == 1));
}

#[tokio::test]
async fn a_job_that_is_lost_after_the_server_has_named_it_is_stopped_there() {
    let lab = Lab::new(ASYNC).await;
    // The first record succeeds, the second does not: the lease ran out while the server took the job.
    struct Second(MemoryLedger);
    #[async_trait]
    impl connectors::contract::Ledger for Second {
        async fn record_service_job(&self, id: &str) -> Result<(), connectors::contract::Lost> {
            let first = self.0.ids().is_empty();
            self.0.record_service_job(id).await?;
            if first { Ok(()) } else { Err(connectors::contract::Lost) }
        }
    }
    let mut bench = Bench::new();
    bench.ctx.ledger = Arc::new(Second(MemoryLedger::default()));
    let wanted = job("j", "draw", json!({ "steps": 100_000 }));
    let ended = within("a run", lab.rest.run(&wanted, &bench.ctx)).await;
    assert!(matches!(ended, Err(RunError::Lost(_))), "{ended:?}");
    assert!(lab.server.cancelled(&lab.server.ids()[0]));
}

#[tokio::test]
async fn nothing_in_a_payload_leads_to_another_address() {
    let lab = Lab::new(
        "services = ['draw']\nurl = 'URL'\n[submit]\npath = '/echo/${payload.model}?q=${payload.q|x}'\nbody = {}\n",
    )
    .await;
    for (model, path) in [("a/../../x?y#z", "/echo/a/../../x?y#z"), ("plain", "/echo/plain"), ("ü %2e", "/echo/ü %2e")]
    {
        let (ended, _) = lab.run(json!({ "model": model })).await;
        assert!(ended.is_ok(), "{model}: {ended:?}");
        assert_eq!(lab.server.requests(path).len(), 1, "{model}: one segment, as it is");
    }
    for model in ["..", "."] {
        let (ended, _) = lab.run(json!({ "model": model })).await;
        assert!(matches!(ended, Err(RunError::Failed(ref f)) if f.reason == Reason::InvalidPayload), "{ended:?}");
    }
    let (ended, _) = lab.run(json!({ "model": [1] })).await;
    assert!(matches!(ended, Err(RunError::Failed(ref f)) if f.message.contains("payload.model")), "{ended:?}");
    let (ended, _) = lab.run(json!({})).await;
    assert!(matches!(ended, Err(RunError::Failed(ref f)) if f.reason == Reason::MissingRequiredField), "{ended:?}");
}

#[tokio::test]
async fn a_synchronous_answer_gives_texts_base64_and_bodies() {
    let lab = Lab::new(SYNC).await;
    let (ended, bench) = lab.run(json!({})).await;
    ended.unwrap();
    let files = bench.outputs.files();
    assert_eq!((&files[0].bytes[..], &files[1].bytes[..]), (&b"j"[..], &b"hello"[..]));
    assert_eq!(files[1].stored.name, "picture.png");
    let (ended, _) = lab.run(json!({ "image": "data:image/png;base64,aGVsbG8" })).await;
    assert!(ended.is_ok(), "a data URL, and no padding: {ended:?}");
    for (answer, reason) in [
        (json!({ "image": "?!", "facts": { "for": "x" } }), Reason::InvalidResponseFormat),
        (json!({ "facts": { "for": "x" } }), Reason::MissingExpectedData),
        (json!({ "image": 7, "facts": { "for": "x" } }), Reason::InvalidResponseFormat),
        (json!({ "image": "aGVsbG8=" }), Reason::MissingExpectedData),
    ] {
        let (ended, _) = lab.run(json!({ "answer": answer })).await;
        assert!(matches!(ended, Err(RunError::Failed(ref f)) if f.reason == reason), "{answer}: {ended:?}");
    }
    let body = "services = ['draw']\nurl = 'URL'\n[submit]\npath = '/sync'\nbody = { bytes = 100000 }\n\
                [[outputs]]\nas = 'body'\nname = 'all'\n";
    let (ended, bench) = Lab::new(body).await.run(json!({})).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(bench.outputs.files()[0].bytes.len(), 100_000);
}

#[tokio::test]
async fn an_engine_that_is_away_is_unhealthy_and_its_jobs_are_handed_on() {
    let lab = Lab::new(ASYNC).await;
    assert!(lab.rest.probe().await.is_healthy());
    let Lab { server, rest, folder } = lab;
    let address = server.url.trim_start_matches("http://").trim_end_matches("/base").to_owned();
    drop(server);
    crate::process::until("the server is gone", || std::net::TcpStream::connect(&address).is_err()).await;
    let bench = Bench::new();
    let probe = within("a probe", async {
        loop {
            let probe = rest.probe().await;
            if !probe.is_healthy() {
                return probe;
            }
        }
    })
    .await;
    assert!(format!("{:?}", probe.health).contains("engine"), "{probe:?}");
    let ended = within("a run", rest.run(&job("j", "draw", json!({})), &bench.ctx)).await;
    assert!(matches!(ended, Err(RunError::Failed(ref f)) if f.hosts_fault), "{ended:?}");
    drop(folder);
}

#[tokio::test]
async fn memory_is_asked_back_where_the_definition_says_how() {
    let lab = Lab::new(SYNC).await;
    assert_eq!(lab.rest.free_memory().await.unwrap(), Freed::NotSupported);
    let lab = Lab::new(&format!("{ASYNC}\n[free]\npath = \"/free/204\"\n")).await;
    assert_eq!(lab.rest.free_memory().await.unwrap(), Freed::Requested);
    assert_eq!(lab.server.requests("/free")[0].1["x-key"], "Bearer key-of-the-operator");
    let lab = Lab::new(&format!("{ASYNC}\n[free]\npath = \"/free/503\"\n")).await;
    assert!(lab.rest.free_memory().await.unwrap_err().hosts_fault);
}

#[test]
fn what_is_wrong_with_a_definition_is_told_with_line_and_column() {
    let good = ASYNC.trim_start().replace("URL", "http://127.0.0.1:1");
    // One fault a row: what is replaced by what, where the fault is, and what is said.
    let rows: &[(&str, &str, (usize, usize), &str)] = &[
        ("services = [\"draw\"]", "services = [\"dr", (1, 16), ""),
        ("services = [\"draw\"]", "services = 7", (1, 12), "a list of texts"),
        ("services = [\"draw\"]", "services = []", (1, 1), "`services` is missing"),
        ("services = [\"draw\"]", "services = [\"draw\", 3]", (1, 21), "a list of texts"),
        ("services = [\"draw\"]", "services = [\"a b\"]", (1, 13), "name of a service"),
        ("services = [\"draw\"]", "servces = [\"draw\"]", (1, 1), "unknown"),
        ("http://127.0.0.1:1", "ftp://x", (2, 7), "must be like"),
        ("http://127.0.0.1:1", "http://u:p@x", (2, 7), "credentials"),
        ("concurrency = 2", "concurrency = 0", (3, 15), "1 to 64"),
        ("CONNECTOR_KEY", "CONNECTOR_OTHER", (4, 21), "not set"),
        ("CONNECTOR_KEY", "HOME", (4, 21), "begin with"),
        ("X-Key =", "\"X Key\" =", (4, 13), "HTTP header"),
        ("\"/jobs\"", "\"jobs\"", (8, 8), "begins with `/`"),
        ("${payload}", "${payloud}", (9, 8), "there are payload"),
        ("${payload}", "${payload", (9, 8), "no end"),
        ("\"${payload}\"", "{ a = inf }", (9, 14), "no such number"),
        ("\"${payload}\"", "{ a = [99999999999999999999] }", (9, 15), "no such number"),
        ("id = \"/id\"", "id = \"id\"", (10, 6), "JSON Pointer"),
        ("interval_ms = 10\n", "interval_ms = 1\n", (14, 15), "10 to 600000"),
        ("done = [\"done\"]", "done = []", (12, 1), "`poll.done` is missing"),
        ("done = [\"done\"]", "done = [\"failed\"]", (17, 11), "both"),
        ("method = \"DELETE\"", "method = \"REMOVE\"", (23, 10), "DELETE"),
        ("as = \"url\"", "as = \"file\"", (30, 6), "base64"),
        ("kind = \"images\"", "from = \"files.example.org\"", (32, 8), "a server alone"),
        ("kind = \"images\"", "from = [\"http://x/y\"]", (32, 9), "a server alone"),
        ("as = \"url\"", "as = \"text\"\nfrom = \"http://x\"", (31, 8), "only with"),
        ("oom = \"gpu_memory_full\"", "oom = \"gpu_full\"", (37, 19), "no reason"),
        ("[submit]", "[submitted]", (7, 2), "unknown"),
    ];
    for (from, to, place, said) in rows {
        assert!(good.contains(from), "{from}");
        let faults = Definition::read(&good.replacen(from, to, 1), &secrets()).err().unwrap_or_default();
        let found = faults.iter().any(|fault| (fault.line, fault.column) == *place && fault.message.contains(said));
        assert!(found, "{to}: {faults:#?}");
    }
    for one in ["services = 7", "services = [3]", "services = []", "services = [\"draw\", 3]", "services = [\"a b\"]"] {
        let faults = Definition::read(&good.replace("services = [\"draw\"]", one), &secrets()).err().unwrap();
        assert_eq!(faults.len(), 1, "one cause, one fault: {one}: {faults:#?}");
    }
    let several = good.replace("\"draw\"", "\"a b\"").replace("interval_ms = 10", "interval_ms = 1");
    assert_eq!(Definition::read(&several, &secrets()).err().unwrap().len(), 2, "all faults at once");
}

#[tokio::test]
async fn an_answer_to_a_poll_that_is_too_large_fails_the_run_at_once_and_stops_it() {
    let lab = Lab::new(ASYNC).await;
    let (ended, _) = lab.run(json!({ "steps": 100_000, "poll_bytes": 17 << 20 })).await;
    let Err(RunError::Failed(failure)) = ended else { panic!("{ended:?}") };
    assert_eq!(failure.reason, Reason::InvalidResponseFormat, "{failure:?}");
    assert!(failure.message.contains("larger than 16 MiB (asking how a run is)"), "{failure:?}");
    assert!(lab.server.cancelled(&lab.server.ids()[0]), "nobody waits for it any more");
}
